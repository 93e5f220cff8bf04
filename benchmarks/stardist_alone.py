"""StarDist from scratch, by an interpreter that has it (`pip install stardist tensorflow`): a rival of `instances`.

    PYTHON benchmarks/stardist_alone.py JOB.json

The job names the images with their id maps that are learned from, those that are predicted, the steps, the seed and the
folder into which NAME.png (16-bit ids) and scores.json are written. As in StarDist's own example: 32 rays on a grid of
2, images between their 1 and 99.8 % quantiles, flips, quarter turns and changes of brightness, and thresholds that are
the best for a sixth of the learned images, which are not trained on.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CROP, BATCH, EPOCHS = 128, 8, 10


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow
    from stardist.models import Config2D, StarDist2D

    job = json.loads(Path(sys.argv[1]).read_text())
    tensorflow.keras.utils.set_random_seed(job["seed"])
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    learned = [(image_of(image), np.array(Image.open(ids)).astype(np.uint16)) for image, ids in job["learned"]]
    order = np.random.default_rng(job["seed"]).permutation(len(learned))
    tried, trained = ([learned[k] for k in part] for part in np.split(order, [max(1, len(order) // 6)]))
    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=3,
        train_patch_size=(CROP, CROP),
        train_batch_size=BATCH,
        train_epochs=EPOCHS,
        train_steps_per_epoch=job["steps"] // EPOCHS,
        train_tensorboard=False,
    )
    out = Path(job["out"])
    model = StarDist2D(config, name="model", basedir=str(out))
    model.train(*zip(*trained, strict=True), validation_data=tuple(zip(*tried, strict=True)), augmenter=varied)
    model.optimize_thresholds(*zip(*tried, strict=True))
    scores = dict[str, list[float]]()
    for name, path in job["predicted"]:
        ids, details = model.predict_instances(image_of(path))
        Image.fromarray(ids.astype(np.uint16)).save(out / f"{name}.png")
        scores[name] = [float(value) for value in details["prob"]]
    (out / "scores.json").write_text(json.dumps(scores))


def image_of(path: str) -> Any:
    """Return (H, W, 3) float32, 0 and 1 being the 1 and 99.8 % quantiles of each channel."""
    image = np.asarray(Image.open(path).convert("RGB"), np.float32)
    low, high = np.percentile(image, (1, 99.8), axis=(0, 1))
    return (image - low) / np.maximum(high - low, 1e-6)


def varied(image: Any, ids: Any) -> tuple[Any, Any]:
    """Return an image and its ids, turned, mirrored and of another brightness."""
    turns, mirror = np.random.randint(4), np.random.randint(2)  # noqa: NPY002 - seeded by Keras, as StarDist draws
    image, ids = (np.rot90(one, turns, (0, 1)) for one in (image, ids))
    if mirror:
        image, ids = image[:, ::-1], ids[:, ::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)  # noqa: NPY002
    return image + 0.02 * np.random.uniform(0, 1) * np.random.normal(0, 1, image.shape), ids  # noqa: NPY002


if __name__ == "__main__":
    main()

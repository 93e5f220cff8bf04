"""What telling objects apart costs beside the passes of the network: in training, and from image to panoptic map.

`training`: a step under Lightning on images all of whose objects are drawn: pull, push, object and norm terms, the ids
of ten discs an image, clipping, curves, the moving average and the rest of the frame, against bare passes of the same
network, forward and backward, with cross-entropy on its logits and the mean square of its embeddings, and an optimizer;
interleaved step by step in one process, as in `training_step`. `a turned view`: where nobody knows of the background
(`zero: unlabelled`), with the unlabelled push and the consistency besides; the bare passes have one more forward, that
of the momentum network. Batches lie in memory.

`prediction`: drawn places, 24 of them enlarged to 256×256 and 512×512, by a network after `--steps` steps: reading,
both passes (the image, whose pass gives its embeddings, too, and its mirror image), clustering, features and
objectness, merging and writing of all files, against the two passes alone, on images that are prepared. One thread.
"""

import argparse
import copy
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image

from benchmarks import record
from benchmarks.half_trained import discs
from benchmarks.object_rounds import FIRST, predict, source_run
from benchmarks.object_worlds import WORLDS
from benchmarks.record import Row
from benchmarks.rig import ratio
from benchmarks.training_step import DATA, WARM, InMemory, recipe_of
from maskwright.artifacts import RunFolder
from maskwright.checkpoint import load_trained
from maskwright.data.images import read_image
from maskwright.data.intensity import standardise, to_working
from maskwright.losses import thin_out
from maskwright.recipe import Recipe, apply_settings
from maskwright.train.batch import Batch
from maskwright.train.fit import build_module, build_trainer
from maskwright.train.targets import INSTANCES

TRAINING, PREDICTION = 1.15, 1.5
_OBJECTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks object_speed", description=__doc__)
    parser.add_argument("--only", nargs="*", default=["training", "prediction"], choices=["training", "prediction"])
    parser.add_argument("--pairs", type=int, default=60, help="of training steps")
    parser.add_argument("--rounds", type=int, default=5, help="over the images that are predicted")
    parser.add_argument("--steps", type=int, default=201, help="of the network that predicts, a multiple of three")
    parser.add_argument("--keep", type=Path, required=True, help="folder of its run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = record.read("object_speed")
    for name, turned in (("", False), (", a turned view", True)) if "training" in arguments.only else ():
        rows[f"training, resnet18, 8×128²{name}"] = row(*steps(arguments.pairs, turned=turned), "s a step", TRAINING)
    if "prediction" in arguments.only:
        small = argparse.Namespace(data=Path(), steps=arguments.steps // FIRST, keep=arguments.keep)
        run = source_run(WORLDS["scenes"], 0, small)
        places = arguments.keep / "data" / "scenes" / "test" / "images"
        for side in (256, 512):
            found = predictions(run, places, side, arguments.rounds)
            rows[f"prediction, {side}×{side}"] = row(*found, "s for 24 images", PREDICTION)
    record.write("object_speed", rows)


class BarePasses(L.Callback):
    """Takes the bare passes of a step after each of ours, and times both."""

    def __init__(self, module: Any, batch: Batch, recipe: Recipe, *, turned: bool) -> None:
        self.average = copy.deepcopy(module.step.predictor) if turned else None
        self.network, self.batch, self.spec = copy.deepcopy(module.step.network), batch, recipe.train
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.spec.lr, fused=True)
        self.ours, self.bare, self.ended = list[float](), list[float](), 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        started = time.perf_counter()
        if self.ended:
            self.ours.append(started - self.ended)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.spec.precision == "bfloat16"):
            if self.average is not None:
                with torch.no_grad():
                    self.average.both(self.batch.images)
            logits, embeddings = self.network.both(self.batch.images)
            loss = torch.nn.functional.cross_entropy(logits, thin_out(self.batch.labels, logits))
            loss = loss + embeddings.float().square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.ended = time.perf_counter()
        self.bare.append(self.ended - started)


def steps(pairs: int, *, turned: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of our steps and of the bare passes, paired; with the momentum network's view, or without."""
    recipe = recipe_of("resnet18", "[256, 128, 64, 32, 16]", 8, 128, precision="bfloat16", steps=pairs + WARM)
    things = [replace(category, isthing=category.id > 0) for category in DATA.categories or ()]
    data = recipe.data.model_copy(update={"categories": tuple(things), "task": "panoptic"})
    recipe = apply_settings(recipe.model_copy(update={"data": data}), ["model.embedding={channels: 8}"])
    recipe = apply_settings(recipe, ["instances.loss.zero=unlabelled"] if turned else [])
    drawn = [discs((128, 128), _OBJECTS + 1, np.random.default_rng(seed)) for seed in range(8)]
    ids = torch.from_numpy(np.stack([truth - 1 for _, truth in drawn]).astype(np.int64))
    images = torch.from_numpy(np.stack([image for image, _ in drawn]))[:, None].repeat(1, 3, 1, 1)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), (ids > 0).long(), {INSTANCES: ids})
    module = build_module(recipe, 0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(Path(folder), recipe, validates=False)
        bare = BarePasses(module, batch, recipe, turned=turned)
        trainer.callbacks.append(bare)
        trainer.fit(module, InMemory(batch, pairs + WARM))
    return np.array(bare.ours[-pairs + 1 :]), np.array(bare.bare[-pairs + 1 :])


def predictions(run: Path, places: Path, side: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of whole predictions of 24 images, and of their passes alone, round by round."""
    checkpoint = RunFolder(run).checkpoints(0, "last")[0]
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for path in sorted(places.iterdir())[:24]:
            Image.open(path).resize((side, side)).save(images / path.name)
        passes = bare_passes(checkpoint, images)
        seconds = [(whole(run, checkpoint, images, Path(folder)), timed(passes)) for _ in range(rounds + 1)]
    ours, bare = np.array(seconds[1:]).T
    return ours, bare


def whole(run: Path, checkpoint: Path, images: Path, folder: Path) -> float:
    """Return what predicting and writing a folder takes, loading the network included."""
    found = timed(lambda: predict(run, [checkpoint], images, folder / "found"))
    shutil.rmtree(folder / "found")
    return found


def bare_passes(checkpoint: Path, images: Path) -> Callable[[], None]:
    """Return what takes the two passes of prepared images."""
    known = load_trained(checkpoint)
    network: Any = known.network.eval()
    read = [
        standardise(to_working(read_image(p), known.intensity, known.scale), known.intensity)
        for p in sorted(images.iterdir())
    ]
    tensors = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None] for image in read]

    @torch.inference_mode()
    def passes() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=known.precision == "bfloat16"):
            for tensor in tensors:
                network.both(tensor)
                network(tensor.flip(-1))

    return passes


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def row(ours: np.ndarray, bare: np.ndarray, unit: str, most: float) -> Row:
    found = ratio(ours, bare)
    assert found.high is not None
    return Row(
        figure=float(np.median(ours)),
        unit=unit,
        against="its bare passes",
        other=float(np.median(bare)),
        comparison=found,
        target=f"upper end of the ratio ≤ {most:g}",
        reached=found.high <= most,
    )


if __name__ == "__main__":
    main()

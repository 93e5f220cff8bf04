"""`predict` from image files to label files, against the bare forward of the same network on tensors in memory."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import PAIRS, compare, inverse
from benchmarks.training_step import recipe_of
from maskwright.checkpoint import Trained
from maskwright.data.intensity import Intensity
from maskwright.data.scenes import draw_layout, draw_views, render
from maskwright.predict.files import predict_to_files, source_of
from maskwright.recipe.predict import PredictSpec
from maskwright.train.fit import build_module

SIDE, BATCH = 512, 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks predict", description=__doc__)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--images", type=int, default=2 * BATCH, help="in each call")
    arguments = parser.parse_args()
    recipe = recipe_of("resnet18", "[256, 128, 64, 32, 16]", BATCH, SIDE, precision=arguments.precision, steps=1)
    network = build_module(recipe, 0).step.network.eval()
    fast = arguments.precision == "bfloat16"
    network = network.to(memory_format=torch.channels_last if fast else torch.contiguous_format)
    about = {"precision": arguments.precision, "channels_last": fast, "scale": 1.0, "path": Path("none")}
    trained = Trained(network, recipe.data.to_categories(), Intensity.of(recipe.data), **about)
    source = source_of([trained], PredictSpec(batch=BATCH, tta=("identity",)))
    stack = torch.randn(BATCH, SIDE, SIDE, 3).permute(0, 3, 1, 2)  # channels last, as decoded images lie in memory

    def bare() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
            for _ in range(arguments.images // BATCH):
                network(stack)

    with tempfile.TemporaryDirectory() as folder:
        files = images(Path(folder), arguments.images)
        targets = {name: Path(folder) / "labels" / f"{name}.png" for name, _ in files}

        def ours() -> None:
            for _ in predict_to_files(source, files, targets):
                pass

        took, other, found = compare(ours, bare, pairs=PAIRS)
    speed = inverse(found)
    assert speed.low is not None
    row = Row(
        figure=arguments.images / took,
        unit="images/s",
        against="bare forward",
        other=arguments.images / other,
        comparison=speed,
        target="≥ .90 ×",
        reached=speed.value >= 0.9,
        details={"precision": arguments.precision, "threads": torch.get_num_threads()},
    )
    record.write("predict", {f"resnet18 U-Net, {SIDE}², batch {BATCH}, {arguments.precision}": row})


def images(folder: Path, count: int) -> list[tuple[str, Path]]:
    """Write scenes as PNG files."""
    rng = np.random.default_rng(0)
    layout, views = draw_layout(rng), draw_views(count, rng)
    files = []
    for number, view in enumerate(views):
        path = folder / f"{number}.png"
        Image.fromarray(render(layout, view, (SIDE, SIDE), rng).image).save(path)
        files.append((path.stem, path))
    return files

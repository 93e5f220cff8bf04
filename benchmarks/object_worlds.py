"""The worlds that `object_rounds` goes from and to: generated nuclei and real ones, drawn places and others like them.

Each has three data folders: source/ with labels and, in unlabeled/, the pool; target/, the pool with its labels; test/.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.adaptation_sets import STRONG, other_world
from benchmarks.nuclei import write_generated
from maskwright.data.scenes import CATEGORIES, draw_layout, draw_views, render
from maskwright.panoptic import PanopticMap, merge
from maskwright.panoptic.files import write_coco_panoptic
from maskwright.recipe.panoptic import MergeSpec
from maskwright.types import Categories

_BASE = (
    "model.encoder=resnet18",
    "model.encoder_weights=none",
    "train.precision=float32",
    "train.channels_last=false",
    "train.threads=1",
    "train.workers=0",
    "train.ema=0.99",
    "instances.by=embeddings",
)
_NUCLEI = (
    *_BASE,
    "augment=[{kind: flip, horizontal: 0.5, vertical: 0.5}, {kind: turn}, {kind: affine, probability: 1, rotate: 180, "
    "scale: [0.5, 2.0], stretch: 0.2}, {kind: colour, probability: 0.8, brightness: 0.4, contrast: 0.5, "
    "saturation: 0.4, gamma: 0.4}, {kind: blur, probability: 0.3}]",
    "train.scale=1",
    "train.crop=[128, 128]",
    "train.batch=8",
)


@dataclass(frozen=True)
class World:
    """A pair of domains and how networks are trained on it.

    Attributes:
        name: of its folders.
        task: instances or panoptic.
        make: (folder of the data sets, folder to write into).
        settings: of all trainings.
    """

    name: str
    task: Literal["instances", "panoptic"]
    make: Callable[[Path, Path], None]
    settings: tuple[str, ...]


def nuclei(kind: str) -> Callable[[Path, Path], None]:
    """Return what writes generated nuclei of a kind, and the real ones of dsb2018, every second as the pool."""

    def make(data: Path, out: Path) -> None:
        if (out / "made").is_file():
            return
        shutil.rmtree(out, ignore_errors=True)
        write_generated(out / "source", kind, 200, 256, 0)
        with (data / "dsb2018" / "meta.csv").open(encoding="utf-8") as file:
            names = sorted(row["name"] for row in csv.DictReader(file) if row["kind"] == kind)
        for number, name in enumerate(names):
            part = "test" if number % 2 else "target"
            for folder in ("images", "instances"):
                _copy(data / "dsb2018" / folder / f"{name}.png", out / part / folder)
            if part == "target":
                _copy(data / "dsb2018" / "images" / f"{name}.png", out / "source" / "unlabeled")
        (out / "made").touch()

    return make


def scenes(data: Path, out: Path) -> None:
    """Write drawn places with their things, and other places in another world."""
    if (out / "made").is_file():
        return
    shutil.rmtree(out, ignore_errors=True)
    rng = np.random.default_rng(7)
    for part, places, changed in (("source", 40, False), ("target", 20, True), ("test", 14, True)):
        for place in range(places):
            layout = draw_layout(rng)
            for number, view in enumerate(draw_views(3, rng)):
                seen = other_world(layout, view, np.random.default_rng(place)) if changed else (layout, view)
                scene = render(*seen, (96, 128), rng)
                arrays = {"images": scene.image, "masks": scene.mask, "instances": scene.instances}
                for kind, array in arrays.items():
                    _write(array, out / part / kind / f"p{place:02d}_{number}.png")
                if part == "target":
                    _write(scene.image, out / "source" / "unlabeled" / f"p{place:02d}_{number}.png")
        told = [{"id": c.id, "name": c.name, "isthing": c.isthing} for c in CATEGORIES]
        (out / part / "classes.json").write_text(json.dumps({"categories": told}))
    write_coco_panoptic(out / "test" / "truth", _true_maps(out / "test"), Categories(CATEGORIES))
    (out / "made").touch()


def _true_maps(test: Path) -> Iterator[tuple[str, PanopticMap]]:
    things = [position for position, category in enumerate(CATEGORIES) if category.isthing]
    for path in sorted((test / "masks").iterdir()):
        label, ids = (np.array(Image.open(test / kind / path.name)) for kind in ("masks", "instances"))
        yield path.stem, merge(label, ids.astype(np.int32), things, MergeSpec(stuff_min_area=0))


def _write(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder / file.name)


WORLDS = {
    "fluorescence": World("fluorescence", "instances", nuclei("fluorescence"), _NUCLEI),
    "stained": World("stained", "instances", nuclei("stained"), _NUCLEI),
    "scenes": World(
        "scenes", "panoptic", scenes, (*_BASE, STRONG, "train.scale=1", "train.crop=[96, 128]", "train.batch=8")
    ),
}

"""The worlds that `object_rounds` goes from and to: generated nuclei and real ones, drawn places and others like them,
fields and panoramas with few labels and the same with many.

Each has three data folders: source/ with labels and, in unlabeled/, the pool; target/, the pool with its labels (where
source is a part of the same world, with those of the source, too); test/.
"""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.adaptation_sets import STRONG, other_world
from benchmarks.few_label_sets import PRECISION, network
from benchmarks.nuclei import write_generated
from maskwright.data.scenes import CATEGORIES, Item, Layout, draw_layout, draw_views, render
from maskwright.panoptic import PanopticMap, merge
from maskwright.panoptic.files import write_coco_panoptic
from maskwright.recipe.panoptic import MergeSpec
from maskwright.types import Categories, Category, LabelMap

_SURE = "instances.least=0.5"
"""Of two worlds: what the labelled one lets expect of objects says little of the other."""
_BASE = (
    network(accelerator=False),
    *PRECISION,
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
    _SURE,
)


@dataclass(frozen=True)
class World:
    """A pair of domains and how networks are trained on it.

    Attributes:
        name: of its folders.
        task: instances or panoptic.
        make: (folder of the data sets, folder to write into).
        settings: of all trainings.
        categories: of a panoptic one.
        group: regular expression whose first group, of an image's name, is what belongs together: views of a place, a
            sol; empty: each image is alone.
        pixels: selftrain.method.pixels: which a round learns from.
    """

    name: str
    task: Literal["instances", "panoptic"]
    make: Callable[[Path, Path], None]
    settings: tuple[str, ...]
    categories: tuple[Category, ...] = ()
    group: str = ""
    pixels: str = "{kind: threshold}"

    def group_of(self, name: str) -> str:
        """Return the group of an image.

        Example:
            >>> WORLDS["scenes"].group_of("test07_2"), WORLDS["fields"].group_of("002")
            ('test07', '002')
        """
        found = re.match(self.group, name) if self.group else None
        return found[1] if found else name


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
    _draw(out, CATEGORIES, lambda mask, instances: mask)


def sized_scenes(data: Path, out: Path) -> None:
    """Write the same with four kinds of things: rocks and plants are of another kind from a certain size on."""
    _draw(out, SIZED, by_size)


def by_size(mask: LabelMap, instances: np.ndarray) -> LabelMap:
    """Return a mask of `SIZED`: things of at least `LARGE` pixels are of the kind two further on.

    Example:
        >>> by_size(np.full((80, 10), 3, np.uint8), np.repeat([[1] * 8 + [2] * 2], 80, 0))[0].tolist()
        [5, 5, 5, 5, 5, 5, 5, 5, 3, 3]
    """
    large = np.bincount(instances.ravel()) >= LARGE
    large[0] = False
    return np.where(large[instances], mask + 2, mask).astype(np.uint8)


def near(layout: Layout) -> Layout:
    """Return a place without the things that are far or mostly hidden by nearer ones, and with larger ones."""
    kept: list[Item] = []
    for item in sorted(layout.items, key=lambda item: item.z):
        larger = replace(item, size=_LARGER * item.size)
        if item.z < _FAR and all(_bearings(larger, other) > _APART for other in kept):
            kept.append(larger)
    return replace(layout, items=tuple(reversed(kept)))  # drawn from the farthest on


def _bearings(one: Item, other: Item) -> float:
    """Return how far apart two things are as seen from the middle, as a share of the sum of their radii."""
    return abs(one.x / one.z - other.x / other.z) / (one.size / one.z + other.size / other.z)


def _draw(out: Path, categories: tuple[Category, ...], relabel: Callable[[LabelMap, np.ndarray], LabelMap]) -> None:
    if (out / "made").is_file():
        return
    shutil.rmtree(out, ignore_errors=True)
    rng = np.random.default_rng(7)
    for number_of_part, (part, places) in enumerate((("source", 40), ("target", 40), ("test", 40))):
        for place in range(places):
            layout, seed = draw_layout(rng), (number_of_part, place)
            for number, view in enumerate(draw_views(3, rng)):
                own = near(layout), view
                seen = own if part == "source" else other_world(*own, np.random.default_rng(seed))
                scene = render(*seen, (96, 128), rng)
                mask = relabel(scene.mask, scene.instances)
                arrays = {"images": scene.image, "masks": mask, "instances": scene.instances}
                for kind, array in arrays.items():
                    _write(array, out / part / kind / f"{part}{place:02d}_{number}.png")
                if part == "target":
                    _write(scene.image, out / "source" / "unlabeled" / f"{part}{place:02d}_{number}.png")
    _finish(out, categories)


def fields(data: Path, out: Path) -> None:
    """Write the crops and weeds of cwfid: 6 fields with labels, the pool, and every third as the test."""
    _from_set(data / "cwfid", out, FIELDS, 6, "masks", lambda label, ids: ids)


def panoramas(data: Path, out: Path) -> None:
    """Write the panoramas of marsscapes, 16 with labels, the pool, and every third sol as the test. Its ids are those
    of all segments, and those of big rocks are things.
    """
    rock = next(category.id for category in PANORAMAS if category.isthing)
    _from_set(
        data / "marsscapes",
        out,
        PANORAMAS,
        16,
        "semantic",
        lambda label, ids: np.where(label == rock, ids.astype(np.uint16) + 1, 0),
    )


def _from_set(
    root: Path,
    out: Path,
    categories: tuple[Category, ...],
    labelled: int,
    masks: str,
    objects: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Share a real set out among source, pool and test by its groups: sols where it has such, else images."""
    if (out / "made").is_file():
        return
    shutil.rmtree(out, ignore_errors=True)
    with (root / "meta.csv").open(encoding="utf-8") as file:
        groups = {row["name"]: row.get("sol", row["name"]) for row in csv.DictReader(file)}
    order = np.random.default_rng(0).permutation(sorted({*groups.values()})).tolist()
    names = sorted(groups, key=lambda name: (order.index(groups[name]), name))
    tests = [name for name in names if order.index(groups[name]) % 3 == 0]
    rest = [name for name in names if name not in tests]
    learned = [name for name in rest if order.index(groups[name]) <= order.index(groups[rest[labelled - 1]])]
    for name in names:
        label, ids = (np.array(Image.open(root / kind / f"{name}.png")) for kind in (masks, "instances"))
        parts = ["test"] if name in tests else ["target", *(["source"] if name in learned else [])]
        picture = Image.open(root / "images" / f"{name}.jpg")
        for part in parts:
            _write(np.array(picture), out / part / "images" / f"{name}.png")
            _write(label, out / part / "masks" / f"{name}.png")
            _write(objects(label, ids).astype(np.uint16), out / part / "instances" / f"{name}.png")
        if parts == ["target"]:
            _write(np.array(picture), out / "source" / "unlabeled" / f"{name}.png")
    _finish(out, categories)


def _finish(out: Path, categories: tuple[Category, ...]) -> None:
    told = [{"id": c.id, "name": c.name, "isthing": c.isthing} for c in categories]
    for part in ("source", "target", "test"):
        (out / part / "classes.json").write_text(json.dumps({"categories": told}))
    write_coco_panoptic(out / "test" / "truth", _true_maps(out / "test", categories), Categories(categories))
    (out / "made").touch()


def _true_maps(test: Path, categories: tuple[Category, ...]) -> Iterator[tuple[str, PanopticMap]]:
    things = [position for position, category in enumerate(categories) if category.isthing]
    for path in sorted((test / "masks").iterdir()):
        label, ids = (np.array(Image.open(test / kind / path.name)) for kind in ("masks", "instances"))
        yield path.stem, merge(label, ids.astype(np.int32), things, MergeSpec(stuff_min_area=0))


def _write(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder / file.name)


_FAR, _LARGER, _APART = 2.6, 1.4, 0.75
"""Drawn things from this distance on are left out, others are that much larger, and of two that are nearer to each
other than this the farther one is left out: else even networks that learn from the labels of the other world hardly
part an object in so few steps."""
LARGE = 500
"""Pixels from which on a rock or plant of the drawn places is a large one: about half of them."""
SIZED = (
    *CATEGORIES[:3],
    Category(3, "stone", CATEGORIES[3].color, isthing=True),
    Category(4, "herb", CATEGORIES[4].color, isthing=True),
    Category(5, "boulder", (60, 50, 90), isthing=True),
    Category(6, "bush", (20, 90, 40), isthing=True),
)
FIELDS = (Category(0, "soil"), Category(1, "crop", isthing=True), Category(2, "weed", isthing=True))
PANORAMAS = tuple(
    Category(number, name, isthing=name == "big_rock")
    for number, name in enumerate(("soil", "bedrock", "gravel", "sand", "big_rock", "steep_slope", "sky", "unknown"))
)
_PANOPTIC = (*_BASE, STRONG, "instances.across=true")
"""An object is what most of its pixels are: else no vote could move one from one kind of things to another."""
_SCENES = (*_PANOPTIC, "train.scale=1", "train.crop=[96, 128]", "train.batch=8", _SURE)

_PLACE = r"^([a-z]+\d+)_"
_EVENLY = "{kind: class_share}"
"""Above one threshold for all, the commonest categories are learned where rare ones are missed."""

TWO_WORLDS = ("fluorescence", "stained", "scenes")
"""Those that go from one world to another; the others have few labels of one."""
WORLDS = {
    "fluorescence": World("fluorescence", "instances", nuclei("fluorescence"), _NUCLEI),
    "stained": World("stained", "instances", nuclei("stained"), _NUCLEI),
    "scenes": World("scenes", "panoptic", scenes, _SCENES, CATEGORIES, _PLACE, _EVENLY),
    "fields": World(
        "fields",
        "panoptic",
        fields,
        (*_PANOPTIC, "train.scale=0.25", "train.crop=[160, 224]", "train.batch=4"),
        FIELDS,
        pixels=_EVENLY,
    ),
    "panoramas": World(
        "panoramas",
        "panoptic",
        panoramas,
        (*_PANOPTIC, "train.scale=0.5", "train.crop=[128, 192]", "train.batch=4", "data.ignore=[255]"),
        PANORAMAS,
        r"^(\d+)_",  # the sol
        _EVENLY,
    ),
    "sized_scenes": World("sized_scenes", "panoptic", sized_scenes, _SCENES, SIZED, _PLACE, _EVENLY),
}

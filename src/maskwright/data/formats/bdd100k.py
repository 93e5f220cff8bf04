"""BDD100K: images/ beside labels/pan_seg, sem_seg and ins_seg; bitmasks hold category, attributes and object."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from maskwright.data.formats.files import by_name, first_file
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.streets import CITYSCAPES, STREET_19, street_categories
from maskwright.errors import DataError, problem
from maskwright.types import Category

READS = ("images", "labels")
_PANOPTIC, _SEMANTIC, _INSTANCES = "labels/pan_seg/bitmasks", "labels/sem_seg/masks", "labels/ins_seg/bitmasks"

PANOPTIC = (
    "unlabeled", "dynamic", "ego vehicle", "ground", "static", "parking", "rail track", "road", "sidewalk", "bridge",
    "building", "fence", "garage", "guard rail", "tunnel", "wall", "banner", "billboard", "lane divider",
    "parking sign", "pole", "polegroup", "street light", "traffic cone", "traffic device", "traffic light",
    "traffic sign", "traffic sign frame", "terrain", "vegetation", "sky", "person", "rider", "bicycle", "bus", "car",
    "caravan", "motorcycle", "trailer", "train", "truck",
)  # fmt: skip
"""Categories of pan_seg by their ids; 0 is void."""

INSTANCES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""Categories of ins_seg, from 1 on; the first is called pedestrian there."""

_COUNTED = (*INSTANCES, "caravan", "trailer")
_CROWD, _IGNORED = 2, 1
"""Bits of the attributes that change what a pixel means; truncated (8) and occluded (4) don't."""

_UNSURE = 255


def recognise(root: Path) -> bool:
    """Tell whether images/ lies beside one of the three folders of masks."""
    folders = (_PANOPTIC, _SEMANTIC, _INSTANCES)
    return (root / "images").is_dir() and any(first_file(root / folder, (".png",)) is not None for folder in folders)


def read(root: Path) -> Source:
    """Return the rows; `part` is the folder train, val or test.

    pan_seg is read where it is there: 40 categories, objects of those that are counted. Else sem_seg, the 19 categories
    of Cityscapes, and objects from ins_seg; else ins_seg alone, everything but its objects background. Crowds are no
    objects, and ignored objects ignored pixels.

    Raises:
        DataError: two files claim the same name.
    """
    masks = {folder: _by_part(root, folder) for folder in (_PANOPTIC, _SEMANTIC, _INSTANCES)}
    rows = list[Row]()
    taken = set[str]()
    listed = sorted(by_name(root, "images").items(), key=lambda item: ("10k" not in item[0].split("/"), item))
    for name, path in listed:
        key = "/".join(PurePosixPath(name).parts[-2:])
        own = {} if key in taken else {folder: table[key] for folder, table in masks.items() if key in table}
        taken.add(key)
        rows.append(_row(root, name, path, own, panoptic=bool(masks[_PANOPTIC]), semantic=bool(masks[_SEMANTIC])))
    leftovers = sorted(path for table in masks.values() for key, path in table.items() if key not in taken)
    rows.sort(key=lambda row: row.image)
    if masks[_PANOPTIC]:
        return Source("bdd100k", rows, _panoptic_categories(), (0, _UNSURE), leftovers)
    if masks[_SEMANTIC]:
        values = {name: (number,) for number, name in enumerate(STREET_19)}
        return Source("bdd100k", rows, street_categories(values), (_UNSURE,), leftovers)
    things = tuple(Category(i, n, CITYSCAPES[n][1], True, (i,)) for i, n in enumerate(INSTANCES, 1))
    background = Category(0, "background", (64, 64, 64), values=(0,))
    return Source("bdd100k", rows, (background, *things), (_UNSURE,), leftovers)


def read_bitmask(path: Path, *, counted: tuple[int, ...] | None = None) -> Content:
    """Return category and object of each pixel of a bitmask: R, and B × 256 + A; G are the attributes.

    Args:
        path: RGBA PNG.
        counted: categories that have objects; None: all but 0.

    Raises:
        DataError: it can't be read, or has no four channels.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if array is None or array.ndim != 3 or array.shape[2] != 4 or array.dtype != np.uint8:
        got = "no image" if array is None else f"{array.shape} {array.dtype}"
        next_move = "replace the file, or move it out of the folder"
        raise DataError(problem("an RGBA bitmask", got, where=str(path), next_move=next_move))
    blue, attributes, category, alpha = (array[..., channel].astype(np.int32) for channel in range(4))
    ignored = (attributes & _IGNORED) > 0
    things = category > 0 if counted is None else np.isin(category, counted)
    objects = things & ~ignored & ((attributes & _CROWD) == 0)
    return Content(mask=np.where(ignored, _UNSURE, category), instances=np.where(objects, blue * 256 + alpha, 0))


def _by_part(root: Path, folder: str) -> dict[str, str]:
    """Return {part/name: path}: what images and masks have in common."""
    return {"/".join(PurePosixPath(name).parts[-2:]): path for name, path in by_name(root, folder).items()}


def _row(root: Path, name: str, image: str, own: dict[str, str], *, panoptic: bool, semantic: bool) -> Row:
    folders = PurePosixPath(name).parts[:-1]
    part = folders[-1] if folders else None
    made = (f"@/masks/{name}.png", f"@/instances/{name}.png")
    if panoptic:
        if _PANOPTIC not in own:
            return Row(image, None, None, part)
        counted = tuple(PANOPTIC.index(thing) for thing in _COUNTED)
        return Row(image, *made, part, render=partial(read_bitmask, root / own[_PANOPTIC], counted=counted))
    if _INSTANCES not in own:
        return Row(image, own.get(_SEMANTIC), None, part)
    render = partial(read_bitmask, root / own[_INSTANCES])
    if semantic:
        return Row(image, own.get(_SEMANTIC), made[1], part, render=partial(_objects_alone, root / own[_INSTANCES]))
    return Row(image, *made, part, render=render)


def _objects_alone(path: Path) -> Content:
    return Content(instances=read_bitmask(path).instances)


def _panoptic_categories() -> tuple[Category, ...]:
    colors = {name: color for name, (_, color) in CITYSCAPES.items()}
    grays = ((number, name) for number, name in enumerate(PANOPTIC) if number)
    return tuple(
        Category(number, name, colors.get(name, (number * 5, 255 - number * 4, 90)), name in _COUNTED, (number,))
        for number, name in grays
    )

"""Cityscapes: leftImg8bit/PART/CITY/ beside gtFine/ (or gtCoarse/), read as the 19 categories that are evaluated."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskwright.data.formats.files import by_name, first_file
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.streets import CITYSCAPES, STREET_19, THINGS, VOID, street_categories
from maskwright.data.images import read_values
from maskwright.types import Array

READS = ("leftImg8bit", "gtFine", "gtCoarse")
KINDS = ("labelIds", "labelTrainIds", "instanceIds")
_IMAGE = "_leftImg8bit"
_THING_IDS = [CITYSCAPES[name][0] for name in sorted(THINGS)]
_UNTRAINED = (19, 255)
"""What labelTrainIds hold where none of the 19 is; 255 in those of Cityscapes' own scripts."""


def recognise(root: Path) -> bool:
    """Tell whether there is leftImg8bit/ with an image of its naming."""
    return first_file(root / "leftImg8bit", (".png",), ending=_IMAGE) is not None


def read(root: Path) -> Source:
    """Return the rows: `part` is the folder below leftImg8bit/, `city`, `sequence` and `frame` are columns.

    Masks are taken from labelIds where any image has them, else from labelTrainIds, else from instanceIds; of images
    that lack the chosen kind, from instanceIds. gtCoarse is read where there is no gtFine.

    Raises:
        DataError: two files claim the same name.
    """
    images = {name.removesuffix(_IMAGE): path for name, path in by_name(root, "leftImg8bit").items()}
    truth = "gtFine" if (root / "gtFine").is_dir() else "gtCoarse"
    labels = _labels(root, truth)
    kind = next((kind for kind in KINDS[:2] if any(kind in files for files in labels.values())), KINDS[0])
    rows = [_row(root, name, path, labels.get(name, {}), kind) for name, path in sorted(images.items())]
    leftovers = [
        path
        for name, files in sorted(labels.items())
        for path in files.values()
        if name not in images or not {kind, "instanceIds"} & set(files)
    ]
    trained = kind == "labelTrainIds"
    values = {name: (p if trained else CITYSCAPES[name][0],) for p, name in enumerate(STREET_19)}
    return Source("cityscapes", rows, street_categories(values), _UNTRAINED if trained else (*VOID, 255), leftovers)


def instances_of(ids: Array) -> Array:
    """Return the id map of the things in instanceIds: label id × 1000 + number of the object; 0 elsewhere.

    Example:
        >>> instances_of(np.array([[7, 26, 26003, 29001]])).tolist()  # 26: cars in a group, 29: caravan, not evaluated
        [[0, 0, 26003, 0]]
    """
    return np.where(np.isin(ids // 1000, _THING_IDS), ids, 0)


def _labels(root: Path, truth: str) -> dict[str, dict[str, str]]:
    """Return {image's name: {kind: path}}."""
    table: dict[str, dict[str, str]] = {}
    for name, path in by_name(root, truth).items():
        stem, _, kind = name.rpartition("_")
        if kind in KINDS:
            table.setdefault(stem.removesuffix(f"_{truth}"), {})[kind] = path
    return table


def _row(root: Path, name: str, image: str, files: dict[str, str], kind: str) -> Row:
    place = PurePosixPath(name)
    words = place.name.split("_")
    meta = {"city": place.parent.name or words[0]}
    meta |= {"sequence": f"{words[0]}_{words[1]}", "frame": words[2]} if len(words) >= 3 else {}
    part = place.parts[0] if len(place.parts) > 1 else None
    ids = files.get("instanceIds")
    if ids is None:
        return Row(image, files.get(kind), None, part, meta)
    drawn = kind not in files and kind != "labelTrainIds"
    mask = f"@/masks/{name}.png" if drawn else files.get(kind)
    return Row(image, mask, f"@/instances/{name}.png", part, meta, partial(_render, root / ids, drawn=drawn))


def _render(path: Path, *, drawn: bool) -> Content:
    ids = read_values(path)
    return Content(mask=np.where(ids >= 1000, ids // 1000, ids) if drawn else None, instances=instances_of(ids))

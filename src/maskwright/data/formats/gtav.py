"""GTA-V (Playing for Data): images/ beside labels/, palette or RGB masks in the colours of Cityscapes; no objects."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.io import loadmat

from maskwright.data.formats.files import by_name, first_file, top_folder
from maskwright.data.formats.rows import Row, Source
from maskwright.data.formats.streets import CITYSCAPES, STREET_19, VOID, hex_color, street_categories
from maskwright.data.images import color_value, palette_of, read_values
from maskwright.errors import DataError, problem

READS = ("images", "labels", "split.mat")
_COLORS = {hex_color(CITYSCAPES[name][1]) for name in STREET_19}
_VOID_COLORS = tuple(dict.fromkeys(hex_color(color) for _, color in CITYSCAPES.values()))
_IGNORE: tuple[int | str, ...] = (*VOID, 255, *(color for color in _VOID_COLORS if color not in _COLORS))
_LANDMARKS = ("road", "building", "car", "sky")


def recognise(root: Path) -> bool:
    """Tell whether labels/ holds PNG masks in the colours of Cityscapes."""
    mask = first_file(root / "labels", (".png",)) if (root / "images").is_dir() else None
    if mask is None:
        return False
    palette = palette_of(mask)
    if palette is not None:
        return all(palette.get(CITYSCAPES[name][0]) == CITYSCAPES[name][1] for name in _LANDMARKS)
    try:
        found = set(np.unique(read_values(mask)).tolist())
    except DataError:
        return False
    return found <= {color_value(color) for color in _VOID_COLORS} and found != {color_value("#000000")}


def read(root: Path) -> Source:
    """Return the rows; parts are those of split.mat, else the folders below images/.

    A mask's value is the label id of Cityscapes, or its colour where it is RGB. Two of the void colours are those of
    categories: in RGB masks a licence plate is part of the car, and a group of poles is a pole.

    Raises:
        DataError: two files claim the same name, or split.mat can't be read.
    """
    images, labels = by_name(root, "images"), by_name(root, "labels")
    parts = _parts(root / "split.mat")
    rows = [
        Row(path, labels.get(name), None, parts.get(PurePosixPath(name).name, top_folder(name)))
        for name, path in sorted(images.items())
    ]
    values = {name: (CITYSCAPES[name][0], hex_color(CITYSCAPES[name][1])) for name in STREET_19}
    leftovers = [path for name, path in sorted(labels.items()) if name not in images]
    return Source("gtav", rows, street_categories(values), _IGNORE, leftovers)


def _parts(path: Path) -> dict[str, str]:
    """Return {image's name: part} of split.mat, which lists numbers of images as trainIds, valIds and testIds."""
    if not path.is_file():
        return {}
    try:
        table: dict[str, Any] = loadmat(path)
        listed = {part: np.ravel(table[f"{part}Ids"]).astype(int) for part in ("train", "val", "test")}
    except Exception as error:
        raise DataError(
            problem(
                "trainIds, valIds and testIds",
                f"{type(error).__name__}: {error}",
                where=str(path),
                next_move="replace the file, or move it out of the folder",
            )
        ) from None
    return {f"{number:05d}": part for part, numbers in listed.items() for number in numbers}

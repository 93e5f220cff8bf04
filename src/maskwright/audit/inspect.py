"""One image at a time: what can be said from its own files. Each file is read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.audit.hashing import SIDE, Thumbnail, thumbnail
from maskwright.data.categories import positions, unknown_counts
from maskwright.data.images import orientation_of, read_image, read_preview, read_values, upright
from maskwright.data.index import Index
from maskwright.errors import DataError
from maskwright.labels import objects
from maskwright.types import IGNORE

_PREVIEW = 5 * SIDE // 2
"""Pixels a side from which a thumbnail is made: with 2½ a cell, copies in other sizes and qualities are found as they
are from all pixels; with 2, some are missed (`benchmarks/hashing.py`)."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with one image."""

    kind: str
    severity: str
    detail: str
    value: float = float("nan")


@dataclass
class Inspection:
    """What one image's files say.

    Attributes:
        faults: what is wrong.
        thumbnail: (32, 32) float32, None if the image can't be read.
        pixels: (C,) pixels of each category, zeros without a usable label.
        areas: for each category the areas of its objects in pixels.
        usable: False if any fault is an error.
    """

    faults: list[Fault] = field(default_factory=list)
    thumbnail: Thumbnail | None = None
    pixels: npt.NDArray[np.int64] | None = None
    areas: list[npt.NDArray[np.int64]] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """True if nothing about it is an error."""
        return all(fault.severity != "error" for fault in self.faults)


def inspect_row(index: Index, row: int) -> Inspection:
    """Read image and label of a row and say what they hold."""
    found = Inspection()
    name, label_name = index.table["image"][row], index.table[index.label_column][row]
    path = index.path(name)
    try:
        found.thumbnail, size = read_thumbnail(path)
    except DataError as error:
        found.faults.append(Fault("unreadable", "error", _reason(error)))
        return found
    if (orientation := orientation_of(path)) != 1:
        found.faults.append(Fault("exif_orientation", "note", f"turned by its EXIF orientation {orientation}"))
    if label_name is not None:
        _inspect_label(index, label_name, name, size, found)
    return found


def read_thumbnail(path: Path) -> tuple[Thumbnail, tuple[int, int]]:
    """Return a file's thumbnail, upright, and the size (H, W) of its image; takes little more than decoding.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    preview = read_preview(path, _PREVIEW)
    return upright(thumbnail(preview.pixels, preview.extent), preview.orientation), preview.size


def pixel_digest(path: Path) -> str:
    """Return a hash of an image's shape and pixels: equal for files of the same pixels, however they are stored.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    image = read_image(path)
    digest = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=16)
    digest.update(image.data)
    return digest.hexdigest()


def _inspect_label(index: Index, label_name: str, name: str, size: tuple[int, ...], found: Inspection) -> None:
    try:
        values = read_values(index.path(label_name), like=index.path(name))
    except DataError as error:
        found.faults.append(Fault("unreadable_mask", "error", f"{label_name}: {_reason(error)}"))
        return
    if values.shape != size:
        detail = f"{label_name} is {values.shape[1]}×{values.shape[0]}, the image {size[1]}×{size[0]}"
        found.faults.append(Fault("wrong_size", "error", detail))
        return
    label = positions(values, index.categories)
    if unknown := unknown_counts(values, label):
        listed = ", ".join(f"{value} ({pixels} px)" for value, pixels in list(unknown.items())[:8])
        detail = f"{label_name}: {listed}; map them in data.categories.*.values or --ignore them"
        found.faults.append(Fault("unknown_values", "error", detail, float(sum(unknown.values()))))
        return
    found.pixels = np.bincount(label.ravel(), minlength=256)[: len(index.categories)]
    found.areas = [
        objects(label, c) if found.pixels[c] else np.empty(0, np.int64) for c in range(len(index.categories))
    ]
    _check_content(index, label.size - int((label == IGNORE).sum()), found)


def _check_content(index: Index, valid: int, found: Inspection) -> None:
    assert found.pixels is not None
    present = np.flatnonzero(found.pixels)
    if valid == 0:
        found.faults.append(Fault("all_ignored", "warning", "every pixel of its mask is ignored"))
    elif len(present) == 1:
        name = index.categories.names[int(present[0])]
        empty = name in (index.categories.left_out | {"background"})
        kind, severity = ("empty_mask", "warning") if empty else ("one_category", "note")
        found.faults.append(Fault(kind, severity, f"its mask holds nothing but {name}"))


def _reason(error: DataError) -> str:
    """Return what was got, out of the error's four parts."""
    return str(error).splitlines()[0].split(", got ", 1)[-1]

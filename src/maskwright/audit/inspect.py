"""One image at a time: what can be said from its own files. Each file is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.artifacts import turned_like
from maskwright.audit.features import Features, features
from maskwright.audit.hashing import SIDE, Thumbnail, thumbnail
from maskwright.audit.shapes import count_pieces, measure_all, style_of
from maskwright.data.categories import positions, unknown_counts
from maskwright.data.images import (
    check_exact,
    numbers_of,
    orientation_of,
    read_image,
    read_objects,
    read_preview,
    read_values,
    upright,
)
from maskwright.data.index import Index
from maskwright.errors import DataError
from maskwright.types import IGNORE, Array, Categories, LabelMap

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
        touching: (C,) objects of each category that the image's border cuts off.
        features: what the image looks like, None if it can't be read.
        label_digest: hash of the label map, None without a usable one that holds at least two categories.
        style: how the mask was drawn, None where nobody asked.
        pieces: numbers of objects and of the pieces in which they lie, where objects are told apart.
        usable: False if any fault is an error.
    """

    faults: list[Fault] = field(default_factory=list)
    thumbnail: Thumbnail | None = None
    pixels: npt.NDArray[np.int64] | None = None
    areas: list[npt.NDArray[np.int64]] = field(default_factory=list)
    touching: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    features: Features | None = None
    label_digest: str | None = None
    style: npt.NDArray[np.float64] | None = None
    pieces: tuple[int, int] = (0, 0)

    @property
    def usable(self) -> bool:
        """True if nothing about it is an error."""
        return all(fault.severity != "error" for fault in self.faults)


def inspect_row(index: Index, row: int, *, style: bool = False) -> Inspection:
    """Read image and label of a row and say what they hold.

    Args:
        index: the images.
        row: which one.
        style: also measure how its mask was drawn.
    """
    found = Inspection()
    name, label_name = index.table["image"][row], index.table[index.label_column][row]
    path = index.path(name)
    try:
        preview = read_preview(path, _PREVIEW, color=True)
    except DataError as error:
        found.faults.append(Fault("unreadable", "error", error.got))
        return found
    found.thumbnail = upright(thumbnail(preview.pixels, preview.extent), preview.orientation)
    found.features = features(preview.pixels)
    if (orientation := orientation_of(path)) != 1:
        found.faults.append(Fault("exif_orientation", "note", f"turned by its EXIF orientation {orientation}"))
    if label_name is None:
        return found
    label, ids = _inspect_label(index, label_name, name, preview.size, found)
    if index.both and (ids_name := index.table["instances"][row]) is not None:
        ids = _inspect_ids(index, ids_name, name, preview.size, found)
    if label is not None:
        _measure(index, label, ids, found)
        if index.both:
            _check_numbers(index.categories, label, ids, found)
        if style:
            found.style = style_of(label, index.categories)
    return found


def read_thumbnail(path: Path) -> tuple[Thumbnail, tuple[int, int]]:
    """Return a file's thumbnail, upright, and the size (H, W) of its image; takes little more than decoding.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    preview = read_preview(path, _PREVIEW)
    return upright(thumbnail(preview.pixels, preview.extent), preview.orientation), preview.size


def object_sizes(categories: Categories, areas: Sequence[npt.NDArray[np.int64]]) -> tuple[int, float | None]:
    """Return number and median area (None without any) of an image's objects that are no background.

    Args:
        categories: of the label map.
        areas: for each of them the areas of its objects in pixels.
    """
    background = categories.left_out | {"background"}
    inside = [found for name, found in zip(categories.names, areas, strict=True) if name not in background]
    sizes = np.concatenate([np.empty(0), *inside])
    return len(sizes), float(np.median(sizes)) if len(sizes) else None


def pixel_digest(path: Path) -> str:
    """Return a hash of an image's shape and pixels: equal for files of the same pixels, however they are stored.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    image = read_image(path)
    digest = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=16)
    digest.update(image.data)
    return digest.hexdigest()


def _inspect_label(
    index: Index, label_name: str, name: str, size: tuple[int, ...], found: Inspection
) -> tuple[LabelMap | None, Array | None]:
    """Fill in what the label says; return it if it can be used, and the numbers of objects, if it is made of these."""
    numbered = index.target == "instances"
    try:
        if numbered:
            check_exact(index.path(label_name))
        values = read_values(index.path(label_name), like=turned_like(label_name, index.path(name)))
    except DataError as error:
        kind = "unreadable_instances" if numbered else "unreadable_mask"
        found.faults.append(Fault(kind, "error", f"{label_name}: {error.got}"))
        return None, None
    if values.shape != size:
        detail = f"{label_name} is {values.shape[1]}×{values.shape[0]}, the image {size[1]}×{size[0]}"
        found.faults.append(Fault("wrong_size", "error", detail))
        return None, None
    label = positions(values, index.categories)
    if unknown := unknown_counts(values, label):
        listed = ", ".join(f"{value} ({pixels} px)" for value, pixels in list(unknown.items())[:8])
        detail = f"{label_name}: {listed}; map them in data.categories.*.values or --ignore them"
        found.faults.append(Fault("unknown_values", "error", detail, float(sum(unknown.values()))))
        return None, None
    return label, numbers_of(values) if numbered else None


def _measure(index: Index, label: LabelMap, ids: Array | None, found: Inspection) -> None:
    """Fill in the pixels and objects of each category.

    Objects are those that are numbered; beside numbers of things, stuff has none.
    """
    count, things = len(index.categories), index.categories.things
    found.pixels = np.bincount(label.ravel(), minlength=256)[:count]
    if ids is not None and things:
        found.pieces = count_pieces(np.where(np.isin(label, things), ids, 0))
    objects = measure_all(label, index.categories, ids, both=index.both)
    found.areas, found.touching = [areas for areas, _ in objects], np.array([n for _, n in objects], np.int64)
    if np.count_nonzero(found.pixels) > 1:
        found.label_digest = hashlib.blake2b(f"{label.shape}".encode() + label.tobytes(), digest_size=16).hexdigest()
    _check_content(index, label.size - int((label == IGNORE).sum()), found)


def _inspect_ids(index: Index, ids_name: str, name: str, size: tuple[int, ...], found: Inspection) -> Array | None:
    """Return the objects' numbers beside the mask, if they can be used."""
    try:
        ids = read_objects(index.path(ids_name), like=turned_like(ids_name, index.path(name)))
    except DataError as error:
        found.faults.append(Fault("unreadable_instances", "error", f"{ids_name}: {error.got}"))
        return None
    if ids.shape != size:
        detail = f"{ids_name} is {ids.shape[1]}×{ids.shape[0]}, the image {size[1]}×{size[0]}"
        found.faults.append(Fault("wrong_size", "error", detail))
        return None
    return ids


def _check_numbers(categories: Categories, label: LabelMap, ids: Array | None, found: Inspection) -> None:
    """Say where things have no numbers, and which numbers lie on several of them."""
    thing = np.isin(label, categories.things)
    bare = int(thing.sum())
    if bare and (ids is None or not ids[thing].any()):
        if found.usable:  # else the map could not be read
            kind, severity, what = (
                ("no_instances", "note", "no instance map")
                if ids is None
                else ("no_numbers", "warning", "an instance map with no number there")
            )
            detail = f"its mask has {bare} px of things, and {what}: it teaches and scores categories alone"
            found.faults.append(Fault(kind, severity, detail, float(bare)))
        return
    if ids is None:
        return
    own = thing & (ids > 0)
    pairs, pixels = np.unique(np.stack([ids[own], label[own]]), axis=1, return_counts=True)
    several = np.unique(pairs[0][1:][np.diff(pairs[0]) == 0])
    if len(several):
        first = pairs[0] == several[0]
        listed = ", ".join(f"{categories.names[c]} {n} px" for c, n in zip(pairs[1][first], pixels[first], strict=True))
        detail = (
            f"{len(several)} of {len(np.unique(pairs[0]))} numbers lie on several things ({several[0]}: {listed}): "
            "each part is an object of its own"
        )
        found.faults.append(Fault("split_objects", "warning", detail, float(len(several))))


def _check_content(index: Index, valid: int, found: Inspection) -> None:
    assert found.pixels is not None
    present = np.flatnonzero(found.pixels)
    if valid == 0:
        found.faults.append(Fault("all_ignored", "warning", "every pixel of its mask is ignored"))
    elif len(present) == 1:
        name = index.categories.names[int(present[0])]
        empty = name in (index.categories.left_out | {"background"})
        kind, severity = ("empty_mask", "warning") if empty else ("one_category", "note")
        alone = "; only 0, or black, is no object" if index.target == "instances" and not empty else ""
        found.faults.append(Fault(kind, severity, f"its mask holds nothing but {name}{alone}"))

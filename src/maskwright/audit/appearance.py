"""What the pixels of one file look like: a picture, a mask of some kind, objects, probabilities; what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.data.categories import MANY, from_values, gray_as_numbers, shown_value
from maskwright.data.images import COLOR
from maskwright.data.intensity import measure
from maskwright.labels import components
from maskwright.types import Array, Category

KINDS = (
    "image",
    "index mask",
    "0/255 mask",
    "colour mask",
    "instance map",
    "probability map",
    "mask with blurred values",
    "one value only",
)
_FLAT = 0.8  # share of equal neighbours; measured: masks from .96 on, photos up to .5, dark microscopy up to .7
_WINDOW = 1024
_OBJECTS = 8
_NEAR_END = 12
_CLAIMS_VALUES = ("index mask", "0/255 mask", "colour mask")


@dataclass(frozen=True)
class Appearance:
    """What pixels look like.

    Attributes:
        kind: one of `KINDS`.
        why: what it was told by.
    """

    kind: str
    why: str


def appearance(
    values: Array, counts: Mapping[int, int], *, folder: str | None = None, lossy: bool = False
) -> Appearance:
    """Say what integer pixels look like.

    Args:
        values: (H, W) int32 as `read_values` returns them.
        counts: {value: pixels} of all of them.
        folder: `images`, `masks` or `instances` if the file lies in one; decides where the pixels allow two readings.
        lossy: the file's type doesn't keep values exactly, as JPEG.
    """
    distinct = gray_as_numbers(set(counts))
    count, colored = len(distinct), max(distinct) >= COLOR
    flat = flat_share(values)
    if lossy and count > 2:
        return _of_lossy(counts, count)
    if count == 1:
        return Appearance("one value only", f"every pixel is {shown_value(next(iter(distinct)))}")
    if distinct == {0, 255}:
        return Appearance("0/255 mask", "0 and 255 and nothing else")
    is_mask = count <= 2 or flat >= _FLAT or (folder in ("masks", "instances") and count <= MANY)
    if is_mask and not (count > MANY and not colored and _ends(counts) >= 0.8 and max(distinct) == 255):
        told = f"{count} values in flat areas ({flat:.0%} of neighbouring pixels are equal)"
        if _numbers_objects(values, distinct, folder):
            return Appearance("instance map", f"{told}, as where each number is one object")
        return Appearance("colour mask" if colored else "index mask", told)
    if not colored and count > 2 and _ends(counts) >= 0.8 and {0, 255} <= distinct:
        return Appearance("probability map", "most pixels are near 0 or 255, with all grays between")
    return Appearance("image", f"{count} values, {flat:.0%} of neighbouring pixels are equal")


def appearance_of_floats(image: Array) -> Appearance:
    """Say what a float image of (H, W, C) looks like; 0..1 is a probability."""
    low, high = float(image.min()), float(image.max())
    if 0 <= low < high <= 1:
        return Appearance("probability map", f"fractions from {low:g} to {high:g}")
    if low == high:
        return Appearance("one value only", f"every pixel is {low:g}")
    return Appearance("image", f"fractions from {low:g} to {high:g}")


def flat_share(values: Array) -> float:
    """Return the share of vertically or horizontally neighbouring pixels that are equal; 1 if there are none."""
    down, right = values[1:] == values[:-1], values[:, 1:] == values[:, :-1]
    pairs = down.size + right.size
    return float((down.sum() + right.sum()) / pairs) if pairs else 1.0


def recipe_lines(seen: Appearance, distinct: set[int], image: Array | None = None) -> tuple[str, ...]:
    """Return the lines of a recipe, `section.field: value`, that read such a file; none where no recipe reads it.

    Args:
        seen: what it looks like.
        distinct: its values.
        image: (H, W, C) as `read_image` returns it, for what looks like an image.
    """
    if seen.kind == "image" and image is not None:
        found = measure([image])
        deep = image.dtype != np.uint8
        low, high = found.value_range
        return (
            f"data.channels: {found.channels}",
            *([f"data.value_range: [{low:g}, {high:g}]"] if deep and low < high else []),
        )
    if seen.kind == "instance map":
        return ("data.task: instances",)
    if seen.kind not in _CLAIMS_VALUES:
        return ()
    values = gray_as_numbers(distinct)
    if len(values) == 2 and 0 in values and max(values) < COLOR:
        return ("data.classes: binary",)
    if max(values) < COLOR and 255 in values:
        return ("data.ignore: [255]", f"data.categories: {_listed(from_values(values - {255}))}")
    return (f"data.categories: {_listed(from_values(values))}",)


def _of_lossy(counts: Mapping[int, int], count: int) -> Appearance:
    if _ends(counts) >= 0.9 and _both_ends(counts):
        return Appearance("mask with blurred values", f"{count} values, nearly all close to 0 or 255, in a lossy type")
    return Appearance("image", f"{count} values in a lossy type")


def _near(value: int) -> tuple[bool, bool]:
    """Tell whether a gray or a colour is near black, and whether near white."""
    channels = (value >> 16 & 255, value >> 8 & 255, value & 255) if value >= COLOR else (value,)
    return all(c <= _NEAR_END for c in channels), all(c >= 255 - _NEAR_END for c in channels)


def _ends(counts: Mapping[int, int]) -> float:
    return sum(n for value, n in counts.items() if any(_near(value))) / sum(counts.values())


def _both_ends(counts: Mapping[int, int]) -> bool:
    sides = [_near(value) for value in counts]
    return any(dark for dark, _ in sides) and any(light for _, light in sides)


def _numbers_objects(values: Array, distinct: set[int], folder: str | None) -> bool:
    """Tell whether the values number objects: the folder says so, or they are many, or each is one piece."""
    if folder in ("masks", "instances"):
        return folder == "instances" or len(distinct) > MANY
    if len(distinct) > MANY:
        return True
    numbers = sorted(distinct - {0})
    if max(distinct) >= COLOR or 0 not in distinct or len(numbers) < _OBJECTS:
        return False
    window = values[:_WINDOW, :_WINDOW]
    inside = [number for number in numbers if (window == number).any()]
    return all(components(window == number)[1] == 1 for number in inside)


def _listed(items: Sequence[Category]) -> str:
    """Return categories as YAML on one line."""
    shown = [{"id": c.id, "name": c.name, "values": c.values if c.values == "rest" else list(c.values)} for c in items]
    return json.dumps(shown, ensure_ascii=False)

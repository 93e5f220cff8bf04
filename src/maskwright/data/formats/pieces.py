"""From label and instance maps to pieces that a file can list, and what a file says of pixels that no piece covers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from maskwright.data.formats.rows import Record
from maskwright.data.formats.shapes import Drawn
from maskwright.types import IGNORE, Array, Categories, Category

BACKGROUND = "background"
BACKGROUND_NAMES = (BACKGROUND, "_background_", "__background__")
"""What tools call the category of pixels that nobody outlined."""

BOTH = ("masks", "instances")
"""What can be known of an image."""

_SHARE = range(256)
_LISTABLE = 1 << 18


class Values(NamedTuple):
    """What the labels of a file are in a mask.

    Attributes:
        ids: label → value.
        things: labels whose shapes are objects.
        background: value of pixels without a shape.
        ignore: value of ignored ones.
    """

    ids: dict[str, int]
    things: frozenset[str]
    background: int
    ignore: int


class Piece(NamedTuple):
    """Pixels of one image that have the same category and object.

    Attributes:
        position: of the category, or `IGNORE`.
        object: id in the instance map, 0 where there is none.
        drawn: the pixels.
    """

    position: int
    object: int
    drawn: Drawn


def pieces(record: Record, categories: Categories) -> Iterator[Piece]:
    """Yield the pieces of a record, those of one category and object together; ignored pixels as one piece.

    Where only instances are known, they are of the first category of things, or else of the last category; pixels
    between them yield nothing.
    """
    objects = np.zeros(record.size, np.int64) if record.instances is None else record.instances.astype(np.int64)
    if record.label is None:
        things = categories.things
        label = np.full(record.size, things[0] if things else len(categories) - 1, np.int64)
    else:
        label = record.label.astype(np.int64)
    for code, drawn in objects_of(np.where(label == IGNORE, 0, objects) * 256 + label + 1):
        place, number = (code - 1) % 256, (code - 1) // 256
        if record.label is not None or number:
            yield Piece(place, number, drawn)


def objects_of(ids: Array) -> Iterator[tuple[int, Drawn]]:
    """Yield each id of an (H, W) map but 0, and its pixels in a window of their own, in the order of the ids.

    Each object costs as much as its window, not as the image.
    """
    codes, numbers = _counted(ids)
    for number, window in enumerate(ndimage.find_objects(numbers), 1):
        if window is not None and (code := number if codes is None else int(codes[number - 1])) != 0:
            yield code, Drawn(window[0].start, window[1].start, numbers[window] == number)


def known_of(record: Record) -> list[str]:
    """Return which of `masks` and `instances` a record has."""
    return [what for what, array in zip(BOTH, (record.label, record.instances), strict=True) if array is not None]


def rgb_of(stated: Any) -> tuple[int, int, int] | None:
    """Return a colour that a file states as a list of three numbers from 0 to 255, None for anything else."""
    if not isinstance(stated, list) or len(stated) != 3 or any(v not in _SHARE for v in stated):
        return None
    return int(stated[0]), int(stated[1]), int(stated[2])


def named(labels: Iterable[str]) -> tuple[tuple[Category, ...], Values]:
    """Return categories for labels that no list explains: in the order of the alphabet from 1 on, all of them things.

    One that is called background is that; otherwise a background is added.
    """
    names = sorted(name for name in set(labels) if name.lower() not in BACKGROUND_NAMES)
    return with_values([Category(i, name, isthing=True) for i, name in enumerate(names, 1)], add=True)


def with_values(found: Sequence[Category], *, add: bool) -> tuple[tuple[Category, ...], Values]:
    """Return the categories as `numbered` does, and what labels are in a mask.

    Args:
        found: as the files have them.
        add: whether a background is added where there is none.
    """
    own = next((category.name for category in found if category.name.lower() in BACKGROUND_NAMES), None)
    categories, background, ignore = numbered(found, own, add=add and own is None)
    ids = dict.fromkeys(BACKGROUND_NAMES, background) | {category.name: category.id for category in categories}
    things = frozenset(category.name for category in categories if category.isthing)
    return categories, Values(ids, things, background, ignore)


def numbered(found: Sequence[Category], background: str | None, *, add: bool) -> tuple[tuple[Category, ...], int, int]:
    """Return the categories with ids that masks can hold, the value of pixels that nothing covers, and the ignored one.

    Ids are kept. Where one is below 0, above 65534, or 0 while a background must be added, all are numbered anew, from
    1 on in the order of the ids.

    Args:
        found: as the file has them.
        background: name of the category of uncovered pixels; None: there is none, they are ignored.
        add: whether a category for the background must be added.
    """
    items = [replace(c, name=BACKGROUND) if c.name.lower() in BACKGROUND_NAMES else c for c in found]
    background = BACKGROUND if (background or "").lower() in BACKGROUND_NAMES else background
    lowest = 1 if add else 0
    if any(not lowest <= category.id < 65535 for category in items):
        order = {category.id: place for place, category in enumerate(sorted(items, key=lambda c: c.id), 1)}
        items = [_with_id(category, order[category.id]) for category in items]
    else:
        items = [_with_id(category, category.id) for category in items]
    if add:
        items.insert(0, Category(0, BACKGROUND, (0, 0, 0), values=(0,)))
        background = BACKGROUND
    ignore = IGNORE if max((category.id for category in items), default=0) < IGNORE else 65535
    values = {category.name: category.id for category in items}
    return tuple(items), values[background] if background is not None else ignore, ignore


def _counted(ids: Array) -> tuple[Array | None, Array]:
    """Return an id map whose ids are few enough to be listed, and what they were; None: they are as they were."""
    if ids.size and int(ids.min()) >= 0 and int(ids.max()) < _LISTABLE:
        return None, ids.astype(np.int32, copy=False)
    codes, inverse = np.unique(ids, return_inverse=True)
    return codes, inverse.reshape(ids.shape).astype(np.int32) + 1


def _with_id(category: Category, number: int) -> Category:
    return Category(number, category.name, category.color, category.isthing, (number,))

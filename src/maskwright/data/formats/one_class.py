"""What formats hold that know one kind of object and nothing else: its masks, one an object."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskwright.data.formats.pieces import objects_of
from maskwright.data.formats.rows import Record
from maskwright.data.formats.shapes import Drawn
from maskwright.errors import UsageError, problem
from maskwright.types import IGNORE, Categories, Category

FOREGROUND = (
    Category(0, "background", (64, 64, 64), values=(0,)),
    Category(1, "foreground", (230, 159, 0), isthing=True, values=(1,)),
)
"""The categories of a format that names none."""


def one_class(categories: Categories, name: str) -> Categories:
    """Return the categories of records that are written in a format of one class, with 0 and 1 as ids.

    Raises:
        UsageError: they are not background and one other.
    """
    if len(categories) != 2:
        raise UsageError(
            problem(
                "background and one category",
                f"{len(categories)}: {', '.join(categories.names[:8])}",
                where=f"--to {name}",
                next_move="add --set data.classes=binary, or choose a format that holds several categories",
            )
        )
    return Categories(
        tuple(
            Category(position, c.name, c.color, c.isthing, (position,)) for position, c in enumerate(categories.items)
        )
    )


def object_masks(record: Record, name: str) -> Iterator[Drawn] | None:
    """Return the pixels of a record's objects in the order of their ids, None where nothing is labelled.

    Raises:
        UsageError: there are ignored pixels, or a label whose foreground is not what the objects cover.
    """
    if record.label is None and record.instances is None:
        return None
    if record.instances is None:
        raise _refused(record, name, "a mask without them", "choose a format that holds masks")
    if record.label is not None and (record.label == IGNORE).any():
        raise _refused(record, name, "ignored pixels", "choose a format that holds them")
    if record.label is not None and not np.array_equal(record.label == 1, record.instances != 0):
        raise _refused(record, name, "a mask of other pixels than theirs", "choose a format that holds both")
    return (drawn for _, drawn in objects_of(record.instances))


def _refused(record: Record, name: str, got: str, next_move: str) -> UsageError:
    return UsageError(
        problem("objects that cover the foreground", got, where=f"{record.name}, --to {name}", next_move=next_move)
    )

"""Categories that are named after no category: void, ignore, unlabelled."""

from __future__ import annotations

from collections.abc import Sequence

from maskwright.errors import DataError, problem
from maskwright.types import Category

VOID_NAMES = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "class_255")
"""Names, in lower case, of pixels that are usually not meant to count."""

_BLACK = "#000000"


def check_void(
    items: Sequence[Category],
    ignored: Sequence[int | str],
    *,
    otherwise: str = "--set data.ignore=[] makes them foreground",
) -> None:
    """Raise DataError if pixels that are named void would silently become foreground.

    Args:
        items: categories as the folder names them.
        ignored: mask values that are ignored.
        otherwise: what the message says of having them as foreground.
    """
    void = [c for c in items if c.name.lower() in VOID_NAMES and not _is_background(c)]
    open_ones = [c for c in void if not _is_ignored(c, ignored)]
    if open_ones:
        listed = ", ".join(f"'{c.name}' ({_values(c)})" for c in open_ones)
        values = ",".join(c.name if c.values == "rest" else ",".join(map(str, c.values)) for c in open_ones)
        raise DataError(
            problem(
                "to be told what binary makes of each value that isn't 0",
                f"a category called {listed}, which would become foreground",
                where="--classes binary and the names of the folder's categories",
                next_move=f"--ignore {values} leaves such pixels out of loss and metric; {otherwise}",
            )
        )


def _is_background(category: Category) -> bool:
    """Tell whether all its values are what binary calls background: 0, or black, which is read as 0."""
    return category.values != "rest" and {*category.values} <= {0, _BLACK}


def _is_ignored(category: Category, ignored: Sequence[int | str]) -> bool:
    return category.name in ignored or (category.values != "rest" and set(category.values) <= set(ignored))


def _values(category: Category) -> str:
    return category.values if category.values == "rest" else ", ".join(map(str, category.values))

"""What every format reads a folder into: rows of paths and what the folder says of its categories."""

from __future__ import annotations

from dataclasses import dataclass, field

from maskwright.types import Category


@dataclass(frozen=True)
class Row:
    """One image: paths relative to the root, forward slashes; None where there is no such file."""

    image: str
    mask: str | None = None
    instances: str | None = None
    part: str | None = None
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A data folder as read.

    Attributes:
        format: name of the layout.
        rows: one an image, in the order of their paths.
        categories: what the folder says they are, or None.
        ignore: mask values that the folder declares ignored.
        leftovers: label files without an image, relative paths.
    """

    format: str
    rows: list[Row]
    categories: tuple[Category, ...] | None = None
    ignore: tuple[int | str, ...] = ()
    leftovers: list[str] = field(default_factory=list)

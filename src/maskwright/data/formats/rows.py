"""What every format reads a folder into: rows of paths and what the folder says of its categories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from maskwright.types import Array, Category


@dataclass(frozen=True)
class Content:
    """Arrays of an image that no file holds as we read them.

    Attributes:
        image: (H, W) or (H, W, C) uint8, uint16 or float32, None where the image is a file.
        mask: (H, W) integers, the values that `Source.categories` and `Source.ignore` name; None without.
        instances: (H, W) integers, an id an object, 0 background; None without.
    """

    image: Array | None = None
    mask: Array | None = None
    instances: Array | None = None


@dataclass(frozen=True)
class Row:
    """One image: paths relative to the root, forward slashes; None where there is no such file.

    Paths that begin with `IMPORTED` (`@/`) are of files that don't exist yet: `render` returns their arrays, and
    `data.imported.write_rows` writes them into the run folder.
    """

    image: str
    mask: str | None = None
    instances: str | None = None
    part: str | None = None
    meta: dict[str, str] = field(default_factory=dict)
    render: Callable[[], Content] | None = None


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

"""What every format reads a folder into: rows of paths and what the folder says of its categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.types import Array, Categories, Category, LabelMap


@dataclass(frozen=True)
class Content:
    """Arrays of an image that no file holds as we read them.

    Attributes:
        image: (H, W) or (H, W, C) uint8, uint16 or float32, or a file outside the data folder that is linked to; None
            where the image is a file of the folder.
        mask: (H, W) integers, the values that `Source.categories` and `Source.ignore` name; None without.
        instances: (H, W) integers, an id an object, 0 background; None without.
    """

    image: Array | Path | None = None
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
        notes: what was taken for granted and a user should know, a sentence each.
    """

    format: str
    rows: list[Row]
    categories: tuple[Category, ...] | None = None
    ignore: tuple[int | str, ...] = ()
    leftovers: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """One image with what is known of it, as `convert` hands it to a format that is written.

    Attributes:
        name: as `files.name_of` gives it; unique, forward slashes.
        image: the image file, or its pixels where no file holds them.
        size: (H, W).
        label: (H, W) uint8 map of category positions with `IGNORE`, None where there is none.
        instances: (H, W) int32, an id an object, 0 elsewhere, None where there is none.
        part: as `Row.part`.
        meta: as `Row.meta`.
    """

    name: str
    image: Path | Array
    size: tuple[int, int]
    label: LabelMap | None = None
    instances: npt.NDArray[np.int32] | None = None
    part: str | None = None
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Records:
    """What is written: images one at a time, and what their labels mean.

    Attributes:
        categories: in the order of the labels' positions; `ids` are kept where the format has ids.
        count: how many records there are.
        each: yields them; one is in memory at a time.
    """

    categories: Categories
    count: int
    each: Callable[[], Iterator[Record]]

    def __iter__(self) -> Iterator[Record]:
        return self.each()

"""Rows whose labels are drawn from shapes when they are written, and what annotation tools' formats share."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from maskwright.data.formats.files import homes
from maskwright.data.formats.lookup import Images, labelled_row
from maskwright.data.formats.pieces import BACKGROUND, BACKGROUND_NAMES, BOTH, Values
from maskwright.data.formats.rows import Content, Row
from maskwright.data.formats.shapes import Points, Region, Size, paint
from maskwright.data.images import orientation_of, size_of, upright
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Array, Categories, Category, LabelMap

_LOOKED_AT = 8
LABEL_FOLDERS = frozenset({"masks", "instances", "segmentationclass", "segmentationobject"})
"""Names of folders, in lower case, whose pictures are labels."""


class Stems:
    """The images of a data folder by their names without suffix, for formats whose files are called as their images.

    Args:
        images: of the folder.
    """

    def __init__(self, images: Images) -> None:
        self._by_stem: dict[str, list[str]] = {}
        for path in images.paths:
            if not LABEL_FOLDERS & {part.lower() for part in PurePosixPath(path).parts[:-1]}:
                self._by_stem.setdefault(_composed(PurePosixPath(path).stem), []).append(path)

    def find(self, stem: str, *, where: Path, beside: str = "") -> str | None:
        """Return the image whose path ends with a name without suffix, the one in the folder `beside` first.

        Raises:
            DataError: several images have the name.
        """
        named = self._by_stem.get(_composed(PurePosixPath(stem).name), [])
        fitting = [
            p for p in named if _composed(f"/{PurePosixPath(p).with_suffix('')}").endswith(f"/{_composed(stem)}")
        ]
        close = [p for p in fitting if PurePosixPath(p).parent == PurePosixPath(beside)] or fitting
        if len(close) > 1:
            next_move = "put each image beside its annotation file, or give them different names"
            raise DataError(
                problem(f"one image called {stem}", ", ".join(close), where=str(where), next_move=next_move)
            )
        return close[0] if close else None


def drawn_row(
    root: Path,
    image: str,
    draw: Callable[[Size], Sequence[Region]],
    values: Values,
    *,
    where: str,
    stated: Size | None = None,
    part: str | None = None,
    known: Sequence[str] = BOTH,
) -> Row:
    """Return the row of an image whose mask and instances are painted from shapes when they are needed.

    Args:
        root: the data folder.
        image: relative path.
        draw: returns the regions, the lowest first, for an image of the size (H, W).
        values: what the labels are in the mask.
        where: annotation file and image, for messages.
        stated: (H, W) as the annotations have it, None where they don't say: the shapes then lie on the upright image.
        part: as `Row.part`.
        known: which of `masks` and `instances` there are.

    `render` raises:
        DataError: the image has another size than is stated, or a shape can't be drawn.
    """

    def render() -> Content:
        turn, (height, width, _, _) = orientation_of(root / image), size_of(root / image)
        size = _frame((height, width), stated, turn, where)
        content = paint(draw(size), size, values.ids, ignore=values.ignore, background=values.background)
        assert content.mask is not None and content.instances is not None
        if size == (height, width):
            return content
        return Content(mask=upright(content.mask, turn), instances=upright(content.instances, turn))

    return labelled_row(image, render, part, known=known)


def declared(
    names: Iterable[str], colors: Mapping[str, tuple[int, int, int]] | None = None
) -> tuple[tuple[Category, ...], Values]:
    """Return background and the named categories, numbered from 1 in the given order, and what they are in a mask.

    Example:
        >>> declared(["cat", "Background", "dog"])[1].ids
        {'Background': 0, 'cat': 1, 'dog': 2}
    """
    unique = dict.fromkeys(names)
    zero = next((name for name in unique if name.casefold() == BACKGROUND), BACKGROUND)
    order = [zero, *(name for name in unique if name != zero)]
    known = colors or {}
    categories = tuple(
        Category(i, name, known.get(name, (0, 0, 0)), isthing=i > 0, values=(i,)) for i, name in enumerate(order)
    )
    return categories, Values({name: i for i, name in enumerate(order)}, frozenset(order[1:]), 0, IGNORE)


def check_inside(points: Points, size: Size, *, where: str, margin: float = 0) -> Points:
    """Return the points of a shape if some of it can lie inside the image.

    Args:
        points: (P, 2) x and y in pixels.
        size: (H, W).
        where: file and shape, for the message.
        margin: pixels by which the shape is drawn beyond its points, as lines are.

    Raises:
        DataError: all of it lies outside, as when the image was made smaller after it was annotated.
    """
    low, high = points.min(0) - margin, points.max(0) + margin
    if high[0] <= 0 or high[1] <= 0 or low[0] >= size[1] or low[1] >= size[0]:
        raise DataError(
            problem(
                f"a shape inside the image of {size[1]}×{size[0]} pixels",
                f"one from x {low[0]:.6g}, y {low[1]:.6g} to x {high[0]:.6g}, y {high[1]:.6g}",
                where=where,
                next_move="use the image that was annotated, at its full size, or remove the shape",
            )
        )
    return points


def check_corners(points: Points, *, where: str) -> Points:
    """Return the points of a polygon if there are at least three.

    Raises:
        DataError: there are fewer.
    """
    if len(points) < 3:
        next_move = "remove the shape, or complete it"
        raise DataError(problem("a polygon of at least 3 points", f"{len(points)}", where=where, next_move=next_move))
    return points


def refused(got: str, where: Path, next_move: str) -> DataError:
    """Return the error for annotations that say nothing about pixels, such as boxes."""
    return DataError(problem("shapes that tell pixels apart", got, where=str(where), next_move=next_move))


def some_files(root: Path, *suffixes: str) -> list[Path]:
    """Return a few files with one of the suffixes, from the folder and each one directly below; never raises."""
    return [path for files in _by_folder(root, suffixes) for path in files[:_LOOKED_AT]]


def all_files(root: Path, *suffixes: str) -> list[Path]:
    """Return all files with one of the suffixes in the folder and those directly below, by `some_files`' rule."""
    return [path for files in _by_folder(root, suffixes) for path in files]


def head(path: Path, size: int = 1024) -> str:
    """Return how a text file begins, empty text where it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size).decode("utf-8", "replace").removeprefix("\ufeff").lstrip()
    except OSError:
        return ""


def _by_folder(root: Path, suffixes: tuple[str, ...]) -> list[list[Path]]:
    try:
        listed = [sorted(folder.iterdir()) for folder in homes(root)]
    except OSError:
        return []
    wanted = [[p for p in files if p.suffix.lower() in suffixes and not p.name.startswith(".")] for files in listed]
    return [[p for p in files if p.is_file()] for files in wanted]


def _frame(size: Size, stated: Size | None, turn: int, where: str) -> Size:
    """Return the size that the coordinates refer to: the upright image's, or the stored one's where it is stated."""
    if stated in (None, size):
        return size
    if stated == size[::-1] and turn >= 5:
        return stated
    raise DataError(
        problem(
            f"an image of the size that the annotations state, {stated[1]}×{stated[0]}" if stated else "",
            f"{size[1]}×{size[0]}",
            where=where,
            next_move="put the image that was annotated into the folder, not a smaller or larger copy, or correct "
            "width and height in this annotation file",
        )
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Suggested:
    """An image that somebody is to label, with the mask that a model suggests.

    Attributes:
        file: name of the image file in `images/`.
        label: (H, W) category positions with `IGNORE`.
        instances: (H, W) object ids, 0 for none; None where objects are not told apart.
        certainty: 0..1.
    """

    file: str
    label: LabelMap
    instances: Array | None = None
    certainty: float = 1.0

    def shapes(self, categories: Categories) -> Iterator[tuple[Category, Array]]:
        """Yield (category, (H, W) bool mask) of each shape, none of which overlap: an object, or all of a category.

        The background has none: it is what no shape covers.
        """
        for position, category in enumerate(categories.items):
            mask = self.label == position
            if category.name.casefold() in BACKGROUND_NAMES or not mask.any():
                continue
            if self.instances is None or not category.isthing:
                yield category, mask
                continue
            for number in np.unique(self.instances[mask]):
                yield category, mask & (self.instances == number)


def hexadecimal(category: Category) -> str:
    """Return a category's colour as tools write it.

    Example:
        >>> hexadecimal(Category(1, "rock", (255, 0, 16)))
        '#ff0010'
    """
    return "#" + bytes(category.color).hex()

"""What is drawn on a mask: polygons and brushes, painted at the size of the image one over the other; or pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from maskwright.data.formats.shapes import polygon
from maskwright.errors import UsageError, problem
from maskwright.review.reply import Stroke
from maskwright.types import IGNORE, LabelMap

MOST_WORK = 1 << 31
"""Pixels that are looked at for the strokes of one answer at most; a pixel counts once for each piece of a brush."""


@dataclass(frozen=True)
class Drawn:
    """What somebody drew, as pixels: what an editor has that keeps no strokes.

    Attributes:
        label: (H, W) category positions with `IGNORE`.
        where: (H, W) pixels of it that were drawn; elsewhere, the mask stays what it is.
    """

    label: LabelMap
    where: npt.NDArray[np.bool_]

    @classmethod
    def between(cls, before: LabelMap, after: LabelMap) -> Drawn:
        """Return what leads from a mask, as it was shown, to an edited one of the same size.

        Example:
            >>> Drawn.between(np.uint8([[0, 1, 1]]), np.uint8([[0, 0, 1]])).where.tolist()
            [[False, True, False]]
        """
        return cls(after.copy(), np.asarray(before != after, np.bool_))


def draw(label: LabelMap, strokes: Sequence[Stroke], categories: int) -> LabelMap:
    """Return a label map with strokes painted on it, the last on top.

    A polygon covers its inside with its outline, as label files' polygons do; a brush all pixels whose centre is at
    most its radius away from the line through its points.

    Args:
        label: (H, W) category positions with `IGNORE`.
        strokes: in order.
        categories: how many there are.

    Raises:
        UsageError: a stroke of a category that there isn't, or more of them than can be painted in a while.

    Example:
        >>> line = Stroke(tool="brush", category=1, points=((1.5, 1.5), (3.5, 1.5)), radius=0.5)
        >>> draw(np.zeros((3, 5), np.uint8), [line], 2).tolist()
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    found, _ = painted(label, strokes, categories)
    return found


def painted(
    label: LabelMap, drawing: Sequence[Stroke] | Drawn, categories: int
) -> tuple[LabelMap, npt.NDArray[np.bool_]]:
    """Return a label map with a drawing on it, and the (H, W) pixels that it covers.

    Args:
        label: (H, W) category positions with `IGNORE`.
        drawing: strokes in order, as for `draw`; or pixels.
        categories: how many there are.

    Raises:
        UsageError: as `draw`; or pixels of another image.
    """
    if isinstance(drawing, Drawn):
        return _copied(label, drawing, categories), drawing.where
    found, covered = label.copy(), np.zeros(label.shape, np.bool_)
    diagonal = float(np.hypot(*label.shape)) + 1
    _check_work(drawing, label.shape, diagonal)
    for stroke in drawing:
        _check_category(stroke.category, categories, "a stroke")
        points, here = np.array(stroke.points, np.float64), np.zeros(label.shape, np.bool_)
        if stroke.tool == "polygon":
            top, left, pixels = polygon(points, (label.shape[0], label.shape[1]))
            here[top : top + pixels.shape[0], left : left + pixels.shape[1]] |= pixels
        else:
            for first, second in _pieces(points):
                _brush(here, first, second, stroke.radius)
        found[here] = stroke.category
        covered |= here
    return found, covered


def _copied(label: LabelMap, drawn: Drawn, categories: int) -> LabelMap:
    if drawn.label.shape != label.shape or drawn.where.shape != label.shape:
        next_move = "open the item again, and draw on what it shows"
        raise UsageError(
            problem(
                f"a drawing of {label.shape} pixels", f"{drawn.label.shape}", where="a drawing", next_move=next_move
            )
        )
    for category in np.unique(drawn.label[drawn.where]).tolist():
        _check_category(category, categories, "a drawing")
    return np.where(drawn.where, drawn.label, label)


def _check_category(category: int, categories: int, where: str) -> None:
    if category >= categories and category != IGNORE:
        expected = f"a category from 0 to {categories - 1}, or {IGNORE}"
        next_move = "open the item again, and draw again"
        raise UsageError(problem(expected, str(category), where=where, next_move=next_move))


def _pieces(points: npt.NDArray[np.float64]) -> Iterable[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Return the straight lines of a brush; one that doesn't move is a point."""
    return pairwise(points if len(points) > 1 else np.repeat(points, 2, axis=0))


def _check_work(strokes: Sequence[Stroke], size: tuple[int, ...], diagonal: float) -> None:
    """Raise UsageError if painting would take minutes."""
    work = 0.0
    for stroke in strokes:
        points = np.array(stroke.points, np.float64)
        work += size[0] * size[1]
        if stroke.tool == "polygon":
            continue
        points = np.repeat(points, 2, axis=0) if len(points) == 1 else points
        limits = np.array([size[1], size[0]], np.float64)
        reach = min(stroke.radius, diagonal) + 1
        low = np.clip(np.minimum(points[:-1], points[1:]) - reach, 0, limits)
        high = np.clip(np.maximum(points[:-1], points[1:]) + reach, 0, limits)
        work += float((high - low).prod(axis=1).sum())
    if work > MOST_WORK:
        expected = f"strokes that cover {MOST_WORK:.1e} pixels, each counted as often as a stroke passes"
        next_move = "save after some strokes and go on, use a smaller brush, or fill polygons"
        raise UsageError(problem(expected, f"{work:.1e}", where="a drawing", next_move=next_move))


def _brush(
    here: npt.NDArray[np.bool_], first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], radius: float
) -> None:
    """Set what is within the radius of a straight line."""
    low = np.floor(np.minimum(first, second) - radius).astype(int)
    high = np.ceil(np.maximum(first, second) + radius).astype(int)
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high + 1, (here.shape[1], here.shape[0]))
    if left >= right or top >= bottom:
        return
    x, y = np.arange(left, right)[None, :] + 0.5 - first[0], np.arange(top, bottom)[:, None] + 0.5 - first[1]
    along = second - first
    length = float(along @ along)
    place = np.clip((x * along[0] + y * along[1]) / length, 0, 1) if length else np.zeros((1, 1))
    near = (x - place * along[0]) ** 2 + (y - place * along[1]) ** 2 <= radius**2
    here[top:bottom, left:right] |= near

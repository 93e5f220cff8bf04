"""Strokes on a mask: polygons and brushes, painted at the size of the image one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from maskwright.data.formats.shapes import polygon
from maskwright.errors import DataError, problem
from maskwright.review.reply import Stroke
from maskwright.types import IGNORE, LabelMap


def draw(label: LabelMap, strokes: Sequence[Stroke], categories: int) -> LabelMap:
    """Return a label map with strokes painted on it, the last on top.

    A polygon covers its inside with its outline, as label files' polygons do; a brush all pixels whose centre is at
    most its radius away from the line through its points.

    Args:
        label: (H, W) category positions with `IGNORE`.
        strokes: in order.
        categories: how many there are.

    Raises:
        DataError: a stroke of a category that there isn't.

    Example:
        >>> line = Stroke(tool="brush", category=1, points=((1.5, 1.5), (3.5, 1.5)), radius=0.5)
        >>> draw(np.zeros((3, 5), np.uint8), [line], 2).tolist()
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    found = label.copy()
    for stroke in strokes:
        if stroke.category >= categories and stroke.category != IGNORE:
            expected = f"a category from 0 to {categories - 1}, or {IGNORE}"
            next_move = "reload the page and draw again"
            raise DataError(problem(expected, str(stroke.category), where="a stroke", next_move=next_move))
        points = np.array(stroke.points, np.float64)
        if stroke.tool == "polygon":
            top, left, pixels = polygon(points, (label.shape[0], label.shape[1]))
            found[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = stroke.category
        else:
            for first, second in pairwise(points if len(points) > 1 else np.repeat(points, 2, axis=0)):
                _brush(found, first, second, stroke.radius, stroke.category)
    return found


def _brush(
    label: LabelMap, first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], radius: float, category: int
) -> None:
    """Paint what is within the radius of a straight line."""
    low = np.floor(np.minimum(first, second) - radius).astype(int)
    high = np.ceil(np.maximum(first, second) + radius).astype(int)
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high + 1, (label.shape[1], label.shape[0]))
    if left >= right or top >= bottom:
        return
    x, y = np.arange(left, right)[None, :] + 0.5 - first[0], np.arange(top, bottom)[:, None] + 0.5 - first[1]
    along = second - first
    length = float(along @ along)
    place = np.clip((x * along[0] + y * along[1]) / length, 0, 1) if length else np.zeros((1, 1))
    near = (x - place * along[0]) ** 2 + (y - place * along[1]) ** 2 <= radius**2
    label[top:bottom, left:right][near] = category

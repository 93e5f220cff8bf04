"""What the shapes in one label map are like: objects, those cut off by the border, and the style of their outlines."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.data.formats.pieces import objects_of
from maskwright.labels import Areas, component_areas, components, relabel_consecutive
from maskwright.types import IGNORE, Array, Categories, LabelMap

STYLES = ("coverage", "objects", "size", "roughness", "detail")
"""Statistics of a mask's style, in order."""

STYLE_WORDS = {
    "coverage": "share of the image that is labelled as foreground",
    "objects": "objects an image",
    "size": "median object's side as a share of the image's",
    "roughness": "share of the outlines' length that smoothing takes away",
    "detail": "corners a hundred pixels of outline",
}
"""Statistics in words."""

SPECK = 10
"""Pixels below which a part of an object is no piece of it."""

_BLUR = 1.5
"""Standard deviation, in pixels, of the Gaussian that outlines are smoothed with."""
_MARGIN = 6
_STRAIGHT = 1.0
"""Pixels by which an outline may leave a polygon's side."""


def measure_objects(label: LabelMap, category: int, ids: Array | None = None) -> tuple[Areas, int]:
    """Return the areas of a category's objects, and how many of them touch the image's border.

    Args:
        label: (H, W) category positions with `IGNORE`.
        category: position.
        ids: (H, W) ids of objects, 0 and up; without, objects are 8-connected components.

    Returns:
        (K,) int64 areas in pixels, and a count; a category that is absent has none.
    """
    mask = label == category
    if ids is None:
        numbered, count = components(mask)
    else:
        numbered = relabel_consecutive(np.where(mask, ids, 0))
        count = int(numbered.max(initial=0))
    edge = np.concatenate([numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]]) if numbered.size else numbered
    return component_areas(numbered, count), len(np.unique(edge[edge > 0]))


def measure_all(label: LabelMap, categories: Categories, ids: Array | None, *, both: bool) -> list[tuple[Areas, int]]:
    """Return what `measure_objects` says of each category.

    Args:
        label: (H, W) category positions with `IGNORE`.
        categories: what they mean.
        ids: (H, W) ids of objects; None: they are components.
        both: whether ids of things are looked at beside masks; then stuff has no objects.
    """
    present = np.bincount(label.ravel(), minlength=256)
    counted = categories.things if both else range(len(categories))
    return [
        measure_objects(label, c, ids) if present[c] and c in counted else (np.empty(0, np.int64), 0)
        for c in range(len(categories))
    ]


def count_pieces(ids: Array) -> tuple[int, int]:
    """Return the number of objects, and of the 8-connected pieces in which they lie.

    Specks below `SPECK` pixels are no pieces, unless an object has nothing larger.

    Example:
        >>> count_pieces(np.repeat(np.int32([[7, 0, 7, 0, 3]]), 12, axis=0))
        (2, 3)
    """
    found = [component_areas(*components(drawn.pixels)) for _, drawn in objects_of(ids)] if ids.size else []
    return len(found), sum(max(1, int((areas >= SPECK).sum())) for areas in found)


def style_of(label: LabelMap, categories: Categories) -> npt.NDArray[np.float64]:
    """Return how a mask was drawn, in numbers that an annotator's habit changes.

    Foreground are the categories that are not left out and not called background. Coverage and size are shares of the
    valid pixels. Roughness is 1 − P(smoothed) / P, the lengths of all outlines inside the image counted in sides of
    pixels, after and before a Gaussian of 1.5 pixels on each category: steps of a straight outline cost nothing, teeth
    and specks do. Detail is the number of corners of the polygons (Douglas and Peucker 1973, 1 pixel) a hundred pixels
    of outline.

    Args:
        label: (H, W) category positions with `IGNORE`.
        categories: what they mean.

    Returns:
        (5,) in the order of `STYLES`; NaN where there is nothing to measure.
    """
    skipped = categories.left_out | {"background"}
    drawn = [c for c, name in enumerate(categories.names) if name not in skipped and (label == c).any()]
    valid = int((label != IGNORE).sum())
    if not drawn:
        return np.array([0.0 if valid else np.nan, *[np.nan] * 4])
    areas = np.concatenate([measure_objects(label, c)[0] for c in drawn])
    lengths = np.array([_outlines(_window(label == c)) for c in drawn]).sum(axis=0)
    before, after, corners, outline = (float(value) for value in lengths)
    return np.array(
        [
            float(areas.sum()) / valid,
            float(len(areas)),
            float(np.sqrt(np.median(areas) / valid)),
            1 - after / before if before else np.nan,
            100 * corners / outline if outline else np.nan,
        ]
    )


def _window(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return a mask, 0 or 255, without what is far from it."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = max(int(rows[0]) - _MARGIN, 0), max(int(columns[0]) - _MARGIN, 0)
    window = mask[top : int(rows[-1]) + _MARGIN + 1, left : int(columns[-1]) + _MARGIN + 1]
    return np.ascontiguousarray(window).view(np.uint8) * np.uint8(255)


def _outlines(mask: npt.NDArray[np.uint8]) -> tuple[int, int, int, float]:
    """Return the outlines' sides of pixels before and after smoothing, their corners, and their length in pixels."""
    smooth = cv2.GaussianBlur(mask, (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE) > 127
    contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    corners = sum(len(cv2.approxPolyDP(contour, _STRAIGHT, True)) for contour in contours)
    length = sum(cv2.arcLength(contour, True) for contour in contours)
    return _sides(mask > 0), min(_sides(smooth), _sides(mask > 0)), corners, float(length)


def _sides(mask: npt.NDArray[np.bool_]) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())

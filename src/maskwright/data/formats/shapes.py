"""From annotated shapes to pixels: polygons by the rules of the tools that made them, lines, circles, bitmaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from maskwright.data.formats.rows import Content
from maskwright.errors import DataError, problem
from maskwright.types import Array

Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Size = tuple[int, int]


class Drawn(NamedTuple):
    """Pixels of one shape: a window of the image; nothing outside of it.

    Attributes:
        top: first row of the window.
        left: first column.
        pixels: (h, w) bool, inside the image; (0, 0) where the shape lies outside of it.
    """

    top: int
    left: int
    pixels: Mask


NOTHING = Drawn(0, 0, np.zeros((0, 0), bool))


@dataclass(frozen=True)
class Region:
    """One annotated shape.

    Attributes:
        category: its name.
        drawn: its pixels.
        object: what it is a piece of: shapes with the same object are one instance; None: an instance of its own.
        ignored: True if its pixels count as ignored, whatever lies below (a crowd, an unsure part).
        isthing: False for stuff: its pixels are no instance.
    """

    category: str
    drawn: Drawn
    object: object = None
    ignored: bool = False
    isthing: bool = True


def paint(regions: Sequence[Region], size: Size, ids: dict[str, int], *, ignore: int, background: int = 0) -> Content:
    """Paint regions over each other, the first below, the last on top.

    Args:
        regions: in the order in which they are painted.
        size: (H, W).
        ids: category → value in the mask.
        ignore: value of ignored pixels in the mask.
        background: value of pixels without a region.

    Returns:
        mask (H, W) int32 and instances (H, W) int32: objects from 1 in the order in which they appear, 0 elsewhere.
    """
    mask, instances = np.full(size, background, np.int32), np.zeros(size, np.int32)
    numbers: dict[object, int] = {}
    count = 0
    for region in regions:
        top, left, pixels = region.drawn
        window = np.s_[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        mask[window][pixels] = ignore if region.ignored else ids[region.category]
        if region.ignored or not region.isthing:
            instances[window][pixels] = 0
            continue
        key = (region.category, region.object)
        number = count + 1 if region.object is None else numbers.setdefault(key, count + 1)
        count = max(count, number)
        instances[window][pixels] = number
    return Content(mask=mask, instances=instances)


def polygon(points: Points, size: Size, *, holes: Sequence[Points] = ()) -> Drawn:
    """Return the pixels of a polygon with its outline, as Pillow draws it and LabelMe, VIA and others store it.

    Args:
        points: (P, 2) x and y in pixels, 0 the left and upper border of the first pixel.
        size: (H, W) of the image; what lies outside is cut off.
        holes: rings inside that don't belong to it; their own outline does.

    Returns:
        Nothing for fewer than three points.
    """
    if len(points) < 3:
        return NOTHING
    drawn = _draw(points, size, lambda draw, at: draw.polygon(_flat(at), fill=1, outline=1))
    for hole in (ring for ring in holes if len(ring) >= 3):
        inner = _draw(hole, size, lambda draw, at: draw.polygon(_flat(at), fill=1, outline=0))
        drawn = without(drawn, inner)
    return drawn


def coco_polygon(points: Points, size: Size) -> Drawn:
    """Return the pixels of a polygon by the rule of COCO's own tools: those whose centres lie inside, on a grid 5
    times as fine.

    Args:
        points: (P, 2) x and y in pixels.
        size: (H, W).
    """
    window = _window(points, size, margin=1)
    if len(points) < 3 or window is None:
        return NOTHING
    top, left, height, width = window
    corners = np.trunc(5 * (points - (left, top)) + 0.5).astype(np.int64)
    along, across = _fine_outline(corners)
    change = np.flatnonzero(along[1:] != along[:-1]) + 1
    column = (np.minimum(along[change], along[change - 1]) + 0.5) / 5 - 0.5
    row = (np.minimum(across[change], across[change - 1]) + 0.5) / 5 - 0.5
    kept = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    first = np.ceil(np.clip(row[kept], 0, height)).astype(np.int64)
    toggles = np.bincount(column[kept].astype(np.int64) * height + first, minlength=height * width)[: height * width]
    return Drawn(top, left, np.ascontiguousarray((np.cumsum(toggles) % 2 == 1).reshape(width, height).T))


def ellipse(center: tuple[float, float], radii: tuple[float, float], size: Size) -> Drawn:
    """Return the pixels of an ellipse with axes along the image's, as Pillow draws it.

    Args:
        center: x and y.
        radii: along x and along y.
        size: (H, W).
    """
    corners = np.array([np.subtract(center, radii), np.add(center, radii)])
    return _draw(corners, size, lambda draw, at: draw.ellipse(_flat(at), outline=1, fill=1))


def rectangle(corners: Points, size: Size) -> Drawn:
    """Return the pixels of a box given by two opposite corners (2, 2), borders included, as Pillow draws it."""
    ordered = np.array([corners.min(0), corners.max(0)])
    return _draw(ordered, size, lambda draw, at: draw.rectangle(_flat(at), outline=1, fill=1))


def line(points: Points, size: Size, *, width: int = 10) -> Drawn:
    """Return the pixels of a line through (P, 2) points, `width` pixels wide, as LabelMe draws it."""
    return _draw(points, size, lambda draw, at: draw.line(_flat(at), fill=1, width=width), margin=width)


def bitmap(pixels: Mask, size: Size, *, top: int = 0, left: int = 0) -> Drawn:
    """Return a mask, or a part of one whose upper left corner is given, cut to the image."""
    rows = np.s_[max(0, -top) : max(0, size[0] - top)]
    columns = np.s_[max(0, -left) : max(0, size[1] - left)]
    cut = pixels[rows, columns]
    return Drawn(max(0, top), max(0, left), cut) if cut.size else NOTHING


def without(drawn: Drawn, taken: Drawn) -> Drawn:
    """Return a shape without the pixels of another."""
    kept = drawn.pixels.copy()
    top, left = max(drawn.top, taken.top), max(drawn.left, taken.left)
    bottom = min(drawn.top + kept.shape[0], taken.top + taken.pixels.shape[0])
    right = min(drawn.left + kept.shape[1], taken.left + taken.pixels.shape[1])
    if top < bottom and left < right:
        over = taken.pixels[top - taken.top : bottom - taken.top, left - taken.left : right - taken.left]
        kept[top - drawn.top : bottom - drawn.top, left - drawn.left : right - drawn.left] &= ~over
    return Drawn(drawn.top, drawn.left, kept)


def to_points(values: Any, *, where: str) -> Points:
    """Return pairs or a flat list of numbers as (P, 2) float64.

    Raises:
        DataError: no numbers, an odd number of them, or NaN and infinite ones.
    """
    try:
        points = np.asarray(values, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.full((1, 2), np.nan)
    if not np.isfinite(points).all():
        raise DataError(
            problem("pairs of finite numbers", f"{str(values)[:60]}", where=where, next_move="mend or remove the shape")
        )
    return points


def _window(points: Points, size: Size, margin: int) -> tuple[int, int, int, int] | None:
    """Return top, left, height and width of the part of the image that the points can reach."""
    if not len(points):
        return None
    left, top = np.maximum(np.floor(points.min(0)).astype(np.int64) - margin, 0)
    right, bottom = np.minimum(np.ceil(points.max(0)).astype(np.int64) + margin + 1, (size[1], size[0]))
    return (int(top), int(left), int(bottom - top), int(right - left)) if top < bottom and left < right else None


def _draw(points: Points, size: Size, how: Any, margin: int = 1) -> Drawn:
    window = _window(points, size, margin)
    if window is None:
        return NOTHING
    top, left, height, width = window
    canvas = Image.new("1", (width, height), 0)
    how(ImageDraw.Draw(canvas), points - (left, top))
    return Drawn(top, left, np.array(canvas, bool))


def _flat(points: Points) -> list[tuple[float, float]]:
    return cast("list[tuple[float, float]]", [tuple(point) for point in points.tolist()])


def _fine_outline(corners: Array) -> tuple[Array, Array]:
    """Return all points of an outline's edges, each edge in steps of one along its longer side."""
    along, across = [], []
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        dx, dy = abs(x1 - x0), abs(y1 - y0)
        flip = (dx >= dy and x0 > x1) or (dx < dy and y0 > y1)
        (xs, ys), (xe, ye) = ((x1, y1), (x0, y0)) if flip else ((x0, y0), (x1, y1))
        steps = np.arange(max(dx, dy) + 1)
        steps = steps[::-1] if flip else steps
        if dx >= dy:
            slope = (ye - ys) / dx if dx else 0.0
            along.append(steps + xs)
            across.append(np.trunc(ys + slope * steps + 0.5).astype(np.int64))
        else:
            along.append(np.trunc(xs + (xe - xs) / dy * steps + 0.5).astype(np.int64))
            across.append(steps + ys)
    return np.concatenate(along), np.concatenate(across)

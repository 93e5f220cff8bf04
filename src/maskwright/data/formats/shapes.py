"""From annotated shapes to pixels: polygons by the rules of the tools that made them, lines, circles, bitmaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from maskwright.data.formats.rows import Content
from maskwright.data.formats.runlength import checked_counts, pairs_to_runs
from maskwright.errors import DataError, problem
from maskwright.types import Array

Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Size = tuple[int, int]

FARTHEST = 1_000_000
"""Pixels from the origin within which corners may lie; outlines are followed step by step."""

LINE_WIDTH = 10
"""Pixels by which lines, which have no width in annotation files, are drawn, as LabelMe draws them."""


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
    along, across = _fine_outline(np.trunc(5 * points + 0.5).astype(np.int64))
    change = np.flatnonzero(along[1:] != along[:-1]) + 1
    column = (np.minimum(along[change], along[change - 1]) + 0.5) / 5 - 0.5
    row = (np.minimum(across[change], across[change - 1]) + 0.5) / 5 - 0.5
    kept = (np.floor(column) == column) & (column >= left) & (column < left + width)
    first = np.ceil(np.clip(row[kept] - top, 0, height)).astype(np.int64)
    place = (column[kept].astype(np.int64) - left) * height + first
    toggles = np.bincount(place, minlength=height * width)[: height * width]
    return Drawn(top, left, np.ascontiguousarray((np.cumsum(toggles) % 2 == 1).reshape(width, height).T))


def from_counts(counts: Sequence[int] | npt.NDArray[np.int64], size: Size, *, where: str) -> Drawn:
    """Return the pixels of COCO's uncompressed counts, as `runlength.counts_to_mask` does, in a window of their own.

    Args:
        counts: lengths of runs of 0 and 1 by turns, column by column, 0 first.
        size: (H, W).
        where: file and object, for the message.

    Raises:
        DataError: the runs don't fill the mask.
    """
    lengths = checked_counts(counts, size, where=where)
    stops = np.cumsum(lengths)[1::2]
    return _from_runs(stops - lengths[1::2], stops, size[0])


def from_pairs(text: str, size: Size, *, where: str) -> Drawn:
    """Return the pixels of Kaggle's pairs in a window of their own; arguments and errors as in `pairs_to_mask`."""
    return _from_runs(*pairs_to_runs(text, size, where=where), size[0])


def to_counts(drawn: Drawn, size: Size) -> list[int]:
    """Return COCO's uncompressed counts of a shape in an (H, W) image; `from_counts` is the inverse."""
    padded = np.pad(drawn.pixels.T.astype(np.int8), ((0, 0), (1, 1)))
    column, row = np.nonzero(np.diff(padded, axis=1))
    places = (drawn.left + column) * size[0] + drawn.top + row  # where runs start and stop, by turns
    joined = np.flatnonzero(places[1:-1:2] == places[2::2]) * 2 + 1 if len(places) else np.zeros(0, np.int64)
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    counts: list[int] = np.diff(places, prepend=0, append=size[0] * size[1]).tolist()
    return counts if counts[-1] or len(counts) == 1 else counts[:-1]


def ellipse(center: tuple[float, float], radii: tuple[float, float], size: Size) -> Drawn:
    """Return the pixels of an ellipse with axes along the image's, as Pillow draws it.

    Args:
        center: x and y.
        radii: along x and along y.
        size: (H, W).
    """
    corners = np.array([np.subtract(center, radii), np.add(center, radii)])
    return _draw(corners, size, lambda draw, at: draw.ellipse(_flat(at), outline=1, fill=1))


def unit_circle(steps: int = 360) -> Points:
    """Return the corners (steps, 2) of a circle of radius 1 about 0, clockwise in an image."""
    angles = np.arange(steps) * 2 * np.pi / steps
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def turned(points: Points, angle: float, *, about: Points | None = None) -> Points:
    """Return (P, 2) points turned clockwise in an image.

    Args:
        points: x and y.
        angle: in radians.
        about: the point that stays; None: 0, 0.
    """
    matrix = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    around: Points = points @ matrix if about is None else (points - about) @ matrix + about
    return around


def rectangle(corners: Points, size: Size) -> Drawn:
    """Return the pixels of a box given by two opposite corners (2, 2), borders included, as Pillow draws it."""
    ordered = np.array([corners.min(0), corners.max(0)])
    return _draw(ordered, size, lambda draw, at: draw.rectangle(_flat(at), outline=1, fill=1))


def line(points: Points, size: Size, *, width: int = LINE_WIDTH) -> Drawn:
    """Return the pixels of a line through (P, 2) points, `width` pixels wide, as LabelMe draws it."""
    return _draw(points, size, lambda draw, at: draw.line(_flat(at), fill=1, width=width), margin=width)


def bitmap(pixels: Mask, size: Size, *, top: int = 0, left: int = 0) -> Drawn:
    """Return a mask, or a part of one whose upper left corner is given, cut to the image and to what is in it.

    The window is a copy: a mask of the whole image needn't stay in memory for each of its objects.
    """
    first_row, first_column = max(0, -top), max(0, -left)
    cut = pixels[first_row : max(0, size[0] - top), first_column : max(0, size[1] - left)]
    rows, columns = np.flatnonzero(cut.any(1)), np.flatnonzero(cut.any(0))
    if not len(rows):
        return NOTHING
    window = cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return Drawn(top + first_row + int(rows[0]), left + first_column + int(columns[0]), window)


def union(pieces: Sequence[Drawn]) -> Drawn:
    """Return the pixels that belong to any of several shapes."""
    pieces = [piece for piece in pieces if piece.pixels.size]
    if len(pieces) < 2:
        return pieces[0] if pieces else NOTHING
    top, left = min(piece.top for piece in pieces), min(piece.left for piece in pieces)
    bottom = max(piece.top + piece.pixels.shape[0] for piece in pieces)
    right = max(piece.left + piece.pixels.shape[1] for piece in pieces)
    joined = np.zeros((bottom - top, right - left), bool)
    for piece in pieces:
        height, width = piece.pixels.shape
        joined[piece.top - top :, piece.left - left :][:height, :width] |= piece.pixels
    return Drawn(top, left, joined)


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
        DataError: no numbers, an odd number of them, NaN, or numbers beyond `FARTHEST`.
    """
    try:
        points = np.asarray(values, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.full((1, 2), np.nan)
    if not (np.abs(points) <= FARTHEST).all():
        expected = f"pairs of numbers up to {FARTHEST}"
        raise DataError(problem(expected, str(values)[:60], where=where, next_move="mend or remove the shape"))
    return points


def _from_runs(starts: Array, stops: Array, height: int) -> Drawn:
    """Return the pixels of runs, counted column by column from 0, in columns of a height."""
    starts, stops = starts[stops > starts], stops[stops > starts]
    if not len(starts):
        return NOTHING
    left, right = int(starts.min()) // height, int(stops.max() - 1) // height + 1
    within = starts // height == (stops - 1) // height
    top = int((starts % height).min()) if within.all() else 0
    bottom = int(((stops - 1) % height).max()) + 1 if within.all() else height
    change = np.zeros((right - left) * height + 1, np.int32)
    np.add.at(change, starts - left * height, 1)
    np.add.at(change, stops - left * height, -1)
    columns = np.cumsum(change[:-1], dtype=np.int32).reshape(right - left, height)
    return Drawn(top, left, np.ascontiguousarray(columns[:, top:bottom].T > 0))


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
    ahead = np.roll(corners, -1, 0)
    reach = np.abs(ahead - corners)
    wide = reach[:, 0] >= reach[:, 1]
    steps = reach.max(1)
    flip = np.where(wide, corners[:, 0] > ahead[:, 0], corners[:, 1] > ahead[:, 1])
    start, stop = np.where(flip[:, None], ahead, corners), np.where(flip[:, None], corners, ahead)
    rise = np.where(wide, stop[:, 1] - start[:, 1], stop[:, 0] - start[:, 0]) / np.maximum(steps, 1)
    edge = np.repeat(np.arange(len(corners)), steps + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    step = np.where(flip[edge], steps[edge] - step, step)
    longer = np.where(wide, start[:, 0], start[:, 1])[edge] + step
    shorter = np.where(wide, start[:, 1], start[:, 0])[edge] + rise[edge] * step
    rounded = np.trunc(shorter + 0.5).astype(np.int64)
    return np.where(wide[edge], longer, rounded), np.where(wide[edge], rounded, longer)

"""Parts of a resized image from the parts of the image below them, as if the whole had been resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse

from maskwright.tiling import Tile
from maskwright.types import Array

Read = Callable[[Tile], Array]
Kind = Literal["area", "linear"]

_PIECE = 1 << 22
"""Pixels of the source that are resized at a time."""


def resized_window(read: Read, size: tuple[int, int], target: tuple[int, int], window: Tile) -> Array:
    """Return a window of what `data.intensity.resize` makes of an image, without the rest of the image.

    Args:
        read: returns (h, w, C) pixels of a window of the image, uint8 or float32.
        size: (H, W) of the image.
        target: (H, W) that all of it would be resized to.
        window: the part of the resized image that is wanted.

    Returns:
        (height, width, C) of the image's type. Equal to that part of the resized image where both factors are whole
        numbers; else the same within rounding, which is one level of an 8-bit image.
    """
    if size == target:
        return read(window)
    kinds = kind_of(size[0], target[0]), kind_of(size[1], target[1])
    whole = kinds == ("area", "area") and size[0] % target[0] == 0 and size[1] % target[1] == 0
    parts = []
    for piece_rows in _pieces(window, size, target):
        line = [_resized(read, size, target, piece, kinds, whole=whole) for piece in piece_rows]
        parts.append(np.concatenate(line, axis=1))
    return np.concatenate(parts)


def enlarged(rows: Array, start: int, size: tuple[int, int], target: tuple[int, int], window: Tile) -> Array:
    """Return a window of (C, H, W) float32 maps that are brought to a target size, bilinear.

    Args:
        rows: (C, h, W) the rows of the maps from `start` on that lie below the window.
        start: the number of the first of them.
        size: (H, W) of the maps.
        target: (H, W) that all of them would be resized to.
        window: the part that is wanted.

    Returns:
        (C, height, width) float32: what `cv2.resize` with INTER_LINEAR makes of the whole, within 1e-6.
    """
    if size == target:
        return rows[:, window.top - start : window.top - start + window.height, window.slices[1]]
    first_row, down = taps(window.top, window.height, size[0], target[0], "linear")
    first_column, right = taps(window.left, window.width, size[1], target[1], "linear")
    part = rows[:, first_row - start :, first_column:][:, : down.shape[1], : right.shape[1]]
    return np.stack([(right @ (down @ p).T).T for p in part]).astype(np.float32, copy=False)


def kind_of(size: int, target: int) -> Kind:
    """Return how an axis is resized: by area where it shrinks."""
    return "area" if target <= size else "linear"


def needed(first: int, count: int, size: int, target: int) -> tuple[int, int]:
    """Return the first and the last but one of `size` positions that bilinear values at some of `target` rest on."""
    start, weights = taps(first, count, size, target, "linear")
    return start, start + weights.shape[1]


def taps(first: int, count: int, size: int, target: int, kind: Kind) -> tuple[int, sparse.csr_matrix]:
    """Return the weights by which OpenCV makes some of `target` values out of `size` ones.

    Args:
        first: position of the first value that is wanted.
        count: how many.
        size: values before.
        target: values after.
        kind: area (the mean over the span below each value), linear (between the two nearest).

    Returns:
        The position of the first value that is used, and a (count, used) matrix.
    """
    factor = size / target
    positions = np.arange(first, first + count)
    if kind == "linear":
        places = (positions + 0.5) * factor - 0.5
        low = np.floor(places).astype(np.int64)
        share = np.where((low < 0) | (low >= size - 1), 0.0, places - low)
        low = low.clip(0, size - 1)
        rows = np.concatenate([positions, positions])
        columns = np.concatenate([low, np.minimum(low + 1, size - 1)])
        weights = np.concatenate([1 - share, share])
        rows, columns, weights = (part[weights > 0] for part in (rows, columns, weights))
    else:
        rows, columns, weights = _spans(positions, size, factor)
    start, stop = int(columns.min()), int(columns.max()) + 1
    entries = (weights.astype(np.float32), (rows - first, columns - start))
    return start, sparse.coo_matrix(entries, shape=(count, stop - start)).tocsr()


def _spans(
    positions: npt.NDArray[np.int64], size: int, factor: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return row, column and weight of the share that each pixel has in the span below each value."""
    low, high = positions * factor, np.minimum((positions + 1) * factor, size)
    reach = int(np.ceil(factor)) + 1
    columns = np.floor(low).astype(np.int64)[:, None] + np.arange(reach)
    covered = np.minimum(columns + 1, high[:, None]) - np.maximum(columns, low[:, None])
    covered = np.where(columns < size, covered.clip(0), 0)
    covered[covered < 1e-3] = 0  # as OpenCV leaves out what is hardly touched
    weights = covered / (high - low)[:, None]
    used = weights > 0
    rows = np.broadcast_to(positions[:, None], columns.shape)
    return rows[used], columns[used], weights[used]


def _pieces(window: Tile, size: tuple[int, int], target: tuple[int, int]) -> list[list[Tile]]:
    """Return a window as rows of windows, so that none has too many pixels of the source below it."""
    factors = size[0] / target[0], size[1] / target[1]
    width = max(1, min(window.width, int(_PIECE / factors[1] / max(1, factors[0]))))
    height = max(1, int(_PIECE / (width * factors[1]) / factors[0]))
    tops = range(window.top, window.top + window.height, height)
    lefts = range(window.left, window.left + window.width, width)
    bottom, right = window.top + window.height, window.left + window.width
    return [[Tile(t, c, min(height, bottom - t), min(width, right - c)) for c in lefts] for t in tops]


def _resized(
    read: Read, size: tuple[int, int], target: tuple[int, int], piece: Tile, kinds: tuple[Kind, Kind], *, whole: bool
) -> Array:
    if whole:
        down, right = size[0] // target[0], size[1] // target[1]
        source = read(Tile(piece.top * down, piece.left * right, piece.height * down, piece.width * right))
        resized = cv2.resize(source, (piece.width, piece.height), interpolation=cv2.INTER_AREA)
        return resized[..., None] if resized.ndim == 2 else resized
    top, rows = taps(piece.top, piece.height, size[0], target[0], kinds[0])
    left, columns = taps(piece.left, piece.width, size[1], target[1], kinds[1])
    source = read(Tile(top, left, rows.shape[1], columns.shape[1]))
    planes = [(columns @ (rows @ source[..., c].astype(np.float32)).T).T for c in range(source.shape[2])]
    out: Array = np.stack(planes, axis=2)
    return np.rint(out).clip(0, 255).astype(np.uint8) if source.dtype == np.uint8 else out

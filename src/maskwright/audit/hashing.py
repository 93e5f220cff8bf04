"""A perceptual hash that knows flips and quarter turns: one DCT gives the hashes of all eight."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.augment.dihedral import DIHEDRAL, factors

SIDE = 32
"""Rows and columns of a thumbnail, in pixels."""

_KEPT = 8
"""Rows and columns of the block of low frequencies: 64 bits."""

_ROUNDING = 1e-6
"""Coefficients below this share of the thumbnail's norm are rounding errors of an exact 0."""

_STRIP = 64
"""Rows averaged at a time."""

_BLOCK = 1024
"""Thumbnails hashed at a time: 8 MiB of them."""

Thumbnail = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]


def thumbnail(image: npt.NDArray[Any], extent: tuple[float, float] | None = None) -> Thumbnail:
    """Return a small gray picture of `image`, the same for every size and depth of the same picture.

    Args:
        image: (H, W) or (H, W, C), any integer or float type. Of four channels the last is taken for opacity and
            left out; other counts than 1, 3 and 4 are averaged. Not finite values count as 0.
        extent: height and width of the picture in pixels, if it ends within the last row and column.

    Returns:
        (32, 32) float32 in the image's own units: the mean of the pixels below each cell; sides below 32 pixels are
        interpolated. The sides are squeezed to a square, so that the thumbnail turns with the image.

    Raises:
        ValueError: if the image has no pixels or neither two nor three axes.
    """
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"expected an (H, W) or (H, W, C) image with pixels, got shape {image.shape}")
    gray = gray_of(image)
    if gray.dtype.kind == "f":
        gray = np.nan_to_num(gray.astype(np.float32), copy=False, posinf=0, neginf=0)
    height, width = gray.shape if extent is None else extent
    if min(gray.shape) < SIDE:  # cells smaller than a pixel would be blocks of one value
        rows, columns = (max(length, SIDE) for length in gray.shape)
        gray = cv2.resize(gray.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
        height, width = height * rows / image.shape[0], width * columns / image.shape[1]
    return _cell_means(gray, height, width)


def hashes(thumbnails: npt.NDArray[np.floating[Any]]) -> Hashes:
    """Return the 64-bit DCT hash of a thumbnail under each of the eight flips and quarter turns.

    The DCT-II's 8×8 block of low frequencies (u down, v right; the constant term in the corner) is compared with the
    median of its 63 terms without the constant: a bit is 1 where a term is above. Bits are in row-major order, the
    constant term's is the most significant. This is the pHash of Zauner (2010) with the bits of `imagehash.phash`: the
    median there includes the constant, which makes no difference where the constant is the largest term.

    The other seven need no pixels: reversing the columns multiplies term (u, v) by (-1)^v, reversing the rows by
    (-1)^u, transposing transposes.

    Args:
        thumbnails: (32, 32), or (..., 32, 32) for many.

    Returns:
        (8,) or (..., 8) uint64, in the order of `DIHEDRAL`.
    """
    stack = np.asarray(thumbnails).reshape(-1, SIDE, SIDE)
    table = np.empty((len(stack), len(DIHEDRAL)), np.uint64)
    for start in range(0, len(stack), _BLOCK):
        table[start : start + _BLOCK] = _hashed(stack[start : start + _BLOCK].astype(np.float64))
    return table.reshape(*thumbnails.shape[:-2], len(DIHEDRAL))


def distance(a: npt.NDArray[np.uint64] | np.uint64, b: npt.NDArray[np.uint64] | np.uint64) -> npt.NDArray[np.uint8]:
    """Return in how many of the 64 bits `a` and `b` differ, element by element; uint8 of the broadcast shape."""
    return np.asarray(np.bitwise_count(np.bitwise_xor(a, b)), np.uint8)


def gray_of(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an image (H, W) or (H, W, C) in gray, (H, W); of four channels the last is left out."""
    if image.ndim == 2 or image.shape[2] == 1:
        return image.reshape(image.shape[:2])
    if image.shape[2] in (3, 4):
        if image.dtype not in (np.uint8, np.uint16, np.float32):
            image = image.astype(np.float32)
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY))
    return np.asarray(image.mean(axis=2, dtype=np.float64))


def _cell_means(gray: npt.NDArray[Any], height: float, width: float) -> Thumbnail:
    """Return the means of 32 × 32 cells; strip by strip, so that no large array is made and few zeros multiplied."""
    down, across = _cells(gray.shape[0], height), _cells(gray.shape[1], width)
    means = np.zeros((SIDE, gray.shape[1]), np.float32)
    for top in range(0, len(gray), _STRIP):
        bottom = min(top + _STRIP, len(gray))
        cells = slice(int(top * SIDE / height), int(bottom * SIDE / height) + 1)
        means[cells] += down[cells, top:bottom] @ gray[top:bottom].astype(np.float32, copy=False)
    return np.asarray(means @ across.T, np.float32)


@lru_cache(maxsize=64)
def _cells(pixels: int, extent: float) -> Thumbnail:
    """Return the share that each of a side's pixels has in the mean of each cell, (32, pixels)."""
    edges, left = np.linspace(0, extent, SIDE + 1)[:, None], np.arange(pixels)
    share = np.clip(np.minimum(left + 1, edges[1:]) - np.maximum(left, edges[:-1]), 0, None)
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """Return the first 8 rows of the DCT-II of 32 values as SciPy scales it by default, (8, 32)."""
    frequency, position = np.ogrid[:_KEPT, :SIDE]
    return np.asarray(2 * np.cos(np.pi * frequency * (2 * position + 1) / (2 * SIDE)))


def _hashed(pixels: npt.NDArray[np.float64]) -> Hashes:
    basis = _cosines()
    block = basis @ pixels @ basis.T
    norm = np.linalg.norm(pixels, axis=(-2, -1), keepdims=True)
    block[np.abs(block) <= _ROUNDING * norm] = 0
    return _bits(np.stack([_transformed(block, name) for name in DIHEDRAL], axis=-3))


def _transformed(block: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """Return the DCT terms (..., 8, 8) of the picture that `name` makes of the one with terms `block`."""
    transpose, flip_rows, flip_columns = factors(name)
    if transpose:
        block = np.swapaxes(block, -2, -1)
    sign = (-1.0) ** np.arange(_KEPT)
    if flip_rows:
        block = block * sign[:, None]
    if flip_columns:
        block = block * sign
    return block


def _bits(block: npt.NDArray[np.float64]) -> Hashes:
    terms = block.reshape(*block.shape[:-2], _KEPT * _KEPT)
    middle = (terms.shape[-1] - 1) // 2  # of an odd number: partitioned, the median stands there
    above = terms > np.partition(terms[..., 1:], middle, axis=-1)[..., middle : middle + 1]
    return np.packbits(above, axis=-1).view(">u8")[..., 0].astype(np.uint64)

"""The permutohedral lattice: sums with Gaussian weights over points of any dimension, in time that grows as the points.

Adams, Baek and Davis (2010), "Fast high-dimensional filtering using the permutohedral lattice". Each point gives its
values to the d + 1 corners of the simplex it lies in (splat), corners mix with their neighbours (blur), and points
read their corners (slice). The arithmetic follows the code of Krähenbühl and Koltun's dense CRF, so that results can be
compared with it; corners are found by whole-number codes, and splat and slice are sparse products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from maskwright.types import Array

_POINTS = 1 << 15
"""Points that are placed at a time, so that what is needed for it stays small."""
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ over the golden ratio: multiples of it have their highest bits spread evenly."""


@dataclass(frozen=True)
class Lattice:
    """Corners around N points, ready to filter values of these points again and again.

    Attributes:
        weights: (N, M) sparse float32: each point's barycentric weights at its corners, d + 1 a row.
        neighbours: for each of the d + 1 directions (3, k) int32: the corners that have a neighbour, the one before and
            the one after; M where there is none.
    """

    weights: sparse.csr_array
    neighbours: tuple[Array, ...]

    @classmethod
    def around(cls, points: Array) -> Lattice:
        """Return the lattice around (d, N) float32 points, in units of the Gaussian's standard deviation."""
        dimensions, count = points.shape
        strides, bits = _strides(points), dimensions.bit_length()
        corners = np.empty((count, dimensions + 1), np.int32)
        weights = np.empty((count, dimensions + 1), np.float32)
        found, numbers = [np.empty(0, np.int64)], 0
        spans = [slice(start, min(start + _POINTS, count)) for start in range(0, count, _POINTS)]
        for span in spans:
            placed, barycentric = _place(points[:, span], strides, bits)
            codes, local = _distinct(placed.ravel())
            corners[span] = local.reshape(placed.shape).T + numbers
            weights[span] = barycentric.T
            found.append(codes)
            numbers += len(codes)
        codes, renumbered = np.unique(np.concatenate(found), return_inverse=True)
        renumbered = renumbered.astype(np.int32)
        for span in spans:
            corners[span] = renumbered[corners[span]]
        rows = np.arange(count + 1, dtype=np.int32) * np.int32(dimensions + 1)
        matrix = sparse.csr_array((weights.ravel(), corners.ravel(), rows), shape=(count, len(codes)))
        return cls(matrix, _neighbours(codes, strides, bits))

    def filter(self, values: Array) -> Array:
        """Return (N, C) float32 sums over all points of their values times a Gaussian of the distance.

        The Gaussian is approximate, and its height is unknown: divide by the filtered ones, as normalisation does.
        """
        held = np.zeros((self.weights.shape[1] + 1, values.shape[1]), np.float32)  # the last one stands for no corner
        held[:-1] = self.weights.T @ values
        for at, before, after in self.neighbours:
            around = held.take(before, axis=0)
            around += held.take(after, axis=0)
            around *= np.float32(0.5)
            held[at] += around
        sums: Array = self.weights @ held[:-1]
        return sums


def _elevation(dimensions: int) -> Array:
    """Return the (d + 1, d) matrix that lifts points onto the plane of the lattice, where corners are whole numbers.

    Its scale makes a blur as wide as one standard deviation of the points (page 6 of the paper).
    """
    lifted = np.triu(np.ones((dimensions + 1, dimensions)))
    lifted[np.arange(1, dimensions + 1), np.arange(dimensions)] = -np.arange(1, dimensions + 1)
    steps = np.arange(1, dimensions + 1)
    lifted *= np.sqrt(2 / 3) * (dimensions + 1) / np.sqrt(steps * (steps + 1))
    return lifted


def _strides(points: Array) -> Array:
    """Return d whole numbers with which a corner's coordinates, in units of d + 1, become one number.

    Digits of a mixed radix where 63 bits hold them; for points of very many dimensions random ones, modulo 2⁶⁴: that
    two of a million corners then share a number has a probability below 10⁻⁵.
    """
    dimensions = len(points)
    widths = np.abs(_elevation(dimensions)) @ np.ptp(points, axis=1) / (dimensions + 1)
    strides = [1]
    for width in widths[:dimensions]:  # 8: rounding, the corners of a simplex and their neighbours, on both sides
        strides.append(strides[-1] * (int(np.ceil(width)) + 8))
    if strides.pop().bit_length() + dimensions.bit_length() < 64:
        return np.array(strides, np.int64)
    return np.random.default_rng(0).integers(-(2**62), 2**62, dimensions)


def _place(points: Array, strides: Array, bits: int) -> tuple[Array, Array]:
    """Return the codes (d + 1, n) int64 of the corners around (d, n) points, and the points' weights float32 there.

    A corner's coordinates are all the same number, its color, modulo d + 1; the code holds it in the lowest bits.
    """
    size, count = len(points) + 1, points.shape[1]
    lifted = _elevation(len(points)).astype(np.float32) @ points
    nearest = np.rint(lifted * np.float32(1 / size))  # the nearest corner of color 0, in units of d + 1
    rank = _ranks(lifted - nearest * np.float32(size))
    rank += nearest.sum(axis=0).astype(np.int16)  # back onto the plane, where coordinates add up to 0
    moved = (rank < 0).view(np.int8) - (rank >= size)
    rank += moved * np.int16(size)
    nearest += moved
    by_rank = rank.astype(np.intp) * count + np.arange(count)
    rest, jumps = np.empty((size, count), np.float32), np.empty((size, count), np.int64)
    rest.put(by_rank, lifted * np.float32(1 / size) - nearest)
    jumps.put(by_rank, np.repeat(np.append(strides, 0), count))
    weights, codes = np.empty((size, count), np.float32), np.empty((size, count), np.int64)
    weights[0] = 1 + rest[-1] - rest[0]
    np.subtract(rest[-2::-1], rest[:0:-1], out=weights[1:])
    codes[0] = strides @ nearest[:-1].astype(np.int64)
    for color in range(1, size):  # of this color, the coordinates of the highest ranks are one unit less
        np.subtract(codes[color - 1], jumps[size - color], out=codes[color])
    codes <<= bits
    codes += np.arange(size)[:, None]
    return codes, weights


def _ranks(rest: Array) -> Array:
    """Return the rank, int16, of each of (k, n) numbers among the k of its column, the largest first."""
    rank = np.zeros(rest.shape, np.int16)
    for i in range(len(rest)):
        for j in range(i + 1, len(rest)):
            less = (rest[i] < rest[j]).view(np.int8)
            rank[i] += less
            rank[j] += 1 - less
    return rank


def _distinct(codes: Array) -> tuple[Array, Array]:
    """Return the distinct ones of (n,) int64 codes, in no order, and which of them each is.

    By hashing, since most are there many times: into slots, where the last one stays; what lost its slot is sorted.
    """
    bits = codes.size.bit_length()
    slots = ((codes.view(np.uint64) * _SPREAD) >> np.uint64(64 - bits)).view(np.int64)
    table, numbers = np.empty(1 << bits, np.int64), np.full(1 << bits, -1, np.int32)
    table[slots] = codes
    numbers[slots] = 0
    used = np.flatnonzero(numbers == 0)
    numbers[used] = np.arange(len(used))
    which = numbers[slots]
    lost = np.flatnonzero(table[slots] != codes)
    more, again = np.unique(codes[lost], return_inverse=True)
    which[lost] = again + len(used)
    return np.concatenate([table[used], more]), which


def _neighbours(codes: Array, strides: Array, bits: int) -> tuple[Array, ...]:
    """Return for each direction the (3, k) numbers of `Lattice.neighbours` among M sorted codes."""
    dimensions, none = len(strides), len(codes)
    colors = codes & ((1 << bits) - 1)
    # one less in every coordinate: the color falls by 1, from 0 to d, which takes a whole unit off every coordinate
    lower = np.where(colors > 0, codes - 1, codes - (strides.sum() << bits) + dimensions)
    found = []
    for stride in np.append(strides, 0):
        wanted = lower + (stride << bits)
        after = np.searchsorted(codes, wanted).astype(np.int32)
        after[codes.take(after, mode="clip") != wanted] = none
        before = np.full(none, none, np.int32)
        there = np.flatnonzero(after < none)
        before[after[there]] = there
        at = np.flatnonzero((before < none) | (after < none)).astype(np.int32)
        found.append(np.stack([at, before[at], after[at]]))
    return tuple(found)

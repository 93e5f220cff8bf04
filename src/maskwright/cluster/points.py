"""Points of an embedding and what every clustering asks of them: means of balls, nearest centres, points far apart.

Whatever touches all points is a method here, in blocks of bounded memory; `torch_points` has the same on a device. The
algorithms see centres only, which are few.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.types import Array

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

BLOCK = 1 << 17
"""Distances held at once: half a MiB of float32 stays in the cache of a core."""
_CENTRES = 1024
"""Centres that share a block."""

_PRECISE = 100.0
"""Radii from the mean up to which float32 tells what is within one."""
_GROUPED = 1 << 21
"""Pairs of centres and points from which on grouping pays."""
_GROUP = 256
"""Points of a group, about."""
_SOME = 2048
"""Points that the middles of groups are chosen among."""


class Points(Protocol):
    """(N, E) points, as many radii from their mean as they are."""

    def __len__(self) -> int: ...

    def rows(self, indices: Indices) -> Floats:
        """Return some points, (n, E)."""
        ...

    def subset(self, indices: Indices) -> Points:
        """Return some points as points of their own."""
        ...

    def shifted(self, centres: Floats) -> tuple[Floats, Indices]:
        """Return the mean (S, E) of the points within 1 of each centre, and how many these are; NaN where none is."""
        ...

    def nearest(self, centres: Floats) -> Indices:
        """Return the row of the nearest of (S, E) centres for each point; of equally near ones the first."""
        ...

    def spread(self, most: int, within: float) -> Indices:
        """Return points that are far apart: first that nearest to the mean, then always the farthest from all before.

        It ends when every point is `within` of one of them, or after `most`.
        """
        ...


def scaled(points: Array, radius: float) -> tuple[Floats, Floats]:
    """Return (N, E) points in radii from their mean, in float32 where that is precise enough, and the mean.

    Raises:
        DataError: values that aren't finite.
    """
    check_finite(points)
    if len(points) == 0:
        return points.astype(np.float32), np.zeros(points.shape[1])
    mean = points.mean(axis=0, dtype=np.float64)
    away = (points - mean) / radius
    return away.astype(np.float32) if float(np.abs(away).max()) <= _PRECISE else away, mean


def check_finite(points: Array, where: str = "clustering") -> None:
    """Raise a DataError that counts values which aren't finite."""
    if bad := points.size - int(np.count_nonzero(np.isfinite(points))):
        raise DataError(
            problem(
                "embeddings that are finite",
                f"{bad} of {points.size} values that are NaN or infinite",
                where=where,
                next_move="look for NaN in the network's weights or the image; lower the learning rate",
            )
        )


class NumPyPoints:
    """Points on the CPU.

    With half the squared norm as one more coordinate, one product of matrices says how near a point is to a centre:
    x·c − |x|²/2 is (|c|² − |x − c|²) / 2. Where there are many centres, points are grouped, and a centre only meets the
    groups that its ball can reach.
    """

    def __init__(self, points: Floats) -> None:
        """Take (N, E) points, scaled so that a ball's radius is 1."""
        half = np.einsum("ne,ne->n", points, points)[:, None] / 2
        self._lifted = np.hstack([half, points, np.ones_like(half)])  # (N, 1 + E + 1)
        self._points = self._lifted[:, 1:-1]
        self._room = np.empty(BLOCK, points.dtype)
        self._groups: _Groups | None = None

    def __len__(self) -> int:
        return len(self._points)

    def rows(self, indices: Indices) -> Floats:
        """Return some points."""
        return self._points[indices]

    def subset(self, indices: Indices) -> NumPyPoints:
        """Return some points as points of their own."""
        return NumPyPoints(self._points[indices])

    def shifted(self, centres: Floats) -> tuple[Floats, Indices]:
        """Return means and counts of the balls around centres."""
        if len(centres) * len(self) < _GROUPED:
            summed = _sums_of_balls(self._lifted, *_balls(centres), self._room)
        else:
            self._groups = self._groups or _Groups.of(self)
            summed = self._groups.sums_of_balls(centres, self._room)
        counts = summed[:, -1]
        with np.errstate(invalid="ignore"):
            return (summed[:, :-1] / counts[:, None]).astype(centres.dtype), counts.astype(np.int64)

    def nearest(self, centres: Floats) -> Indices:
        """Return the nearest centre of each point."""
        half = (np.einsum("se,se->s", centres, centres) / 2).astype(centres.dtype)
        found = np.empty(len(self), np.int64)
        start = 0
        for block, near in _blocks(self._points, len(centres), self._room):
            near = near.reshape(len(block), len(centres))
            np.matmul(block, centres.T, out=near)
            near -= half
            near.argmax(axis=1, out=found[start : start + len(block)])
            start += len(block)
        return found

    def spread(self, most: int, within: float) -> Indices:
        """Return points that are far apart."""
        points, norms = self._points, 2 * self._lifted[:, 0]
        chosen = [int(norms.argmin())]
        away = np.full(len(points), np.inf, points.dtype)
        while True:
            last = chosen[-1]
            square = norms - 2 * (points @ points[last])
            square += norms[last]
            square[last] = 0
            np.minimum(away, square, out=away)
            farthest = int(away.argmax())
            if len(chosen) >= most or away[farthest] <= within**2:
                return np.array(chosen, np.int64)
            chosen.append(farthest)

    def grouped(self, most: int) -> tuple[Floats, Indices]:
        """Return the points in groups of near ones, as rows of `_Groups.lifted`, and where each group starts."""
        some = self.subset(np.arange(0, len(self), 1 + len(self) // _SOME))
        owner = self.nearest(some.rows(some.spread(most, 1.0)))
        order = np.argsort(owner, kind="stable")
        return self._lifted[order], np.flatnonzero(np.diff(owner[order], prepend=-1))


class _Groups:
    """Points in groups, with the middle and the reach of each."""

    def __init__(self, lifted: Floats, starts: Indices) -> None:
        self._lifted = lifted  # (N, 1 + E + 1)
        self._starts, self._ends = starts, np.append(starts[1:], len(lifted))
        points = lifted[:, 1:-1]
        sizes = self._ends - starts
        self._middles = np.add.reduceat(points, starts, axis=0, dtype=np.float64) / sizes[:, None]
        away = points - np.repeat(self._middles, sizes, axis=0).astype(points.dtype)
        self._reach = np.sqrt(np.maximum.reduceat(np.einsum("ne,ne->n", away, away), starts))

    @classmethod
    def of(cls, points: NumPyPoints) -> _Groups:
        return cls(*points.grouped(1 + len(points) // _GROUP))

    def sums_of_balls(self, centres: Floats, room: Floats) -> Floats:
        against, least = _balls(centres)
        summed = np.zeros((len(centres), centres.shape[1] + 1))
        middles = self._middles
        square = np.square(centres).sum(1)[:, None] - 2 * (centres @ middles.T) + np.square(middles).sum(1)
        met = square <= np.square(self._reach + 1.01)  # rounding must not leave a group out
        for group, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            rows = np.flatnonzero(met[:, group])
            if len(rows):
                summed[rows] += _sums_of_balls(self._lifted[start:end], against[rows], least[rows], room)
        return summed


def _balls(centres: Floats) -> tuple[Floats, Floats]:
    """Return the rows (S, 1 + E) and the thresholds (S, 1) by which products say what is within 1 of a centre."""
    least = ((np.einsum("se,se->s", centres, centres) - 1) / 2).astype(centres.dtype)[:, None]
    return np.hstack([np.full((len(centres), 1), -1, centres.dtype), centres]), least


def _sums_of_balls(lifted: Floats, against: Floats, least: Floats, room: Floats) -> Floats:
    """Return the sum (S, E) and the number (S, 1) of the points within each ball, side by side."""
    summed = np.zeros((len(against), lifted.shape[1] - 1))
    for first in range(0, len(against), _CENTRES):
        some, bar = against[first : first + _CENTRES], least[first : first + _CENTRES]
        for block, near in _blocks(lifted, len(some), room):
            np.matmul(some, block[:, :-1].T, out=near)
            np.greater_equal(near, bar, out=near)
            summed[first : first + _CENTRES] += near @ block[:, 1:]
    return summed


def _blocks(points: Floats, centres: int, room: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield points in blocks, each with a part of the room for (centres, B) distances.

    The room is the same again and again: memory that is new for every block costs more than what is computed in it.
    """
    step = max(1, len(room) // max(1, centres))
    if centres > len(room):
        room = np.empty(centres, room.dtype)
    for start in range(0, len(points), step):
        block = points[start : start + step]
        yield block, room[: centres * len(block)].reshape(centres, len(block))

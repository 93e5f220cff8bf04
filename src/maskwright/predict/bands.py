"""Rows of probabilities that are finished from top to bottom, while tiles come row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from maskwright.tiling import Tile, tile_weights
from maskwright.types import Probabilities

_PIECE = 128
"""Rows that are handed on at a time."""


@dataclass(frozen=True)
class Band:
    """Finished rows of probabilities.

    Attributes:
        top: number of the first row.
        rows: (C, h, W) float32.
    """

    top: int
    rows: Probabilities


class Sums:
    """Weighted sums of tiles over as many rows as a tile has; `tiling.TileBlender` a row of tiles at a time.

    Args:
        channels: C of the tiles.
        height: of the tiles.
        width: of the image.
        blend: as in `tiling.tile_weights`.
    """

    def __init__(self, channels: int, height: int, width: int, blend: str = "linear") -> None:
        self._blend = blend
        self._total = np.zeros((channels, height, width), np.float32)
        self._weight = np.zeros((height, width), np.float32)

    def add(self, tile: Tile, part: Probabilities) -> None:
        """Add the (C, height, width) values of a tile that begins at the first row of these."""
        weights, columns = tile_weights(tile, self._blend), tile.slices[1]
        self._total[:, :, columns] += part * weights
        self._weight[:, columns] += weights

    def finished(self, count: int) -> Iterator[Probabilities]:
        """Yield the (C, h, W) means of the first rows, a few rows at a time; then move on to the row behind them."""
        for first in range(0, count, _PIECE):
            piece = slice(first, min(first + _PIECE, count))
            rows: Probabilities = self._total[:, piece] / self._weight[piece]
            yield rows
        for sums in (self._total.swapaxes(0, 1), self._weight):
            sums[: len(sums) - count] = sums[count:].copy()
            sums[len(sums) - count :] = 0


class Rows:
    """Rows of bands that come one after the other, in memory that is used again; those that are behind are dropped.

    Args:
        bands: from top to bottom, without gaps.
    """

    def __init__(self, bands: Iterator[Band]) -> None:
        self._bands = bands
        self._held = np.zeros((0, 0, 0), np.float32)
        self._start = self._count = 0

    def between(self, first: int, last: int) -> tuple[Probabilities, int]:
        """Return the (C, h, W) rows from at most `first` to at least the one before `last`, and the first one's number.

        Rows before `first` can't be asked for any more; what is returned holds until the next call.
        """
        if (behind := min(max(first - self._start, 0), self._count)) > 0:
            self._count -= behind
            self._start += behind
            for plane in self._held:
                plane[: self._count] = plane[behind : behind + self._count]
        while self._start + self._count < last:
            self._append(next(self._bands).rows)
        return self._held[:, : self._count], self._start

    def _append(self, rows: Probabilities) -> None:
        end = self._count + rows.shape[1]
        if end > self._held.shape[1]:
            grown = np.empty((len(rows), end, rows.shape[2]), np.float32)
            grown[:, : self._count] = self._held[:, : self._count] if self._count else 0
            self._held = grown
        self._held[:, self._count : end] = rows
        self._count = end

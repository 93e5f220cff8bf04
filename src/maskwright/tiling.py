"""Cutting large images into overlapping tiles and putting them together again without seams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.types import Array


@dataclass(frozen=True)
class Tile:
    """A window of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def tile_grid(size: tuple[int, int], tile: tuple[int, int], overlap: float = 0.25) -> list[Tile]:
    """Return tiles of one size that cover an image, neighbours overlapping by at least `overlap` of a side.

    Tiles are spread evenly, so the last one ends at the border; a side shorter than the tile gets one shorter tile.

    Example:
        >>> [(t.top, t.left) for t in tile_grid((4, 10), (4, 6), 0.25)]
        [(0, 0), (0, 4)]
    """
    rows = _starts(size[0], tile[0], overlap)
    columns = _starts(size[1], tile[1], overlap)
    height, width = min(tile[0], size[0]), min(tile[1], size[1])
    return [Tile(top, left, height, width) for top in rows for left in columns]


def aligned_grid(size: tuple[int, int], tile: int, overlap: float, step: int) -> list[Tile]:
    """Return tiles that cover an image and begin at multiples of `step`, neighbours overlapping by at least `overlap`.

    Args:
        size: (H, W), multiples of `step`.
        tile: side, a multiple of `step`.
        overlap: share of a side; no more than what leaves a step.
        step: in pixels.

    Example:
        >>> [t.left for t in aligned_grid((32, 160), 96, 0.25, 32)]
        [0, 64]
    """
    assert size[0] % step == size[1] % step == tile % step == 0, "all in steps"
    stride = max(step, int(tile * (1 - overlap)) // step * step)
    starts = [[*range(0, max(0, length - tile), stride), max(0, length - tile)] for length in size]
    height, width = min(tile, size[0]), min(tile, size[1])
    return [Tile(top, left, height, width) for top in starts[0] for left in starts[1]]


def border_distances(tile: Tile, size: tuple[int, int]) -> Array:
    """Return float32 (height, width): how far each pixel of a tile is from those of its sides that cut the image.

    Args:
        tile: the window.
        size: (H, W) of the image.

    Example:
        >>> border_distances(Tile(0, 0, 1, 4), (1, 6))[0].tolist()
        [4.0, 3.0, 2.0, 1.0]
    """
    rows = _depths(tile.top, tile.height, size[0])
    columns = _depths(tile.left, tile.width, size[1])
    nearest: Array = np.minimum(rows[:, None], columns[None, :])
    return nearest


def tile_weights(tile: Tile, blend: str = "linear") -> Array:
    """Return float32 (height, width) weights of a tile's pixels, at least 1e-3.

    Args:
        tile: the window.
        blend: linear falls from the centre to the nearest border; gaussian is 1 at the centre, with a standard
            deviation of an eighth of each side (as nnU-Net has it, Isensee et al. 2021); flat is 1.
    """
    if blend == "flat":
        return np.ones((tile.height, tile.width), np.float32)
    weights: Array
    if blend == "gaussian":
        weights = np.outer(_bell(tile.height), _bell(tile.width))
    else:
        weights = np.minimum(_ramp(tile.height)[:, None], _ramp(tile.width)[None, :])
    return np.maximum(weights, 1e-3).astype(np.float32)


class TileBlender:
    """Weighted mean of overlapping tiles; a constant gives back the constant.

    Args:
        channels: C of the tiles.
        size: (H, W) of the whole.
        blend: as in `tile_weights`.
    """

    def __init__(self, channels: int, size: tuple[int, int], blend: str = "linear") -> None:
        self._blend = blend
        self._sum = np.zeros((channels, *size), np.float32)
        self._weight = np.zeros(size, np.float32)

    def add(self, tile: Tile, values: Array) -> None:
        """Add the (C, height, width) values of a tile."""
        weights = tile_weights(tile, self._blend)
        self._sum[:, *tile.slices] += values * weights
        self._weight[tile.slices] += weights

    def result(self) -> Array:
        """Return the (C, H, W) mean; every pixel must be covered."""
        assert (self._weight > 0).all(), "tiles do not cover the image"
        return self._sum / self._weight


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    stride = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // stride) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _depths(start: int, length: int, whole: int) -> Array:
    places, far = np.arange(length), 2 * whole
    before = places + 1 if start > 0 else np.full(length, far)
    after = length - places if start + length < whole else np.full(length, far)
    depths: Array = np.minimum(before, after).astype(np.float32)
    return depths


def _ramp(length: int) -> Array:
    positions = np.arange(length, dtype=np.float32) + 0.5
    ramp: Array = np.minimum(positions, length - positions) / (length / 2)
    return ramp


def _bell(length: int) -> Array:
    centred = np.arange(length) + 0.5 - length / 2
    bell: Array = np.exp(-0.5 * (centred / (length / 8)) ** 2)
    return bell

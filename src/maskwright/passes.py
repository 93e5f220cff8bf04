"""A stream of images through whatever runs the networks: sizes together, scales, tiles, fusion. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from maskwright.data.intensity import resize, working_size
from maskwright.errors import DataError, problem
from maskwright.fusion import FUSIONS, Fusion, MeanFusion
from maskwright.tiling import Tile, TileBlender, tile_grid
from maskwright.types import Array, Probabilities

Key = TypeVar("Key")
Member = Callable[[Sequence[Array]], Iterable[Probabilities]]
"""One or several networks, averaged: standardised (h, w, C) images of one size → their (K, h, w) probabilities."""


def stream(
    members: Sequence[Member],
    images: Iterable[tuple[Key, Array]],
    *,
    tile: int,
    batch: int,
    scales: Sequence[float] = (1.0,),
    scale_weights: Sequence[float] | None = None,
    fusion: str = "mean",
) -> Iterator[tuple[Key, Probabilities]]:
    """Yield (key, (K, h, w) probabilities) for standardised (h, w, C) images, neighbours of one size together.

    At each scale the image is resized (`data.intensity.resize`), predicted, and its
    probabilities are resized back in the same way.

    Args:
        members: at least one; several are fused.
        images: in the order of the result.
        tile: images with a larger side go alone.
        batch: images that go together.
        scales: factors on the size.
        scale_weights: of each in the mean; None: all the same.
        fusion: name in `maskwright.fusion.FUSIONS`.
    """
    weights = tuple(scale_weights or [1.0] * len(scales))

    def flush(waiting: Sequence[tuple[Key, Array]]) -> Iterator[tuple[Key, Probabilities]]:
        keys, arrays = [key for key, _ in waiting], [image for _, image in waiting]
        if len(members) == 1:
            yield from zip(keys, _at_all_scales(members[0], arrays, tuple(scales), weights), strict=True)
            return
        fusions = [FUSIONS[fusion]() for _ in arrays]
        for member in members:
            _add(fusions, _at_all_scales(member, arrays, tuple(scales), weights))
        yield from zip(keys, (one.result() for one in fusions), strict=True)

    waiting: list[tuple[Key, Array]] = []
    for key, image in images:
        large = max(image.shape[:2]) > tile
        if waiting and (large or len(waiting) == batch or waiting[0][1].shape != image.shape):
            yield from flush(waiting)
            waiting = []
        waiting.append((key, image))
        if large:
            yield from flush(waiting)
            waiting = []
    if waiting:
        yield from flush(waiting)


def tiled(
    forward: Callable[[Sequence[Tile]], Probabilities],
    size: tuple[int, int],
    *,
    side: int,
    overlap: float,
    batch: int,
    blend: str = "linear",
) -> Probabilities:
    """Return the (K, H, W) probabilities of an image cut into overlapping tiles.

    Args:
        forward: tiles of one size → (N, K, h, w), their probabilities.
        size: (H, W) of the image.
        side: of the tiles.
        overlap: share of a tile that overlaps its neighbour.
        batch: tiles that go together.
        blend: as in `tiling.tile_weights`.
    """
    tiles = tile_grid(size, (side, side), overlap)
    blender: TileBlender | None = None
    for start in range(0, len(tiles), batch):
        group = tiles[start : start + batch]
        parts = forward(group)
        blender = blender or TileBlender(parts.shape[1], size, blend)
        for t, part in zip(group, parts, strict=True):
            blender.add(t, part)
    assert blender is not None
    return blender.result()


def without(probabilities: Probabilities, never: Iterable[int]) -> Probabilities:
    """Return probabilities in which some categories have none; the others' are divided by their sum.

    Args:
        probabilities: (C, H, W) float32, summing to 1 over C.
        never: positions of categories that are never predicted.

    Returns:
        (C, H, W) float32, summing to 1 over C. Where nothing is left for the others, they are all alike.

    Raises:
        DataError: no category is left.
    """
    gone = sorted(set(never))
    if not gone:
        return probabilities
    left = len(probabilities) - len(gone)
    if left < 1:
        next_move = "leave at least one category to predict"
        raise DataError(problem("some of the categories", "all of them", where="predict.never", next_move=next_move))
    kept = probabilities.copy()
    kept[gone] = 0
    total = kept.sum(axis=0)
    empty = total <= 0
    kept /= np.where(empty, 1, total)
    if empty.any():
        others = [p for p in range(len(kept)) if p not in gone]
        kept[np.ix_(others)] = np.where(empty, np.float32(1 / left), kept[np.ix_(others)])
    return kept


def _at_all_scales(
    member: Member, images: Sequence[Array], scales: tuple[float, ...], weights: tuple[float, ...]
) -> Iterable[Probabilities]:
    if scales == (1.0,):
        return member(images)
    size = (images[0].shape[0], images[0].shape[1])
    fusions = [MeanFusion() for _ in images]
    for scale, weight in zip(scales, weights, strict=True):
        other = working_size(size, scale)
        found = member([_resized(image, other) for image in images])
        _add(fusions, [_maps_resized(p, size) for p in found], weight)
    return [one.result() for one in fusions]


def _add(fusions: Sequence[Fusion], maps: Iterable[Probabilities], weight: float = 1.0) -> None:
    for one, probabilities in zip(fusions, maps, strict=True):
        one.add(probabilities, weight)


def _resized(image: Array, size: tuple[int, int]) -> Array:
    return image if image.shape[:2] == size else resize(np.ascontiguousarray(image), size)


def _maps_resized(maps: Probabilities, size: tuple[int, int]) -> Probabilities:
    if maps.shape[1:] == size:
        return maps
    return np.stack([resize(np.ascontiguousarray(plane)[..., None], size)[..., 0] for plane in maps])

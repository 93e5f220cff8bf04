"""Tiles: they cover the image, overlap as promised, and give back what was cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maskwright.tiling import Tile, TileBlender, tile_grid, tile_weights

SIDES = st.integers(1, 70)
OVERLAPS = st.floats(0, 0.5)


@given(SIDES, SIDES, SIDES, SIDES, OVERLAPS)
def test_tiles_cover_the_image_inside_it_with_one_size(height, width, tile_height, tile_width, overlap):
    tiles = tile_grid((height, width), (tile_height, tile_width), overlap)
    seen = np.zeros((height, width), int)
    for tile in tiles:
        assert (tile.height, tile.width) == (min(tile_height, height), min(tile_width, width))
        assert tile.top >= 0
        assert tile.left >= 0
        assert seen[tile.slices].shape == (tile.height, tile.width)  # ends inside
        seen[tile.slices] += 1
    assert seen.min() >= 1
    assert len(set(tiles)) == len(tiles)


@given(st.integers(1, 300), st.integers(1, 70), OVERLAPS)
def test_neighbours_overlap_by_at_least_the_share(length, tile, overlap):
    starts = [t.left for t in tile_grid((1, length), (1, tile), overlap)]
    for first, second in itertools.pairwise(starts):
        # a tile of one pixel can't overlap by half and still move on
        assert first + tile - second >= min(overlap * tile, tile - 1) - 1e-9


BLENDS = st.sampled_from(["linear", "gaussian", "flat"])


@given(SIDES, SIDES, SIDES, SIDES, OVERLAPS, st.floats(-5, 5, width=32), BLENDS)
def test_tiles_of_a_constant_give_back_the_constant(height, width, tile_height, tile_width, overlap, value, blend):
    blender = TileBlender(2, (height, width), blend)
    for tile in tile_grid((height, width), (tile_height, tile_width), overlap):
        blender.add(tile, np.full((2, tile.height, tile.width), value, np.float32))
    assert blender.result() == pytest.approx(np.full((2, height, width), value), rel=1e-5, abs=1e-6)


@given(SIDES, SIDES, SIDES, SIDES, OVERLAPS, BLENDS)
def test_tiles_cut_from_an_image_give_back_the_image(height, width, tile_height, tile_width, overlap, blend):
    image = np.random.default_rng(0).random((3, height, width)).astype(np.float32)
    blender = TileBlender(3, (height, width), blend)
    for tile in tile_grid((height, width), (tile_height, tile_width), overlap):
        blender.add(tile, image[:, *tile.slices])
    assert blender.result() == pytest.approx(image, abs=1e-6)


def test_the_middle_of_a_tile_counts_more_than_its_border():
    # 4 wide: pixel centres at .5 1.5 2.5 3.5 → distance to the border over half the width: .25 .75 .75 .25
    assert tile_weights(Tile(0, 0, 100, 4))[50] == pytest.approx([0.25, 0.75, 0.75, 0.25])
    blender = TileBlender(1, (100, 6))
    blender.add(Tile(0, 0, 100, 4), np.zeros((1, 100, 4), np.float32))
    blender.add(Tile(0, 2, 100, 4), np.ones((1, 100, 4), np.float32))
    # columns 2 and 3 are in both: weights .75/.25 and .25/.75
    assert blender.result()[0, 50] == pytest.approx([0, 0, 0.25, 0.75, 1, 1])


def test_gaussian_weights_are_scipys():
    expected = np.outer(*(stats.norm(loc=(n - 1) / 2, scale=n / 8).pdf(np.arange(n)) for n in (16, 24)))
    weights = tile_weights(Tile(0, 0, 16, 24), "gaussian")
    assert weights == pytest.approx(np.maximum(expected / stats.norm.pdf(0) ** 2 * (16 / 8) * (24 / 8), 1e-3))


def test_flat_weights_are_the_plain_mean():
    # 4 + 4 wide over 6: columns 2 and 3 are in both
    blender = TileBlender(1, (2, 6), "flat")
    blender.add(Tile(0, 0, 2, 4), np.zeros((1, 2, 4), np.float32))
    blender.add(Tile(0, 2, 2, 4), np.ones((1, 2, 4), np.float32))
    assert blender.result()[0, 0] == pytest.approx([0, 0, 0.5, 0.5, 1, 1])


def test_a_hole_is_our_own_fault():
    blender = TileBlender(1, (4, 4))
    blender.add(Tile(0, 0, 4, 3), np.zeros((1, 4, 3), np.float32))
    with pytest.raises(AssertionError, match="cover"):
        blender.result()

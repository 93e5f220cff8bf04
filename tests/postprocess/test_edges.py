"""Holes that the image's edge closes: by hand, and by padding with ones as in the code of the STAS solution."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.postprocess import plain_fill
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_fill_holes

from maskwright.postprocess import enclosed, fill_holes
from maskwright.types import IGNORE

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
EDGES = ["none", "each", "first"]


@settings(deadline=None, max_examples=300)
@given(masks, st.sampled_from(EDGES))
def test_padding_with_ones_edge_after_edge(mask, edges):
    assert np.array_equal(enclosed(mask, edges=edges, background=8), plain_fill(mask, edges))


@settings(deadline=None, max_examples=100)
@given(masks)
def test_corners_open_a_ring_only_for_an_8_connected_background(mask):
    assert np.array_equal(enclosed(mask), binary_fill_holes(mask))
    assert (enclosed(mask, background=8) <= enclosed(mask)).all()


def bays():
    """Objects that enclose 2 pixels with the left, right, top and bottom edge each."""
    mask = np.zeros((12, 12), bool)
    mask[4:8, :2] = True
    mask[5:7, 0] = False
    return mask | mask[:, ::-1] | mask.T | mask.T[::-1]


def test_each_edge_and_the_first():
    mask = bays()
    assert (enclosed(mask, edges="each") & ~mask).sum() == 8
    assert np.argwhere(enclosed(mask, edges="first") & ~mask).tolist() == [[5, 0], [6, 0]]  # left comes first
    mask[:, 0] = False
    assert np.argwhere(enclosed(mask, edges="first") & ~mask).tolist() == [[5, 11], [6, 11]]  # then right
    assert np.array_equal(enclosed(mask), mask)


def test_objects_at_all_edges_do_not_fill_the_image():
    mask = bays()
    assert not enclosed(mask, edges="each")[2:10, 2:10].any()


def test_what_touches_two_edges_stays_open():
    mask = np.zeros((6, 6), bool)
    mask[:4, 3] = mask[3, :4] = True  # closes the upper left corner off
    assert np.array_equal(enclosed(mask, edges="each"), mask)


def test_sides_inside_of_the_image_are_open():
    mask = bays()
    mask[:, 3:] = mask[:3] = mask[9:] = False  # the object at the left edge alone
    inside = (False, True, True, True)
    cut = enclosed(mask[3:9, :3], edges="each", background=8, inside=inside)
    assert np.array_equal(cut, enclosed(mask, edges="each", background=8)[3:9, :3])
    assert cut.sum() == 8
    ring = np.zeros((3, 3), bool)
    assert not enclosed(ring, edges="each", inside=inside).any()


def test_limits_and_ignored_pixels():
    label = bays().astype(np.uint8)
    label[5, 0] = IGNORE
    assert fill_holes(label, 1, edges="first")[5:7, 0].tolist() == [IGNORE, 1]
    assert np.array_equal(fill_holes(label, 1, edges="first", pixels=1), label)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (1, 6), (6, 1)])
@pytest.mark.parametrize("value", [False, True])
def test_masks_without_holes(shape, value, edges):
    assert np.array_equal(enclosed(np.full(shape, value), edges=edges), np.full(shape, value))

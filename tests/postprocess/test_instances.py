"""Morphology of instances against SciPy's on each one alone, and worked by hand where they meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.measure import label as regions

from maskwright.errors import DataError, UsageError
from maskwright.postprocess import erode_then_dilate, fill_instances, remove_small_parts
from maskwright.postprocess.instances import split_parts

maps = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 1, 2, 70000])
)
sides = st.sampled_from([1, 3, 5])


def alone(instances, number, erosion, dilation):
    own = instances == number
    left = ndimage.binary_erosion(own, np.ones((erosion, erosion)), border_value=1)
    return left, ndimage.binary_dilation(left, np.ones((dilation, dilation))) if dilation > 1 else left


@settings(deadline=None, max_examples=100)
@given(maps, sides, sides, st.integers(0, 9))
def test_each_instance_like_scipy_alone_but_for_what_others_had(instances, erosion, dilation, seed):
    mask = np.random.default_rng(seed).random(instances.shape) < 0.7
    result = erode_then_dilate(instances, erosion=erosion, dilation=dilation, mask=mask)
    reached = np.zeros(instances.shape, int)
    for number in (1, 2, 70000):
        _, grown = alone(instances, number, erosion, dilation)
        own = instances == number
        assert np.array_equal((result == number) & own, grown & own)
        assert not ((result == number) & ~grown).any()
        reached += grown
    assert not result[(instances == 0) & ~mask].any()
    assert np.array_equal((result > 0) & (instances == 0), (reached > 0) & (instances == 0) & mask)
    assert ((result == instances) | (instances == 0) | (result == 0)).all()  # nobody's pixel became another's


@settings(deadline=None, max_examples=60)
@given(maps, sides)
def test_equal_squares_open_each_instance(instances, side):
    opened = erode_then_dilate(instances, erosion=side, dilation=side)
    for number in (1, 2, 70000):
        assert np.array_equal(opened == number, alone(instances, number, side, side)[1])


def test_instances_grow_to_the_middle_between_them():
    # columns 0..8: 1 at 0, 2 at 8; squares of 9 reach 4 pixels far: 1 takes 1..4, but 4 is as near to 2
    instances = np.int32([[1, 0, 0, 0, 0, 0, 0, 0, 2]])
    grown = erode_then_dilate(instances, dilation=9)[0].tolist()
    assert grown[:4] == [1] * 4 and grown[5:] == [2] * 4 and grown[4] in (1, 2)
    wall = np.array([[1, 1, 0, 1, 1, 1, 1, 1, 1]], bool)
    assert erode_then_dilate(instances, dilation=5, mask=wall)[0].tolist() == [1, 1, 0, 0, 0, 0, 2, 2, 2]


def test_what_was_eroded_is_not_a_neighbours():
    # 2 is one pixel wide and eroded away; 1 would reach it but it was not 1's
    instances = np.int32([[1, 1, 1, 1, 2, 0]] * 3)
    assert erode_then_dilate(instances, erosion=3, dilation=5).tolist() == [[1, 1, 1, 1, 0, 0]] * 3


def test_holes_are_filled_up_to_what_others_have():
    ring = np.int32([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 2, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    assert fill_instances(ring).tolist() == np.where(ring == 0, 1, ring).tolist()
    assert np.array_equal(fill_instances(ring, pixels=8), ring)  # the hole has 9 pixels with the 2 in it
    assert fill_instances(ring, mask=np.eye(5, dtype=bool))[1].tolist() == [1, 1, 0, 0, 1]
    inner = np.zeros((7, 7), np.int32)
    inner[:] = 5
    inner[1:6, 1:6] = 3
    inner[2:5, 2:5] = 0
    assert (fill_instances(inner)[2:5, 2:5] == 3).all()  # both enclose it, 3 is the smaller


@settings(deadline=None, max_examples=60)
@given(maps)
def test_filled_like_scipy_where_nobody_else_is(instances):
    filled = fill_instances(np.where(instances == 1, 1, 0).astype(np.int32))
    assert np.array_equal(filled == 1, ndimage.binary_fill_holes(instances == 1))


@settings(deadline=None, max_examples=60)
@given(maps, st.integers(0, 6), st.sampled_from([4, 8]))
def test_small_parts_like_scipy(instances, pixels, connectivity):
    expected = instances.copy()
    for number in (1, 2, 70000):
        parts, count = ndimage.label(instances == number, np.ones((3, 3)) if connectivity == 8 else None)
        for part in range(1, count + 1):
            if (parts == part).sum() < pixels:
                expected[parts == part] = 0
    assert np.array_equal(remove_small_parts(instances, pixels, connectivity=connectivity), expected)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 5)])
def test_nothing_to_do(shape):
    empty = np.zeros(shape, np.int32)
    for done in (
        erode_then_dilate(empty, erosion=3, dilation=3),
        fill_instances(empty),
        remove_small_parts(empty, 9),
    ):
        assert np.array_equal(done, empty)


def test_five_thousand_instances_are_opened_away_or_kept():
    rows, columns = np.indices((400, 500))
    instances = (1 + rows // 4 * 50 + columns // 10).astype(np.int32)  # 5000 blocks of 4 × 10
    opened = erode_then_dilate(instances, erosion=3, dilation=3)
    assert np.array_equal(opened, instances)
    assert not erode_then_dilate(instances, erosion=11, dilation=1)[20:380, 20:480].any()


def test_wrong_use():
    instances = np.ones((3, 3), np.int32)
    with pytest.raises(UsageError, match="an odd number of pixels"):
        erode_then_dilate(instances, erosion=2)
    for mask in (np.ones((3, 4), bool), np.ones((3, 3))):
        with pytest.raises(DataError, match=r"a bool mask of shape \(3, 3\)"):
            erode_then_dilate(instances, mask=mask)


@settings(deadline=None, max_examples=100)
@given(maps, st.sampled_from([4, 8]))
def test_parts_are_the_regions_of_scikit_image(instances, connectivity):
    found = split_parts(instances, connectivity=connectivity)
    expected = regions(instances, connectivity=connectivity // 4)
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    assert found.dtype == np.int32
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert np.array_equal(found == 0, instances == 0)
    assert sorted(set(found.ravel()) - {0}) == list(range(1, found.max() + 1))
    owners = [instances[found == number][0] for number in range(1, found.max() + 1)]
    assert owners == sorted(owners)

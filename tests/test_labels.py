"""Label-map algebra against scikit-image and worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import label as skimage_label
from skimage.segmentation import relabel_sequential

from maskwright.errors import DataError
from maskwright.labels import component_areas, components, relabel_consecutive, same_labels
from maskwright.types import IGNORE

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
label_maps = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, IGNORE]))


def same_partition(a, b):
    """Two numberings name the same areas: pairs of numbers match one to one."""
    pairs = {(int(x), int(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)}
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


@settings(deadline=None, max_examples=60)
@given(masks, st.sampled_from([4, 8]))
def test_components_are_those_of_scikit_image(mask, connectivity):
    numbered, count = components(mask, connectivity)
    oracle, oracle_count = skimage_label(mask, connectivity=connectivity // 4, return_num=True)
    assert count == oracle_count
    assert numbered.dtype == np.int32
    assert ((numbered > 0) == mask).all()
    assert same_partition(numbered, oracle)


@settings(deadline=None, max_examples=60)
@given(masks)
def test_component_areas_add_up_to_the_mask(mask):
    numbered, count = components(mask)
    areas = component_areas(numbered, count)
    assert areas.dtype == np.int64
    assert len(areas) == count
    assert areas.sum() == mask.sum()
    assert (areas > 0).all()


@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_corner_connects_only_with_eight(connectivity):
    assert components(np.eye(3), connectivity)[1] == {4: 3, 8: 1}[connectivity]


@pytest.mark.parametrize(
    ("mask", "count"),
    [
        (np.zeros((3, 5)), 0),
        (np.ones((1, 1)), 1),
        (np.zeros((0, 4)), 0),
        (np.full((3, 5), -0.5), 1),  # any value but 0 belongs
        (np.ones((6, 10), bool)[::2, ::3], 1),  # not contiguous
    ],
)
def test_unkind_masks(mask, count):
    numbered, found = components(mask)
    assert (found, numbered.shape, numbered.max(initial=0)) == (count, mask.shape, count)
    assert len(component_areas(numbered, found)) == count


def test_seventy_thousand_components():
    mask = np.zeros((600, 600), bool)
    mask[::2, ::2] = True  # 300 x 300 lone pixels
    numbered, count = components(mask)
    assert count == 90_000
    assert (component_areas(numbered, count) == 1).all()


@settings(deadline=None, max_examples=60)
@given(arrays(np.int32, (4, 5), elements=st.sampled_from([0, 1, 2, 7, 300, 70_000, 2**30])))
def test_consecutive_ids_are_those_of_scikit_image(instance_map):
    # relabel_sequential keeps the order of ids and 0 too; its table would need 4 GiB for 2**30
    oracle = relabel_sequential(np.where(instance_map == 2**30, 70_001, instance_map))[0]
    consecutive = relabel_consecutive(instance_map)
    assert consecutive.dtype == np.int32
    assert np.array_equal(consecutive, oracle)
    assert np.array_equal(relabel_consecutive(consecutive), consecutive)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
def test_consecutive_ids_of_any_integers(dtype):
    assert relabel_consecutive(np.array([[200, 0], [3, 200]], dtype)).tolist() == [[2, 0], [1, 2]]


@pytest.mark.parametrize("ids", [[[5, 9]], [[2**30, 9]]])
def test_without_background_ids_still_start_at_one(ids):
    assert sorted(relabel_consecutive(np.array(ids)).ravel()) == [1, 2]


def test_consecutive_ids_of_nothing_and_of_negative_ids():
    assert relabel_consecutive(np.zeros((0, 3), int)).shape == (0, 3)
    with pytest.raises(DataError, match="ids from 0 on, got -1"):
        relabel_consecutive(np.array([[-1, 2]]))


def test_objects_of_a_category():
    label = np.array([[1, 1, 0, 0, 1], [0, 0, 0, 1, 255], [2, 0, 0, 0, 1]], np.uint8)
    assert sorted(component_areas(*components(label == 1))) == [2, 3]  # two side by side, and three over corners
    assert component_areas(*components(label == 2)).tolist() == [1]
    assert component_areas(*components(label == 3)).tolist() == []


@settings(deadline=None, max_examples=60)
@given(label_maps, label_maps)
def test_same_labels_is_the_share_counted_pixel_by_pixel(a, b):
    kept = [(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True) if x != IGNORE or y != IGNORE]
    share = sum(x == y for x, y in kept) / len(kept) if kept else math.nan
    assert same_labels(a, b) == pytest.approx(share, nan_ok=True)
    assert same_labels(a, b) == pytest.approx(same_labels(b, a), nan_ok=True)


def test_same_labels_by_hand():
    a = np.array([[0, 1, 255, 255]], np.uint8)
    b = np.array([[0, 2, 1, 255]], np.uint8)
    assert same_labels(a, b) == pytest.approx(1 / 3)  # the last pixel is ignored by both; of three one is equal
    assert same_labels(a, a) == 1
    assert math.isnan(same_labels(np.full((3, 5), IGNORE, np.uint8), np.full((3, 5), IGNORE, np.uint8)))
    assert math.isnan(same_labels(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8)))


def test_same_labels_of_two_sizes():
    with pytest.raises(DataError, match=r"\(2, 3\) and \(3, 2\)"):
        same_labels(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))

"""Small components and holes against scikit-image, SciPy and a search through all pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.measure import label as skimage_label
from skimage.morphology import remove_small_objects

from maskwright.postprocess import areas, fill_holes, minimum_area, remove_small
from maskwright.types import IGNORE

shapes = array_shapes(min_dims=2, max_dims=2, max_side=9)
label_maps = arrays(np.uint8, shapes, elements=st.sampled_from([0, 1, 2, IGNORE]))
binary_maps = arrays(np.uint8, shapes, elements=st.sampled_from([0, 1]))
connectivities = st.sampled_from([4, 8])


def blobs(seed, shape=(60, 80)):
    """Two categories with areas of all sizes."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return (noise > 0.1).astype(np.uint8)


def small_by_scikit_image(label, pixels, connectivity):
    small = np.zeros(label.shape, bool)
    for category in set(np.unique(label)) - {IGNORE}:
        mask = label == category
        small |= mask & ~remove_small_objects(mask, max_size=pixels - 1, connectivity=connectivity // 4)
    return small


@settings(deadline=None, max_examples=80)
@given(label_maps, st.integers(1, 12), connectivities)
def test_small_components_take_a_nearest_label(label, pixels, connectivity):
    cleaned = remove_small(label, pixels, connectivity=connectivity)
    small = small_by_scikit_image(label, pixels, connectivity)
    sources = np.argwhere(~small & (label != IGNORE))
    assert cleaned.dtype == np.uint8
    assert np.array_equal(cleaned[~small], label[~small])
    if not len(sources):
        assert np.array_equal(cleaned, label)
        return
    for pixel in np.argwhere(small):
        distances = ((sources - pixel) ** 2).sum(axis=1)
        nearest = {label[tuple(s)] for s in sources[distances == distances.min()]}
        assert cleaned[tuple(pixel)] in nearest


@pytest.mark.parametrize("seed", range(3))
def test_one_transform_gives_what_one_for_each_cluster_gives(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    label = np.where(rng.random((60, 80)) < 0.05, np.uint8(IGNORE), blobs(seed) + blobs(seed + 9))
    by_cluster = remove_small(label, 40)
    monkeypatch.setattr(areas, "_MANY", 0)
    assert np.array_equal(remove_small(label, 40), by_cluster)


@pytest.mark.parametrize("flip", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_a_cluster_inside_the_box_of_another_looks_beyond_that_box(flip):
    label = np.zeros((18, 18), np.uint8)
    label[:3] = 2
    label[4:15, 2] = label[14, 2:13] = 1  # an L of 21 pixels; the box around it begins in row 3
    label[3:6, 6:9] = 3  # a square in that box, whose upper row is nearest to row 2, outside of it
    cleaned = remove_small(label[:: flip[0], :: flip[1]], 22)[:: flip[0], :: flip[1]]
    assert (cleaned[3, 6:9] == [cleaned[3, 6], 2, cleaned[3, 8]]).all()
    assert (cleaned[5, 6:9] == 0).all()  # at the sides the lower rows are nearest to 0
    assert set(np.unique(cleaned)) == {0, 2}


@pytest.mark.parametrize("seed", range(3))
def test_specks_on_a_background_are_those_of_scikit_image(seed):
    label = np.zeros((60, 80), np.uint8)
    label[::4, ::5] = 1  # lone pixels, far enough apart that the background is one component
    label[10:30, 10:30] |= blobs(seed)[10:30, 10:30] & (np.indices((20, 20)).sum(0) % 7 > 1)
    large_background = skimage_label(label == 0, connectivity=2, return_num=True)[1] == 1
    assert large_background
    assert np.array_equal(remove_small(label, 6), remove_small_objects(label == 1, max_size=5, connectivity=2))


def test_specks_and_holes_by_hand():
    label = np.zeros((9, 9), np.uint8)
    label[2:7, 2:7] = 1  # a square of 24 pixels
    label[4, 4] = 0  # with a hole of one
    label[0, 8] = 1  # and a speck of one
    square = np.zeros((9, 9), np.uint8)
    square[2:7, 2:7] = 1
    assert np.array_equal(remove_small(label, 2), square)
    assert np.array_equal(remove_small(label, 1), label)


def test_connectivity_decides_what_is_one_component():
    label = np.zeros((5, 5), np.uint8)
    label[1, 1] = label[2, 2] = 1
    assert np.array_equal(remove_small(label, 2), label)
    assert not remove_small(label, 2, connectivity=4).any()


def test_ignored_pixels_neither_change_nor_spread():
    label = np.array([[0, 0, 0, 255, 1, 255, 2, 2, 2]], np.uint8)
    # the lone 1 is 2 away from a 0 and from a 2, and takes one of them through the ignored pixel
    cleaned = remove_small(label, 2)
    assert cleaned[0, 4] in (0, 2)
    assert (np.delete(cleaned, 4, axis=1) == np.delete(label, 4, axis=1)).all()


@pytest.mark.parametrize(
    "label",
    [
        np.zeros((0, 5), np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((3, 5), IGNORE, np.uint8),
        np.arange(15, dtype=np.uint8).reshape(3, 5),  # all small
        np.array([[IGNORE, 1], [IGNORE, IGNORE]], np.uint8),
        np.full((3, 5), 253, np.uint8),
    ],
)
def test_nothing_to_take_a_label_from(label):
    original = label.copy()
    assert np.array_equal(remove_small(label, 100), label)
    assert np.array_equal(label, original)


@settings(deadline=None, max_examples=80)
@given(binary_maps)
def test_holes_are_those_of_scipy(label):
    # binary_fill_holes takes a 4-connected background by default
    assert np.array_equal(fill_holes(label, 1), binary_fill_holes(label))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pixels", [1, 5, 30])
def test_limited_holes_are_those_of_scipy_and_scikit_image(seed, pixels):
    label = blobs(seed)
    holes = binary_fill_holes(label) & (label == 0)
    small = holes & ~remove_small_objects(holes, max_size=pixels, connectivity=1)
    assert np.array_equal(fill_holes(label, 1, pixels=pixels), label | small)


def ring(inside):
    """A ring of 2 whose pixels touch at corners, around one pixel."""
    return np.array([[0, 2, 0], [2, inside, 2], [0, 2, 0]], np.uint8)


def test_a_ring_of_corners_encloses_any_other_category():
    assert np.array_equal(fill_holes(ring(1), 2), ring(2))
    assert np.array_equal(fill_holes(ring(IGNORE), 2), ring(IGNORE))


def test_ignored_pixels_of_a_hole_stay_and_count():
    label = np.full((5, 5), 1, np.uint8)
    label[2, 1:4] = [0, IGNORE, 0]
    filled = np.full((5, 5), 1, np.uint8)
    filled[2, 2] = IGNORE
    assert np.array_equal(fill_holes(label, 1), filled)
    assert np.array_equal(fill_holes(label, 1, pixels=3), filled)
    assert np.array_equal(fill_holes(label, 1, pixels=2), label)  # the hole has 3 pixels


@settings(deadline=None, max_examples=60)
@given(label_maps)
def test_filling_only_adds_the_category_and_once(label):
    filled = fill_holes(label, 1)
    changed = filled != label
    assert (filled[changed] == 1).all()
    assert not (label[changed] == IGNORE).any()
    assert np.array_equal(fill_holes(filled, 1), filled)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (3, 5)])
@pytest.mark.parametrize("value", [0, 1, IGNORE])
def test_maps_without_holes(shape, value):
    label = np.full(shape, value, np.uint8)
    assert np.array_equal(fill_holes(label, 1), label)


@settings(deadline=None, max_examples=60)
@given(label_maps, st.integers(1, 12), connectivities)
def test_minimum_area_is_that_of_scikit_image(label, pixels, connectivity):
    kept = remove_small_objects(label == 1, max_size=pixels - 1, connectivity=connectivity // 4)
    cleaned = minimum_area(label, 1, pixels, replacement=2, connectivity=connectivity)
    assert cleaned.dtype == np.uint8
    assert np.array_equal(cleaned, np.where((label == 1) & ~kept, 2, label))
    assert np.array_equal(minimum_area(cleaned, 1, pixels, connectivity=connectivity), cleaned)


def test_minimum_area_replaces_by_background_unless_told():
    label = np.array([[1, 0, 1, 1, 2]], np.uint8)
    assert minimum_area(label, 1, 2).tolist() == [[0, 0, 1, 1, 2]]
    assert minimum_area(label, 2, 2, replacement=1).tolist() == [[1, 0, 1, 1, 1]]
    assert minimum_area(label, 3, 2).tolist() == label.tolist()


def test_small_components_of_one_category_alone():
    label = np.zeros((9, 9), np.uint8)
    label[1, 1], label[4:6, 4:6], label[8, 8] = 1, 2, 2
    assert np.array_equal(remove_small(label, 5, category=1), np.where(label == 1, 0, label))
    expected = label.copy()
    expected[4:6, 4:6] = expected[8, 8] = 0
    assert np.array_equal(remove_small(label, 5, category=2), expected)
    assert np.array_equal(remove_small(label, 5, category=3), label)
    whole = remove_small(remove_small(label, 5, category=1), 5, category=2)
    assert np.array_equal(whole, remove_small(label, 5))

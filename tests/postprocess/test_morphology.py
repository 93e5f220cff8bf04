"""Closing, opening and largest components against SciPy and scikit-image; splits by symmetry and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.measure import label as skimage_label
from skimage.measure import regionprops
from skimage.segmentation import watershed

from maskwright.errors import UsageError
from maskwright.postprocess import closing, cut_touching, largest_component, opening, split_touching
from maskwright.postprocess import watershed as watersheds
from maskwright.types import IGNORE

label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 0, 1, 1, 2, IGNORE])
)
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
sizes = st.sampled_from([1, 3, 5, 9])


@settings(deadline=None, max_examples=100)
@given(label_maps, sizes)
def test_closing_is_that_of_scipy_with_matlabs_borders(label, size):
    square = np.ones((size, size), bool)
    closed = ndimage.binary_erosion(ndimage.binary_dilation(label == 1, square), square, border_value=1)
    assert np.array_equal(closing(label, 1, size), np.where(closed & (label != IGNORE), 1, label))


@settings(deadline=None, max_examples=100)
@given(label_maps, sizes)
def test_opening_is_that_of_scipy_with_matlabs_borders(label, size):
    square = np.ones((size, size), bool)
    opened = ndimage.binary_dilation(ndimage.binary_erosion(label == 1, square, border_value=1), square)
    assert np.array_equal(opening(label, 1, size, replacement=2), np.where((label == 1) & ~opened, 2, label))


@settings(deadline=None, max_examples=100)
@given(label_maps)
def test_the_largest_component_is_that_of_scikit_image(label):
    numbered = skimage_label(label == 1, connectivity=2)
    regions = regionprops(numbered)
    largest = max(regions, key=lambda r: r.area).label if regions else 0
    removed = (numbered > 0) & (numbered != largest)
    kept = largest_component(label, 1)
    assert (kept == 1).sum() == (numbered == largest).sum() * bool(regions)
    assert np.array_equal(kept == 1, (label == 1) & ~removed) or len({r.area for r in regions}) < len(regions)
    assert np.array_equal(kept[label != 1], label[label != 1])


def test_of_equal_components_the_first():
    assert largest_component(np.uint8([[0, 1, 0, 1]]), 1, replacement=2).tolist() == [[0, 1, 0, 2]]


def discs(*centres, shape=(60, 90)):
    rows, columns = np.indices(shape)
    return np.any([(rows - r) ** 2 + (columns - c) ** 2 <= radius**2 for r, c, radius in centres], axis=0)


def test_two_equal_discs_are_cut_in_the_middle():
    mask = discs((30, 30, 15), (30, 55, 15))  # mirrored at column 42.5
    parts = split_touching(mask, 8)
    assert np.array_equal(parts[:, :43], np.where(mask[:, :43], 1, 0))
    assert np.array_equal(parts[:, 43:], np.where(mask[:, 43:], 2, 0))
    cut = cut_touching(mask.astype(np.uint8), 1, 8)
    assert skimage_label(cut, connectivity=2).max() == 2
    assert not cut[:, 42].any() or not cut[:, 43].any()
    assert mask.sum() - cut.sum() == mask[:, 42].sum()
    assert np.array_equal(split_touching(mask, 40), mask)  # their middles are 25 apart


def test_unequal_discs_like_scikit_image():
    centres = [(30, 25, 18), (25, 50, 12), (38, 66, 10)]
    mask = discs(*centres)
    seeds = np.zeros(mask.shape, int)
    for number, (row, column, _) in enumerate(centres, start=1):
        seeds[row, column] = number
    expected = watershed(-ndimage.distance_transform_edt(mask), seeds, mask=mask)
    parts = split_touching(mask, 9)
    assert parts.max() == 3
    table = np.zeros((4, 4), int)
    np.add.at(table, (expected, parts), 1)
    assert table[1:].max(axis=1).sum() / mask.sum() > 0.98


def test_a_rough_border_makes_hardly_a_middle(monkeypatch):
    """An ellipse whose border is uncertain by a pixel stays one object, nearly always."""
    rows, columns = np.indices((60, 90))
    whole = ((rows - 30) / 12) ** 2 + ((columns - 45) / 22) ** 2 <= 1
    around, rng = ndimage.binary_dilation(whole, np.ones((3, 3))) & ~whole, np.random.default_rng(0)
    drawn = [whole | (around & (rng.random(whole.shape) < 0.5)) for _ in range(20)]
    smooth = [split_touching(mask, 3).max() for mask in drawn]
    monkeypatch.setattr(watersheds, "_SMOOTH", 1e-3)
    rough = [split_touching(mask, 3).max() for mask in drawn]
    assert np.mean(smooth) < 1.2 < 1.7 < np.mean(rough)


@settings(deadline=None, max_examples=150)
@given(masks, st.integers(1, 5))
def test_parts_cover_the_mask_and_cuts_part_them(mask, distance):
    parts = split_touching(mask, distance)
    numbered = skimage_label(mask, connectivity=2)
    assert np.array_equal(parts > 0, mask)
    assert sorted(set(parts[mask])) == list(range(1, parts.max() + 1))
    assert all(len(set(numbered[parts == part])) == 1 for part in range(1, parts.max() + 1))
    cut = cut_touching(mask.astype(np.uint8), 1, distance, replacement=3)
    assert np.array_equal(cut > 0, mask)
    left = skimage_label(cut == 1, connectivity=2)
    assert all(len(set(parts[left == number])) == 1 for number in range(1, left.max() + 1))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (3, 5)])
@pytest.mark.parametrize("value", [0, 1, IGNORE])
def test_nothing_to_do(shape, value):
    label = np.full(shape, value, np.uint8)
    for done in (
        closing(label, 1, 9),
        opening(label, 1, 9),
        largest_component(label, 1),
        cut_touching(label, 1, 3),
    ):
        assert np.array_equal(done, label)


@pytest.mark.parametrize("function", [closing, opening])
def test_even_squares_are_refused(function):
    with pytest.raises(UsageError, match="expected an odd number of pixels"):
        function(np.zeros((3, 3), np.uint8), 1, 2)

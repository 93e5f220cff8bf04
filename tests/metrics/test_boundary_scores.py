"""Boundary scores by brute force over all pairs of surface pixels, against SciPy, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from scipy.spatial.distance import cdist, directed_hausdorff

from maskwright.errors import DataError, UsageError
from maskwright.metrics import (
    boundary_f,
    boundary_iou,
    category_masks,
    dental_score,
    hausdorff,
    hausdorff_percentile,
    hd95,
    surface_dice,
    surface_distances,
)
from maskwright.types import IGNORE

shapes = array_shapes(min_dims=2, max_dims=2, max_side=10)
pairs = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
spacings = st.sampled_from([(1.0, 1.0), (0.5, 0.5), (2.0, 0.7)])


def surface(mask):
    """Coordinates of pixels that a cross erodes; outside of the image there is nothing."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


@settings(deadline=None, max_examples=200)
@given(pairs, spacings, st.sampled_from([0, 1, 1.5, 2]))
def test_all_pairs_of_surface_pixels(pair, spacing, tolerance):
    truth, prediction = pair
    found = surface_distances(truth, prediction, spacing=spacing)
    a, b = surface(truth) * spacing, surface(prediction) * spacing
    if not len(a) or not len(b):
        assert (len(found.to_prediction), len(found.to_truth)) == (len(a), len(b))
        return
    between = cdist(a, b)
    there, back = between.min(axis=1), between.min(axis=0)
    assert np.allclose(found.to_prediction, there, atol=1e-12)
    assert np.allclose(found.to_truth, back, atol=1e-12)
    assert hausdorff(found) == pytest.approx(max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0]))
    assert hd95(found) == pytest.approx(max(np.quantile(there, 0.95), np.quantile(back, 0.95)))
    near = (there <= tolerance).sum(), (back <= tolerance).sum()
    assert surface_dice(found, tolerance) == pytest.approx(sum(near) / (len(there) + len(back)))
    recall, precision = near[0] / len(there), near[1] / len(back)
    harmonic = 2 / (1 / recall + 1 / precision) if recall and precision else 0
    assert boundary_f(found, tolerance) == pytest.approx(harmonic)


@settings(deadline=None, max_examples=100)
@given(pairs, spacings)
def test_bounds_symmetry_and_order(pair, spacing):
    there = surface_distances(*pair, spacing=spacing)
    back = surface_distances(*pair[::-1], spacing=spacing)
    for score in (hausdorff, hd95, lambda d: surface_dice(d, 1, empty=1), lambda d: boundary_f(d, 1, empty=1)):
        assert score(there) == score(back)
    assert 0 <= hd95(there) <= hausdorff(there) <= there.diagonal
    assert 0 <= surface_dice(there, 1, empty=1) <= 1
    assert surface_dice(there, 1, empty=1) <= surface_dice(there, 2, empty=1)
    assert boundary_iou(*pair, empty=1) == boundary_iou(*pair[::-1], empty=1)
    assert 0 <= boundary_iou(*pair, empty=1) <= 1
    assert 0 <= dental_score(*pair, empty=1) <= 1


@settings(deadline=None, max_examples=50)
@given(arrays(bool, shapes))
def test_perfect_on_itself(mask):
    found = surface_distances(mask, mask)
    assert hausdorff(found) == hd95(found) == 0
    assert surface_dice(found, 0, empty=1) == boundary_f(found, 0, empty=1) == 1
    assert boundary_iou(mask, mask, empty=1) == 1
    assert dental_score(mask, mask, empty=1) == pytest.approx(1)


def square(*corner, side=4, shape=(20, 20)):
    mask = np.zeros(shape, bool)
    mask[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = True
    return mask


def test_shifted_squares_by_hand():
    # squares of 4 × 4, 12 surface pixels each, 3 columns apart: the nearest of the truth's columns 5..8 to the
    # prediction's 8..11 is, for rows at the ends, 3 2 1 0; for the middle rows of column 5 3 and of column 8 0
    found = surface_distances(square(5, 5), square(5, 8))
    assert sorted(found.to_prediction) == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert sorted(found.to_truth) == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert hausdorff(found) == hd95(found) == 3
    assert surface_dice(found, 1) == boundary_f(found, 1) == 0.5
    assert hausdorff_percentile(found, 50) == 1.5
    # rows are 2 mm high, columns half as wide
    assert hausdorff(surface_distances(square(5, 5), square(5, 8), spacing=(2, 0.5))) == 1.5


def test_the_percentile_is_of_each_direction():
    # the 20 pixels of a line are right; one lone pixel is 10 rows away and 1 in 21 of the prediction's
    truth = np.zeros((20, 30), bool)
    truth[0, :20] = True
    prediction = truth.copy()
    prediction[10, 5] = True
    found = surface_distances(truth, prediction)
    assert hausdorff(found) == 10
    # 21 values, the 95 % point at position .95 * 20 = 19: the last but one, which is 0
    assert hd95(found) == 0
    assert hausdorff_percentile(found, 97.5) == 5  # position 19.5, between 0 and 10


def test_precision_and_recall_of_boundaries():
    truth, prediction = np.zeros((1, 9), bool), np.zeros((1, 9), bool)
    truth[0, :2] = True
    prediction[0, [0, 1, 5, 8]] = True
    # recall 1, precision 2 of 4
    assert boundary_f(surface_distances(truth, prediction), 1) == pytest.approx(2 / 3)
    assert boundary_f(surface_distances(prediction, truth), 1) == pytest.approx(2 / 3)
    far = np.zeros((1, 9), bool)
    far[0, 7] = True
    assert boundary_f(surface_distances(truth, far), 1) == 0


def paper_rim(mask, width):
    """Cheng's mask_to_boundary: eroded `width` times by 3 × 3 with zeros around the image."""
    eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    return mask & ~eroded


@settings(deadline=None, max_examples=100)
@given(pairs, st.integers(1, 4))
def test_boundary_iou_is_that_of_repeated_erosion(pair, width):
    a, b = (paper_rim(mask, width) for mask in pair)
    expected = (a & b).sum() / (a | b).sum() if (a | b).any() else 1
    assert boundary_iou(*pair, width=width, empty=1) == pytest.approx(expected)


def test_boundary_iou_by_hand():
    # the rims of width 1 of a 4 × 4 square and of that square two columns further: 12 pixels each; they share the
    # upper and lower rows of two columns and nothing else: 4 of 20
    assert boundary_iou(square(5, 5), square(5, 7), width=1) == pytest.approx(4 / 20)
    # 2 % of the diagonal of 300 × 400 are 10 pixels: the rim of a 30 × 30 square is 900 - 100
    big = square(50, 50, side=30, shape=(300, 400))
    inner = square(60, 60, side=10, shape=(300, 400))
    assert boundary_iou(big, big & ~inner) == pytest.approx(800 / 800)
    assert boundary_iou(big, inner) == 0  # all 100 of the inner one are rim; none of them is of the outer's


def test_empty_cases():
    none, some = np.zeros((30, 40), bool), square(3, 3, shape=(30, 40))
    empty = surface_distances(none, none)
    assert hausdorff(empty) == hd95(empty) == 0
    assert all(math.isnan(s) for s in (surface_dice(empty, 1), boundary_f(empty, 1), boundary_iou(none, none)))
    assert math.isnan(dental_score(none, none))
    assert dental_score(none, none, empty=1) == pytest.approx(1)
    for pair in ((none, some), (some, none)):
        found = surface_distances(*pair)
        assert hausdorff(found) == hd95(found) == 50  # 3 4 5
        assert surface_dice(found, 1e9) == boundary_f(found, 1e9) == boundary_iou(*pair) == dental_score(*pair) == 0
    assert hausdorff(surface_distances(none, some, spacing=(0.1, 0.1))) == pytest.approx(5)


def test_dental_score_by_hand():
    # 4 × 4 squares 3 columns apart in 12 × 16: Dice 2 * 4 / 32, IoU 4 / 28, distance 3 of a diagonal of 20
    truth, prediction = square(5, 5, shape=(12, 16)), square(5, 8, shape=(12, 16))
    assert dental_score(truth, prediction) == pytest.approx(0.4 / 4 + 0.3 / 7 + 0.3 * (1 - 3 / 20))


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 7), (3, 5)])
def test_small_and_full(shape):
    full = np.ones(shape, bool)
    assert hausdorff(surface_distances(full, full)) == 0
    assert boundary_iou(full, full, empty=1) == 1
    assert dental_score(full, full, empty=1) == pytest.approx(1)


def test_ignored_pixels_are_in_no_mask():
    truth = np.uint8([[1, IGNORE, 0, 1]])
    a, b = category_masks(truth, np.uint8([[1, 1, 1, IGNORE]]), 1)
    assert (a.tolist(), b.tolist()) == ([[True, False, False, True]], [[True, False, True, False]])
    a, b = category_masks(np.full((3, 5), IGNORE, np.uint8), np.ones((3, 5), np.uint8), 1)
    assert hausdorff(surface_distances(a, b)) == 0


def test_what_is_no_pair_of_masks():
    for function in (surface_distances, boundary_iou, dental_score):
        with pytest.raises(DataError, match=r"expected two \(H, W\) masks of one shape"):
            function(np.ones((2, 3), bool), np.ones((3, 2), bool))
    with pytest.raises(UsageError, match="two positive numbers"):
        surface_distances(np.ones((2, 3), bool), np.ones((2, 3), bool), spacing=(0, 1))

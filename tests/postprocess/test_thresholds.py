"""Thresholds and the most probable category by hand and against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwright.errors import DataError, UsageError
from maskwright.postprocess import favour, most_probable, threshold

foregrounds = arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32))
logits = arrays(np.float32, (4, 3, 5), elements=st.floats(-3, 3, width=32))


def two(foreground, dtype=np.float32):
    foreground = np.asarray(foreground, dtype)
    return np.stack([1 - foreground, foreground])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.35, np.float64(0.35)])
def test_the_value_itself_is_foreground(dtype, value):
    # 0.35 rounds down to float32, so a comparison in float64 would lose it
    assert threshold(two([[0.34, 0.35, 0.36]], dtype), value).tolist() == [[0, 1, 1]]


@settings(deadline=None, max_examples=40)
@given(foregrounds, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_a_higher_threshold_leaves_a_part(foreground, a, b):
    low, high = sorted((a, b))
    assert (threshold(two(foreground), high) <= threshold(two(foreground), low)).all()


@settings(deadline=None, max_examples=40)
@given(foregrounds)
def test_half_is_the_most_probable_but_for_ties(foreground):
    probabilities = two(foreground)
    decided = probabilities[0] != probabilities[1]
    assert np.array_equal(threshold(probabilities, 0.5)[decided], most_probable(probabilities)[decided])


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4), (2, 4)])
def test_threshold_needs_two_categories(shape):
    with pytest.raises(DataError, match=r"expected \(2, H, W\) probabilities"):
        threshold(np.zeros(shape, np.float32), 0.5)


@settings(deadline=None, max_examples=40)
@given(logits, st.sets(st.integers(0, 3), max_size=3))
def test_never_is_argmax_of_masked_logits(scores, never):
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=0)
    masked = probabilities.copy()
    masked[sorted(never)] = -1
    label = most_probable(probabilities, never)
    assert label.dtype == np.uint8
    assert np.array_equal(label, masked.argmax(axis=0))


def test_the_lowest_of_equals():
    equal = np.full((3, 1, 1), 1 / 3, np.float32)
    assert most_probable(equal).item() == 0
    assert most_probable(equal, never=[0]).item() == 1


def test_254_categories_one_pixel_and_none():
    probabilities = np.zeros((254, 1, 1), np.float32)
    probabilities[253] = 1
    assert most_probable(probabilities).item() == 253
    assert most_probable(probabilities, range(253)).item() == 253
    assert most_probable(np.zeros((2, 0, 3), np.float32)).shape == (0, 3)
    assert threshold(np.zeros((2, 0, 3), np.float32), 0.5).shape == (0, 3)


@pytest.mark.parametrize("never", [(0, 1), (2,), (-1,)])
def test_never_must_leave_a_category_and_name_real_ones(never):
    with pytest.raises(UsageError, match=r"some but not all of the positions 0\.\.1"):
        most_probable(two([[0.5]]), never)


def test_favoured_probabilities_worked_by_hand():
    p = np.float32([[[0.6, 0.0]], [[0.3, 0.0]], [[0.1, 0.0]]])
    before = p.copy()
    # .6, .3 · 4, .1 sum to 1.9; pixels without any probability stay
    assert favour(p, 1, 4).ravel() == pytest.approx([0.6 / 1.9, 0, 1.2 / 1.9, 0, 0.1 / 1.9, 0], abs=1e-6)
    assert np.array_equal(p, before)
    assert favour(p, 1, 1) == pytest.approx(p, abs=1e-6)


def test_a_favoured_foreground_is_a_lower_threshold():
    """p ≥ t / (t + f · (1 − t)): with t = .5 and f = 3 that is 1 / 4."""
    foreground = np.linspace(0, 1, 41, dtype=np.float32)[None]
    p = np.stack([1 - foreground, foreground])
    sure = abs(foreground - 0.25) > 1e-3
    assert np.array_equal(threshold(favour(p, 1, 3), 0.5)[sure], threshold(p, 0.25)[sure])


def test_what_can_not_be_favoured():
    with pytest.raises(UsageError, match=r"positions 0\.\.1"):
        favour(np.zeros((2, 1, 1), np.float32), 2, 2)
    with pytest.raises(DataError, match="finite"):
        favour(np.full((2, 1, 1), np.nan, np.float32), 1, 2)

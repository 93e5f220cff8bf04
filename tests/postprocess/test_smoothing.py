"""Smoothing and majority votes against SciPy and a count in every window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from maskwright.errors import DataError, UsageError
from maskwright.postprocess import majority, smooth_box, smooth_gaussian
from maskwright.types import IGNORE

stacks = arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.floats(0, 1, width=32))
label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.sampled_from([0, 1, 2, IGNORE])
)


@settings(deadline=None, max_examples=60)
@given(stacks, st.sampled_from([0.1, 0.7, 1.5, 4]))
def test_gaussian_is_that_of_scipy(stack, sigma):
    expected = [ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in stack]
    assert np.allclose(smooth_gaussian(stack, sigma), expected, atol=2e-6)


@settings(deadline=None, max_examples=60)
@given(stacks, st.sampled_from([1, 3, 9]))
def test_box_is_that_of_scipy(stack, size):
    expected = [ndimage.uniform_filter(channel.astype(float), size, mode="nearest") for channel in stack]
    assert np.allclose(smooth_box(stack, size), expected, atol=2e-6)


@pytest.mark.parametrize("smooth", [lambda p: smooth_gaussian(p, 2), lambda p: smooth_box(p, 7)])
def test_constants_and_sums_stay(smooth):
    p = np.random.default_rng(0).dirichlet(np.ones(3), (9, 4)).transpose(2, 0, 1).astype(np.float32)
    before = p.copy()
    assert np.allclose(smooth(p).sum(axis=0), 1, atol=1e-5)
    assert np.allclose(smooth(np.full((2, 3, 5), 0.3, np.float32)), 0.3, atol=1e-6)
    assert smooth(np.zeros((2, 0, 5), np.float32)).shape == (2, 0, 5)
    assert smooth(p.astype(np.float16)).dtype == np.float32
    assert np.array_equal(p, before)
    with pytest.raises(DataError, match="aren't finite"):
        smooth(np.full((2, 3, 5), np.nan, np.float32))


def voted(label, size):
    """The definition, pixel by pixel."""
    result, reach = label.copy(), size // 2
    for (row, column), own in np.ndenumerate(label):
        box = label[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        votes = np.bincount(box[box != IGNORE], minlength=3)
        if own != IGNORE and votes[own] < votes.max():
            result[row, column] = votes.argmax()
    return result


@settings(deadline=None, max_examples=100)
@given(label_maps, st.sampled_from([1, 3, 5]))
def test_the_most_frequent_label_of_the_window(label, size):
    assert np.array_equal(majority(label, size), voted(label, size))


def test_majority_of_two_categories_is_the_median():
    label = (np.random.default_rng(1).random((20, 30)) < 0.5).astype(np.uint8)
    inner = slice(1, -1), slice(1, -1)
    assert np.array_equal(majority(label, 3)[inner], ndimage.median_filter(label, 3)[inner])


@pytest.mark.parametrize(
    "function",
    [lambda: majority(np.zeros((3, 3), np.uint8), 2), lambda: smooth_box(np.zeros((1, 3, 3), np.float32), 0)],
)
def test_windows_have_a_middle(function):
    with pytest.raises(UsageError, match="expected an odd number of pixels"):
        function()


@pytest.mark.parametrize("label", [np.zeros((0, 3), np.uint8), np.uint8([[7]]), np.full((3, 5), IGNORE, np.uint8)])
def test_nothing_to_vote_on(label):
    assert np.array_equal(majority(label, 5), label)

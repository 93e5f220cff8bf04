"""Calibration against scikit-learn, by hand, and in parts."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from maskwright.errors import DataError, UsageError
from maskwright.metrics import (
    calibration_counts,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_table,
)
from maskwright.types import IGNORE


def sample(seed, shape=(12, 9), categories=3, dtype=np.float32):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(categories), shape).transpose(2, 0, 1).astype(dtype)
    return p, rng.choice([*range(categories), IGNORE], shape).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [1, 7, 15])
def test_one_category_like_scikit_learn(seed, bins):
    p, truth = sample(seed, dtype=np.float64)
    valid = truth != IGNORE
    accuracy, confidence = calibration_curve(truth[valid] == 1, p[1][valid], n_bins=bins)
    rows = [row for row in reliability_table(calibration_counts(p, truth, bins=bins, category=1)) if row["pixels"]]
    assert np.allclose([row["accuracy"] for row in rows], accuracy)
    assert np.allclose([row["confidence"] for row in rows], confidence)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_the_definition_in_a_loop(seed, bins):
    p, truth = sample(seed)
    error, worst = 0.0, 0.0
    valid = truth != IGNORE
    confidence, right = p.max(axis=0)[valid], (p.argmax(axis=0) == truth)[valid]
    edges = (np.arange(bins + 1) / bins).astype(np.float32)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean(dtype=float))
            error, worst = error + gap * inside.sum() / valid.sum(), max(worst, gap)
    counts = calibration_counts(p, truth, bins=bins)
    assert expected_calibration_error(counts) == pytest.approx(error)
    assert maximum_calibration_error(counts) == pytest.approx(worst)


def test_by_hand():
    # confidences .8 (right), .8 (wrong), .6 (right): in 5 bins (.6, .8] holds two, (.4, .6] one
    p = np.float32([[[0.8, 0.8, 0.4]], [[0.2, 0.2, 0.6]]])
    counts = calibration_counts(p, np.uint8([[0, 1, 1]]), bins=5)
    assert counts.pixels.tolist() == [0, 0, 1, 2, 0]
    assert counts.right.tolist() == [0, 0, 1, 1, 0]
    # (1 * |1 - .6| + 2 * |.5 - .8|) / 3 = 1 / 3
    assert expected_calibration_error(counts) == pytest.approx(1 / 3)
    assert maximum_calibration_error(counts) == pytest.approx(0.4)
    row = reliability_table(counts)[3]
    assert row == pytest.approx({"low": 0.6, "high": 0.8, "pixels": 2, "confidence": 0.8, "accuracy": 0.5})
    assert math.isnan(reliability_table(counts)[0]["accuracy"])


def test_parts_add_up():
    (p, truth), (q, other) = sample(1), sample(2, (5, 9))
    together = calibration_counts(np.concatenate([p, q], axis=1), np.concatenate([truth, other]))
    added = calibration_counts(p, truth) + calibration_counts(q, other)
    assert np.array_equal(added.pixels, together.pixels)
    assert np.array_equal(added.right, together.right)
    assert np.allclose(added.confidence, together.confidence)


def test_certain_and_right_or_wrong():
    p = np.zeros((2, 3, 5), np.float32)
    p[0] = 1
    assert expected_calibration_error(calibration_counts(p, np.zeros((3, 5), np.uint8))) == 0
    assert expected_calibration_error(calibration_counts(p, np.ones((3, 5), np.uint8))) == 1
    zeros = calibration_counts(p, np.ones((3, 5), np.uint8), category=1)
    assert zeros.pixels[0] == 15  # a confidence of 0 is in the first bin


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 5)])
def test_all_ignored(shape):
    p = np.full((2, *shape), np.nan, np.float32)  # what is ignored may be anything
    counts = calibration_counts(p, np.full(shape, IGNORE, np.uint8))
    assert not counts.pixels.any()
    assert math.isnan(expected_calibration_error(counts))
    assert math.isnan(maximum_calibration_error(counts))


@pytest.mark.parametrize(
    ("p", "truth", "message"),
    [
        (np.full((2, 1, 1), np.nan), np.zeros((1, 1)), r"got nan\.\.nan, and 1 pixels with NaN"),
        ([[[np.nan, 0.5]], [[0.5, 0.5]]], np.zeros((1, 2)), r"got 0\.5\.\.0\.5, and 1 pixels with NaN"),
        (np.full((2, 1, 1), 3.0), np.zeros((1, 1)), r"got 3\.\.3"),
        ([[[0.6]], [[0.6]], [[-0.2]]], np.zeros((1, 1)), r"got -0\.2\.\.0\.6"),
        ([[[0.5, 1]], [[0.5, 0.5]]], np.zeros((1, 2)), r"sum to one.*got 1\.\.1\.5, 1 of 2 pixels"),
        ([[[1]], [[0]]], np.full((1, 1), 2), r"positions 0\.\.1 in the truth.*got 2"),
        (np.zeros((2, 1, 1)), np.zeros((1, 2)), r"an \(H, W\) uint8 truth"),
    ],
)
def test_bad_input(p, truth, message):
    with pytest.raises(DataError, match=message):
        calibration_counts(np.asarray(p, np.float32), truth.astype(np.uint8))


@pytest.mark.parametrize("options", [{"bins": 0}, {"category": 3}, {"category": -1}])
def test_bad_options(options):
    with pytest.raises(UsageError, match="at least one bin"):
        calibration_counts(*sample(0), **options)

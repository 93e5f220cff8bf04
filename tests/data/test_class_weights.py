"""Class weights worked by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from maskwright.data.class_weights import LabelCounts, class_weights
from maskwright.types import IGNORE

# image 0: 0 ×6, 1 ×2; image 1: 1 ×3, 2 ×1, ignored ×4; category 3 nowhere
LABELS = [np.array([[0, 0, 0, 0], [0, 0, 1, 1]], np.uint8), np.array([[1, 1, 1, 2], [IGNORE] * 4], np.uint8)]


def test_counts_worked_by_hand():
    found = LabelCounts.of(iter(LABELS), 4)
    assert found.pixels.tolist() == [6, 5, 1, 0]
    assert found.images.tolist() == [1, 2, 1, 0]
    assert found.around.tolist() == [8, 12, 4, 0]
    nothing = LabelCounts.of([], 2)
    assert class_weights(nothing, "inverse_frequency") == (0, 0)


def test_inverse_frequency_is_scikit_learn_s_balanced():
    rng = np.random.default_rng(0)
    labels = [rng.choice(4, (7, 5), p=[0.6, 0.3, 0.08, 0.02]).astype(np.uint8) for _ in range(9)]
    expected = compute_class_weight("balanced", classes=np.arange(4), y=np.concatenate(labels).ravel())
    assert class_weights(LabelCounts.of(labels, 4), "inverse_frequency") == pytest.approx(tuple(expected))


def test_inverse_frequency_without_category_zero():
    # 12 pixels of 3 categories: 12 / (3·6), 12 / (3·5), 12 / 3; without category 0: 6 / (2·5), 6 / 2
    counts = LabelCounts.of(LABELS, 4)
    assert class_weights(counts, "inverse_frequency") == pytest.approx((2 / 3, 4 / 5, 4, 0))
    assert class_weights(counts, "inverse_frequency", leave_out=[0]) == pytest.approx((0, 3 / 5, 3, 0))
    assert class_weights(counts, "inverse_frequency", cap=2) == pytest.approx((2 / 3, 4 / 5, 2, 0))


def test_median_frequency_worked_by_hand():
    # shares where they occur: 6/8, 5/12, 1/4; the median is 5/12
    expected = (5 / 12 / (6 / 8), 1, 5 / 12 / (1 / 4), 0)
    assert class_weights(LabelCounts.of(LABELS, 4), "median_frequency") == pytest.approx(expected)


def test_effective_number_worked_by_hand():
    # n images: 1, 2, 1; (1 − β) / (1 − β^n) with β = .999: 1, 1 / 1.999, 1; scaled to a mean of 1
    raw = np.array([1, 1 / 1.999, 1])
    found = class_weights(LabelCounts.of(LABELS, 4), "effective_number")
    assert found == pytest.approx((*(raw / raw.mean()), 0))

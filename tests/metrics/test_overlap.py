"""The overlap table against scikit-learn's confusion matrix, and the counts read off it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from maskwright.errors import DataError
from maskwright.metrics import Counts, overlap, overlap_table
from maskwright.types import IGNORE, MAX_CATEGORIES

N = 4
label_maps = arrays(np.uint8, (3, 5), elements=st.sampled_from([*range(N), IGNORE]))


def random_map(seed, shape=(37, 53), n=N, ignored=0.1):
    rng = np.random.default_rng(seed)
    drawn = rng.integers(n, size=shape, dtype=np.uint8)
    return np.where(rng.random(shape) < ignored, np.uint8(IGNORE), drawn)


def sklearn_table(truth, prediction, n):
    known = truth != IGNORE
    if not known.any():
        return np.zeros((n, n + 1), np.int64)
    return confusion_matrix(truth[known], prediction[known], labels=[*range(n), IGNORE])[:n]


@settings(deadline=None, max_examples=60)
@given(label_maps, label_maps)
def test_table_is_scikit_learns_confusion_matrix(truth, prediction):
    if not np.isin(truth, range(N)).any():  # scikit-learn wants one true label
        assert not overlap_table(truth, prediction, N).any()
    else:
        assert np.array_equal(overlap_table(truth, prediction, N), sklearn_table(truth, prediction, N))


@pytest.mark.parametrize("n", [1, 2, 19, MAX_CATEGORIES])
def test_table_for_few_and_many_categories(n):
    truth, prediction = random_map(1, n=n), random_map(2, n=n)
    table = overlap_table(truth, prediction, n)
    assert table.shape == (n, n + 1)
    assert table.dtype == np.int64
    assert np.array_equal(table, sklearn_table(truth, prediction, n))


def test_blocks_add_up(monkeypatch):
    truth, prediction = random_map(3), random_map(4)
    whole = overlap_table(truth, prediction, N)
    monkeypatch.setattr(overlap, "_BLOCK", 100)  # 37 * 53 = 1961 pixels: 19 full blocks and a rest of 61
    assert np.array_equal(overlap_table(truth, prediction, N), whole)


def test_parts_of_an_image_add_up_to_the_whole():
    truth, prediction = random_map(5), random_map(6)
    parts = [overlap_table(truth[rows], prediction[rows], N) for rows in (slice(0, 11), slice(11, None))]
    assert np.array_equal(parts[0] + parts[1], overlap_table(truth, prediction, N))


def test_views_that_are_not_contiguous():
    truth, prediction = random_map(7)[::2, ::-1], random_map(8)[::2, ::3][:, :18]
    truth = truth[:, ::3]
    assert np.array_equal(overlap_table(truth, prediction, N), sklearn_table(truth, prediction, N))


def test_worked_table():
    # true 0: predicted 0, 1 and ignored; true 1: predicted 1; the fifth pixel's truth is ignored
    truth, prediction = np.array([[0, 0, 0, 1, 255]], np.uint8), np.array([[0, 1, 255, 1, 1]], np.uint8)
    assert overlap_table(truth, prediction, 2).tolist() == [[1, 1, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("truth", "prediction", "total"),
    [
        (np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint8), 0),
        (np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8), 1),
        (np.full((3, 5), IGNORE, np.uint8), np.zeros((3, 5), np.uint8), 0),
        (np.zeros((3, 5), np.uint8), np.full((3, 5), IGNORE, np.uint8), 15),
    ],
)
def test_unkind_images(truth, prediction, total):
    assert overlap_table(truth, prediction, 2).sum() == total


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), r"one shape, got uint8 \(2, 3\) and uint8 \(3, 2\)"),
        (np.zeros((2, 3), np.int64), np.zeros((2, 3), np.uint8), r"got int64 \(2, 3\)"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), r"bool \(2, 3\)"),
        (np.full((2, 3), 7, np.uint8), np.zeros((2, 3), np.uint8), r"0\.\.1 or 255.*got 7 \(6 px\) in the truth"),
        (np.zeros((1, 2), np.uint8), np.array([[2, 254]], np.uint8), r"2 \(1 px\) in the prediction, 254 \(1 px\)"),
        # unknown values are an error also where the truth is ignored
        (np.full((1, 2), 255, np.uint8), np.array([[0, 3]], np.uint8), r"3 \(1 px\) in the prediction"),
    ],
)
def test_maps_that_can_not_be_compared(truth, prediction, message):
    with pytest.raises(DataError, match=message) as caught:
        overlap_table(truth, prediction, 2, where="a/b.png")
    assert "where: a/b.png" in str(caught.value)


def test_counts_are_those_of_scikit_learn():
    truth, prediction = random_map(9), random_map(10)
    counts = Counts.from_table(overlap_table(truth, prediction, N))
    known = truth != IGNORE
    oracle = multilabel_confusion_matrix(truth[known], prediction[known], labels=range(N))
    assert np.array_equal(counts.tp, oracle[:, 1, 1])
    assert np.array_equal(counts.fp, oracle[:, 0, 1])
    assert np.array_equal(counts.fn, oracle[:, 1, 0])
    assert counts.tp.dtype == counts.fp.dtype == counts.fn.dtype == np.int64


def test_counts_by_hand():
    # the table of test_worked_table. Category 0: 1 right, none wrong, 2 missed; category 1: 1 right, 1 wrong, 0 missed
    counts = Counts.from_table(np.array([[1, 1, 1], [0, 1, 0]]))
    assert [counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()] == [[1, 1], [0, 1], [2, 0]]


@settings(deadline=None, max_examples=40)
@given(label_maps, label_maps)
def test_true_pixels_are_found_or_missed(truth, prediction):
    counts = Counts.from_table(overlap_table(truth, prediction, N))
    known = truth != IGNORE
    assert (counts.tp + counts.fn).tolist() == [(truth == c).sum() for c in range(N)]
    assert (counts.tp + counts.fp).tolist() == [(prediction[known] == c).sum() for c in range(N)]


def test_counts_of_a_stack_and_of_a_sum():
    tables = np.stack([overlap_table(random_map(s), random_map(s + 50), N) for s in range(3)])
    of_stack, of_sum = Counts.from_table(tables), Counts.from_table(tables.sum(axis=0))
    items = [Counts.from_table(table) for table in tables]
    joined, added = Counts.stack(items), items[0] + items[1] + items[2]
    for name in ("tp", "fp", "fn"):
        assert getattr(of_stack, name).shape == (3, N)
        assert np.array_equal(getattr(joined, name), getattr(of_stack, name))
        assert np.array_equal(getattr(added, name), getattr(of_sum, name))


def test_counts_of_different_shapes():
    with pytest.raises(AssertionError, match="one shape"):
        Counts(np.zeros(2), np.zeros(2), np.zeros(3))

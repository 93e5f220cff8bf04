"""Scores against scikit-learn and worked values; the table of summaries under one contract."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from maskwright.metrics import (
    SUMMARIES,
    Counts,
    EmptyCases,
    dice,
    iou,
    mean_over,
    overlap_table,
    pooled_dice,
    pooled_iou,
    precision,
    recall,
)
from maskwright.types import IGNORE

N = 3
NAN = math.nan
SCORES = {"dice": dice, "iou": iou, "precision": precision, "recall": recall}
ORACLES = {"dice": f1_score, "iou": jaccard_score, "precision": precision_score, "recall": recall_score}
label_maps = arrays(np.uint8, (3, 5), elements=st.sampled_from([*range(N), IGNORE]))
image_sets = st.lists(st.tuples(label_maps, label_maps), min_size=1, max_size=4)


def counts_of(truth, prediction, n=N):
    return Counts.from_table(overlap_table(np.array(truth, np.uint8), np.array(prediction, np.uint8), n))


def counts_of_images(pairs, n=N):
    return Counts.stack([counts_of(truth, prediction, n) for truth, prediction in pairs])


def close(values, expected):
    return np.allclose(values, expected, equal_nan=True)


@settings(deadline=None, max_examples=30)
@given(label_maps, label_maps, st.sampled_from(sorted(SCORES)))
def test_scores_are_those_of_scikit_learn(truth, prediction, name):
    counts, known = counts_of(truth, prediction), truth != IGNORE
    if not known.any():
        assert np.isnan(SCORES[name](counts)).all()
        return
    oracle = ORACLES[name](truth[known], prediction[known], labels=range(N), average=None, zero_division=0)
    both_empty = [not ((truth == c)[known].any() or (prediction == c)[known].any()) for c in range(N)]
    assert close(SCORES[name](counts), np.where(both_empty, NAN, oracle))
    assert close(SCORES[name](counts, empty=1), np.where(both_empty, 1, oracle))


# Table of NAMES.md, one category: (tp, fp, fn) -> dice, iou, precision, recall
@pytest.mark.parametrize(
    ("tp", "fp", "fn", "expected"),
    [
        (0, 0, 0, (NAN, NAN, NAN, NAN)),  # both empty
        (0, 4, 0, (0, 0, 0, 0)),  # truth empty; recall's 0/0 is 0
        (0, 0, 4, (0, 0, 0, 0)),  # prediction empty; precision's 0/0 is 0
        (5, 0, 0, (1, 1, 1, 1)),
        (2, 1, 3, (4 / 8, 2 / 6, 2 / 3, 2 / 5)),
    ],
)
def test_empty_cases(tp, fp, fn, expected):
    counts = Counts(np.array([tp]), np.array([fp]), np.array([fn]))
    assert close([score(counts)[0] for score in SCORES.values()], expected)
    ones = np.nan_to_num(expected, nan=1)
    assert close([score(counts, empty=1)[0] for score in SCORES.values()], ones)


def test_mars_gold():
    # methods.md 3.2: truth 0,0,1,1,2,2, prediction 1,2,1,0,2,2, and pixels whose truth is 0 don't count.
    # What is left is truth 1,1,2,2 and prediction 1,0,2,2: category 0 has one wrong pixel, IoU 0/1; category 1 has one
    # right and one missed, 1/2; category 2 has both, 1. Keras' mean over all three is .5, over the foreground .75.
    truth, prediction = [[IGNORE, IGNORE, 1, 1, 2, 2]], [[1, 2, 1, 0, 2, 2]]
    counts = counts_of(truth, prediction)
    assert iou(counts).tolist() == [0, 0.5, 1]
    assert mean_over(iou(counts), [0, 1, 2]) == 0.5
    assert mean_over(iou(counts), [1, 2]) == 0.75
    assert pooled_iou(counts, absent="skip").tolist()[1:] == [0.5, 1]
    assert math.isnan(pooled_iou(counts, absent="skip")[0])  # category 0 has no truth left


@pytest.mark.parametrize(("pooled", "plain"), [(pooled_iou, iou), (pooled_dice, dice)])
def test_pooled_scores_of_absent_categories(pooled, plain):
    # present, in the predictions only, in neither, missed
    counts = Counts(np.array([3, 0, 0, 0]), np.array([1, 2, 0, 0]), np.array([2, 0, 0, 5]))
    assert close(pooled(counts), [plain(counts)[0], 0, NAN, 0])
    assert close(pooled(counts, absent="skip"), [plain(counts)[0], NAN, NAN, 0])


def test_pooled_dice_and_iou_by_hand():
    counts = Counts(np.array([[3]]), np.array([[1]]), np.array([[2]]))
    assert pooled_iou(counts).tolist() == [[3 / 6]]
    assert pooled_dice(counts).tolist() == [[6 / 9]]


@settings(deadline=None, max_examples=40)
@given(arrays(float, (3, 4), elements=st.sampled_from([0.0, 0.25, 1.0, NAN])))
def test_mean_over_is_the_mean_of_what_is_known(values):
    positions = [0, 2, 3]
    expected = [np.mean(kept) if len(kept := row[positions][~np.isnan(row[positions])]) else NAN for row in values]
    assert close(mean_over(values, positions), expected)
    assert close(mean_over(values.T, positions, axis=0), expected)


def test_mean_over_nothing_is_nan_without_a_warning():
    assert np.isnan(mean_over(np.full((2, 3), NAN), [0, 1])).all()
    assert math.isnan(mean_over(np.ones(3), []))


@settings(deadline=None, max_examples=30)
@given(image_sets, st.permutations(range(N)))
def test_summaries_are_bounded_and_unmoved_by_relabelling(pairs, order):
    table = np.arange(256, dtype=np.uint8)
    table[:N] = order
    counts = counts_of_images(pairs)
    moved = counts_of_images([(table[truth], table[prediction]) for truth, prediction in pairs])
    for summary in SUMMARIES.values():
        value = summary.function(counts, [0, 1])
        assert value.shape == (1,)
        assert np.isnan(value[0]) or 0 <= value[0] <= 1
        assert close(value, summary.function(moved, [order[0], order[1]]))


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_perfect_is_one(name):
    truth = np.random.default_rng(0).choice([0, 1, 2, IGNORE], size=(2, 9, 7)).astype(np.uint8)
    counts = counts_of_images(zip(truth, truth, strict=True))
    assert SUMMARIES[name].function(counts, [0, 1, 2]).tolist() == [1]


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_contract_of_an_entry(name):
    summary = SUMMARIES[name]
    assert summary.name == name
    assert summary.definition.endswith(".")
    assert ". " not in summary.definition


@settings(deadline=None, max_examples=30)
@given(image_sets, st.data())
def test_weights_repeat_images(pairs, data):
    repeats = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)))
    if not sum(repeats):
        return
    counts = counts_of_images(pairs)
    repeated = counts_of_images([pair for pair, times in zip(pairs, repeats, strict=True) for _ in range(times)])
    weights = np.array([np.ones(len(pairs)), repeats], float)
    for summary in SUMMARIES.values():
        expected = [summary.function(counts, [0, 1])[0], summary.function(repeated, [0, 1])[0]]
        assert close(summary.function(counts, [0, 1], weights), expected)


def images_by_hand():
    """Two categories, 0 left out. Image a: tp 2, fp 2, fn 1. b: nothing of 1 in both. c: fp 2."""
    blank = [[0, 0, 0, 0, 0]]
    return counts_of_images(
        [([[1, 1, 1, 0, 0]], [[1, 1, 0, 1, 1]]), (blank, blank), (blank, [[0, 0, 0, 1, 1]])],
        n=2,
    )


@pytest.mark.parametrize(
    ("name", "expected", "challenge"),
    [
        # a: Dice 4/7; b: NaN, or 1 by challenge rules; c: 0
        ("mean_dice", (4 / 7 + 0) / 2, (4 / 7 + 1 + 0) / 3),
        ("mean_iou", (2 / 5 + 0) / 2, (2 / 5 + 1 + 0) / 3),
        ("mean_precision", (2 / 4 + 0) / 2, (2 / 4 + 1 + 0) / 3),
        ("mean_recall", (2 / 3 + 0) / 2, (2 / 3 + 1 + 0) / 3),
        # all images: tp 2, fp 4, fn 1
        ("pooled_miou", 2 / 7, 2 / 7),
        ("pooled_mdice", 4 / 9, 4 / 9),
    ],
)
def test_summaries_by_hand(name, expected, challenge):
    function = SUMMARIES[name].function
    assert function(images_by_hand(), [1]) == pytest.approx(expected)
    assert function(images_by_hand(), [1], None, EmptyCases(empty=1)) == pytest.approx(challenge)


@pytest.mark.parametrize(("name", "present"), [("pooled_miou", 2 / 4), ("pooled_mdice", 4 / 6)])
def test_a_category_without_truth_is_skipped_on_request(name, present):
    # category 0: tp 2, fn 2; category 1 has no truth
    counts = counts_of_images([([[0, 0, 0, 0]], [[0, 0, 1, 1]])], n=2)
    assert SUMMARIES[name].function(counts, [0, 1]) == pytest.approx(present / 2)
    assert SUMMARIES[name].function(counts, [0, 1], None, EmptyCases(absent="skip")) == pytest.approx(present)


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_nothing_to_score_is_nan(name):
    function = SUMMARIES[name].function
    ignored = counts_of_images([(np.full((3, 5), IGNORE), np.zeros((3, 5)))])
    assert np.isnan(function(ignored, [0, 1, 2])).all()
    assert np.isnan(function(ignored, [0], np.array([[0.0], [2.0]]))).tolist() == [True, True]
    none = Counts(*np.zeros((3, 0, 2), np.int64))
    assert np.isnan(function(none, [1])).tolist() == [True]


def test_254_categories_and_one():
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(254, size=(2, 40, 40), dtype=np.uint8)
    counts = counts_of_images([(truth, prediction)], n=254)
    oracle = jaccard_score(truth.ravel(), prediction.ravel(), average="macro", zero_division=0)  # all 254 occur
    assert SUMMARIES["pooled_miou"].function(counts, range(254)) == pytest.approx(oracle)
    single = counts_of_images([(np.zeros((3, 5)), np.zeros((3, 5)))], n=1)
    assert SUMMARIES["mean_dice"].function(single, [0]).tolist() == [1]

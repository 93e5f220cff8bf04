"""Which pixels and images are relied on: values worked by hand, and a slow plain version."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from maskwright.recipe.selftrain import (
    AllPixelsSpec,
    ClassAdaptiveSpec,
    ClassShareSpec,
    ConfidentSpec,
    RegionsSpec,
)
from maskwright.selftrain import (
    PoolCounts,
    agreement,
    class_thresholds,
    estimated_iou,
    highest,
    keep_pixels,
    suspect_regions,
)
from maskwright.types import IGNORE


def softmax(rng, categories=3, size=(7, 9), strength=2.0):
    logits = strength * rng.standard_normal((categories, *size))
    powers = np.exp(logits)
    return (powers / powers.sum(0)).astype(np.float32)


def counted(*maps):
    counts = PoolCounts.of(len(maps[0]))
    for probabilities in maps:
        counts.add(probabilities)
    return counts


def binary(confidences):
    """Foreground of the given probabilities in one row."""
    row = np.array([confidences], np.float32)
    return np.stack([1 - row, row])


def test_all_keeps_every_pixel_and_is_the_argmax():
    probabilities = softmax(np.random.default_rng(0))
    kept, confidence, thresholds = keep_pixels(
        AllPixelsSpec(), class_thresholds(AllPixelsSpec(), counted(probabilities)), probabilities
    )
    np.testing.assert_array_equal(kept, probabilities.argmax(0))
    np.testing.assert_array_equal(confidence, probabilities.max(0))
    assert thresholds.tolist() == [0, 0, 0]


def test_a_threshold_keeps_what_reaches_it():
    spec = ConfidentSpec(value=0.75)
    maps = binary([0.75, 0.74, 0.25, 0.26])
    kept, _, _ = keep_pixels(spec, class_thresholds(spec, counted(maps)), maps)
    assert kept.tolist() == [[1, IGNORE, 0, IGNORE]]


def test_a_share_of_each_class_is_kept_over_the_whole_pool():
    # foreground in two images: .6 .7 .8 and .85; half of four are .8 and .85. Background: .9 and .55, half is .9
    spec = ClassShareSpec(share=0.5, enough=1.0)
    one, two = binary([0.6, 0.7, 0.8, 0.1]), binary([0.85, 0.45])
    thresholds = class_thresholds(spec, counted(one, two))
    assert keep_pixels(spec, thresholds, one)[0].tolist() == [[IGNORE, IGNORE, 1, 0]]
    assert keep_pixels(spec, thresholds, two)[0].tolist() == [[1, IGNORE]]
    np.testing.assert_allclose(thresholds, [0.9, 0.8], atol=1 / 2048)


def test_what_is_sure_enough_is_kept_beyond_the_share():
    spec = ClassShareSpec(share=0.25, enough=0.9)
    maps = binary([0.99, 0.98, 0.95, 0.91])
    kept, _, _ = keep_pixels(spec, class_thresholds(spec, counted(maps)), maps)
    assert kept.tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_the_share_is_that_of_a_sorted_list(share):
    rng = np.random.default_rng(1)
    maps = [softmax(rng, size=(20, 30)) for _ in range(3)]
    spec = ClassShareSpec(share=share, enough=1.0)
    thresholds = class_thresholds(spec, counted(*maps))
    for category in range(3):
        sure = np.concatenate([m.max(0)[m.argmax(0) == category] for m in maps])
        kept = (sure >= thresholds[category]).mean()
        assert share <= kept <= share + 0.01  # the bins of confidence are 1/4096 wide


def test_a_class_that_is_never_predicted_has_no_share():
    maps = np.array([[[0.6]], [[0.4]], [[0.0]]], np.float32)
    counts = counted(maps)
    thresholds = class_thresholds(ClassShareSpec(), counts)
    assert np.isnan(thresholds[1:]).all()
    assert keep_pixels(ClassShareSpec(), thresholds, maps)[0].tolist() == [[0]]


@pytest.mark.parametrize(
    ("prior", "expected"),
    # methods 4.2 for m* = .9: χ .3 → .675; 5e-3 → .670452; 1e-3 → .426681; ≤ 3e-4 → the floor .2
    [(0.3, 0.675), (5e-3, 0.670452), (1e-3, 0.426681), (3e-4, 0.2), (1e-5, 0.2)],
)
def test_adaptive_thresholds_are_those_of_sac(prior, expected):
    spec = ClassAdaptiveSpec()
    counts = PoolCounts(np.zeros((2, 4096), np.int64), np.array([1 - prior, prior]) * 1000, 1000)
    maps = binary([0.9, 0.55])
    _, _, thresholds = keep_pixels(spec, class_thresholds(spec, counts), maps)
    assert thresholds[1] == pytest.approx(expected, abs=1e-5)


def test_adaptive_pixels_lie_strictly_above_the_threshold():
    spec = ClassAdaptiveSpec(upper=0.5, floor=0.75)
    maps = binary([0.75, 0.875])  # both exact in binary
    assert keep_pixels(spec, np.array([0.5, 0.5]), maps)[0].tolist() == [[IGNORE, 1]]


def test_suspect_regions_are_small_or_unsure():
    label = np.array([[1, 0, 0, 2, 2], [0, 0, 0, 2, 2], [1, 1, 0, 255, 255]], np.uint8)
    confidence = np.where(label == 2, 0.5, 0.9).astype(np.float32)
    small = suspect_regions(label, confidence, RegionsSpec(pixels=3))
    assert np.argwhere(small).tolist() == [[0, 0], [2, 0], [2, 1]]  # single and pair of label 1, which don't touch
    unsure = suspect_regions(label, confidence, RegionsSpec(confidence=0.6))
    np.testing.assert_array_equal(unsure, label == 2)
    assert not suspect_regions(label, confidence, RegionsSpec()).any()


def test_suspect_regions_agree_with_scipy():
    rng = np.random.default_rng(3)
    label, confidence = rng.integers(0, 3, (40, 50)).astype(np.uint8), rng.random((40, 50)).astype(np.float32)
    label[:5] = IGNORE
    spec = RegionsSpec(confidence=0.45, pixels=4)
    expected = np.zeros(label.shape, bool)
    for category in range(3):
        regions, count = ndimage.label(label == category, np.ones((3, 3)))
        for region in range(1, count + 1):
            inside = regions == region
            expected |= inside & (inside.sum() < 4 or confidence[inside].astype(float).mean() < 0.45)
    np.testing.assert_array_equal(suspect_regions(label, confidence, spec), expected)


def test_agreement_leaves_out_what_neither_map_holds():
    empty, half = np.zeros((2, 2), np.uint8), np.array([[0, 1], [0, 1]], np.uint8)
    assert agreement([empty], empty, 2) == 1  # an empty foreground in both counts neither as 0 nor as 1
    # background 2 of 4, foreground 0 of 2: (1/2 + 0) / 2
    assert agreement([empty], half, 2) == 0.25
    assert agreement([empty, half], half, 2) == pytest.approx((0.25 + 1) / 2)


def test_agreement_is_the_mean_jaccard_score_of_scikit_learn():
    from sklearn.metrics import jaccard_score

    rng = np.random.default_rng(4)
    last, earlier = rng.integers(0, 3, (9, 9)), [rng.integers(0, 3, (9, 9)) for _ in range(2)]
    expected = np.mean([jaccard_score(last.ravel(), one.ravel(), average="macro") for one in earlier])
    found = agreement([one.astype(np.uint8) for one in earlier], last.astype(np.uint8), 5)
    assert found == pytest.approx(expected)


def test_estimated_iou_of_certain_probabilities_is_one_and_is_that_of_draws_from_them():
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, (8, 8))
    assert estimated_iou(np.eye(3, dtype=np.float32)[label].transpose(2, 0, 1)) == 1
    probabilities = softmax(rng, size=(60, 60))  # large, so that E[I] / E[U] is E[I / U]
    said = probabilities.argmax(0)
    scores = []
    for _ in range(20):
        points = rng.random(said.shape)
        truth = (points > np.cumsum(probabilities, 0)[:-1][:, None].squeeze(1)).sum(0)
        scores.append(agreement([said.astype(np.uint8)], truth.astype(np.uint8), 3))
    assert estimated_iou(probabilities) == pytest.approx(np.mean(scores), abs=0.01)


def test_the_highest_half_comes_first():
    scores = {"d": 0.5, "b": 0.9, "a": 0.5, "c": 0.7, "e": 0.1}
    assert highest(scores, 0.5) == ["b", "c"]  # 2 of 5
    assert highest(scores, 0.6) == ["b", "c", "a"]  # ties by name
    assert highest({"a": 0.1}, 0.5) == ["a"]
    assert highest({}, 0.5) == []


def test_counts_of_parts_add_up_to_those_of_the_whole():
    rng = np.random.default_rng(6)
    maps = softmax(rng, size=(10, 10))
    whole, parts = counted(maps), counted(maps[:, :4], maps[:, 4:])
    np.testing.assert_array_equal(whole.confidences, parts.confidences)
    assert whole.pixels == parts.pixels == 100
    np.testing.assert_allclose(whole.mass, parts.mass)
    assert math.isclose(whole.mass.sum(), 100, rel_tol=1e-5)

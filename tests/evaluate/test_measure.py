"""One image of labels measured: boundaries against whole masks and SciPy, empties, Keras' mean IoU, accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import accuracy_score, precision_score, recall_score

from maskwright.errors import DataError
from maskwright.evaluate import Overlaps, summarise
from maskwright.evaluate.measure import measure
from maskwright.metrics import boundary_iou, category_masks, dental_score
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import IGNORE, Categories, Category

NAN = math.nan
ALL = EvaluateSpec(samples=100, families=("boundary", "dental", "keras", "calibration"))


def categories(n, *left_out):
    return Categories(tuple(Category(k, f"c{k}") for k in range(n)), frozenset(left_out))


def blobs(seed, n=4, size=(37, 52)):
    """Return label maps with ragged regions, the prediction moved and disturbed."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(n, *size)), (0, 3, 3))
    truth = noise.argmax(axis=0).astype(np.uint8)
    prediction = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
    prediction[rng.random(size) < 0.03] = rng.integers(n)
    truth[: rng.integers(0, 6)] = IGNORE
    return truth, prediction


def surface(mask):
    """Pixels of a mask that touch, over a side, what isn't; beyond the image nothing is."""
    return mask & ~ndimage.binary_erosion(mask, border_value=0)


def distances(mask, other):
    """From each surface pixel of a mask to the nearest one of the other, by SciPy's exact transform."""
    return ndimage.distance_transform_edt(~surface(other))[surface(mask)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tolerance", [None, 3.0])
def test_boundaries_are_those_of_whole_masks(seed, tolerance):
    truth, prediction = blobs(seed)
    spec = EvaluateSpec(families=("boundary", "dental"), tolerance=tolerance)
    found = measure(truth, prediction, categories(4, "c0"), spec, where="x").columns
    diagonal = math.hypot(*truth.shape)
    within = tolerance or max(1, 0.0075 * diagonal)
    for k in (1, 2, 3):
        t, p = category_masks(truth, prediction, k)
        one, two = distances(t, p), distances(p, t)
        shares = (one <= within).mean(), (two <= within).mean()
        expected = {
            "hausdorff": max(one.max(), two.max()),
            "hd95": max(np.percentile(one, 95), np.percentile(two, 95)),
            "nsd": ((one <= within).sum() + (two <= within).sum()) / (len(one) + len(two)),
            "boundary_f": 2 * shares[0] * shares[1] / sum(shares),
            "boundary_iou": boundary_iou(t, p),  # of the whole image, with the width of its diagonal
            "dental_score": dental_score(t, p),
        }
        assert {name: found[name][k] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert all(np.isnan(column[0]) for column in found.values())  # left out


EMPTY = np.zeros((3, 4), np.uint8)  # diagonal 5
ONE_PIXEL = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.uint8)
FULL = np.ones((3, 4), np.uint8)


@pytest.mark.parametrize(
    ("truth", "prediction", "share", "distance", "dental"),
    [
        (EMPTY, EMPTY, NAN, 0, NAN),
        (EMPTY, ONE_PIXEL, 0, 5, 0),
        (FULL, EMPTY, 0, 5, 0),
        (ONE_PIXEL, ONE_PIXEL, 1, 0, 1),
        (FULL, FULL, 1, 0, 1),
        (FULL * IGNORE, FULL, NAN, NAN, NAN),  # nothing is known, so no distance either
    ],
)
def test_empty_full_and_one_pixel(truth, prediction, share, distance, dental):
    found = measure(truth, prediction, categories(2, "c0"), ALL, where="x").columns
    expected = dict.fromkeys(("boundary_iou", "boundary_f", "nsd"), share) | {"dental_score": dental}
    expected |= {"hausdorff": distance, "hd95": distance}
    assert {name: found[name][1] for name in expected} == pytest.approx(expected, nan_ok=True)


def summary(pairs, n, *left_out, spec=ALL):
    overlaps = Overlaps(categories(n, *left_out), spec)
    for k, (truth, prediction) in enumerate(pairs):
        overlaps.add(str(k), np.asarray(truth, np.uint8), np.asarray(prediction, np.uint8))
    return {name: score["value"] for name, score in summarise(overlaps, spec).items()}


def test_distances_of_what_is_in_neither_count_0_and_shares_do_not():
    """First c1 is a pixel off and c2 in neither; then nothing is there at all; then c2 is missed."""
    shifted = np.roll(ONE_PIXEL, 1, 1)
    found = summary([(ONE_PIXEL, shifted), (EMPTY, EMPTY), (2 * ONE_PIXEL, EMPTY)], 3, "c0")
    assert found["mean_hd95"] == found["mean_hausdorff"] == pytest.approx(((1 + 0) / 2 + 0 + (0 + 5) / 2) / 3)
    assert found["hd95/c1"] == found["hausdorff/c1"] == pytest.approx((1 + 0 + 0) / 3)
    assert found["hd95/c2"] == pytest.approx((0 + 0 + 5) / 3)
    # where all pixels are ignored nothing is known, not that there is nothing
    assert summary([(ONE_PIXEL, shifted), (FULL * IGNORE, EMPTY)], 2, "c0")["hd95/c1"] == 1
    assert np.isnan(summary([(FULL * IGNORE, EMPTY)], 2, "c0")["mean_hd95"])
    # one pixel off is within a tolerance of a pixel; missed is 0; the image without either has no share
    assert found["mean_nsd"] == pytest.approx((1 + 0) / 2)
    empty = EvaluateSpec(samples=100, families=("boundary",), empty="one")  # each category that is in neither has 1
    found = summary([(ONE_PIXEL, shifted), (EMPTY, EMPTY), (2 * ONE_PIXEL, EMPTY)], 3, "c0", spec=empty)
    assert found["mean_nsd"] == pytest.approx(((1 + 1) / 2 + 1 + (1 + 0) / 2) / 3)


def test_keras_gold():
    # methods: truth 0,0,1,1,2,2, prediction 1,2,1,0,2,2 without the truth's zeros: IoU 0, 1/2, 1: Keras' mean .5
    pairs = [([[0, 0, 1, 1, 2, 2]], [[1, 2, 1, 0, 2, 2]])]
    found = summary(pairs, 3, "c0")
    assert found["keras_miou"] == pytest.approx(0.5)
    # ours counts what is predicted where the truth is 0: c1 1 / (1 + 1 + 1), c2 2 / (2 + 1)
    assert found["pooled_miou"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    # where 0 is never predicted on anything else, it isn't in the mean
    assert summary([([[0, 1, 1, 2]], [[0, 1, 2, 2]])], 3, "c0")["keras_miou"] == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_keras_of_two_left_out_categories_is_that_of_a_confusion_matrix(seed):
    truth, prediction = blobs(seed, n=5)
    kept = ~np.isin(truth, (0, 3, IGNORE))
    t, p = truth[kept], prediction[kept]
    single = []
    for k in range(5):
        union = ((t == k) | (p == k)).sum()
        single += [((t == k) & (p == k)).sum() / union] if union else []
    assert summary([(truth, prediction)], 5, "c0", "c3")["keras_miou"] == pytest.approx(np.mean(single), abs=1e-9)


def test_accuracy_precision_and_recall_are_those_of_scikit_learn():
    pairs = [blobs(seed) for seed in range(4)]
    known = [truth != IGNORE for truth, _ in pairs]
    t, p = (np.concatenate([pair[k][own] for pair, own in zip(pairs, known, strict=True)]) for k in (0, 1))
    found = summary(pairs, 4, "c0")
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(t, p), abs=1e-9)
    each = [accuracy_score(truth[own], guess[own]) for (truth, guess), own in zip(pairs, known, strict=True)]
    assert found["mean_pixel_accuracy"] == pytest.approx(np.mean(each), abs=1e-9)
    for name, oracle in (("precision", precision_score), ("recall", recall_score)):
        single = oracle(t, p, labels=[1, 2, 3], average=None)
        assert [found[f"{name}/c{k}"] for k in (1, 2, 3)] == pytest.approx(single.tolist(), abs=1e-9)
        assert found[f"pooled_m{name}"] == pytest.approx(single.mean(), abs=1e-9)


def test_probabilities_are_measured_in_bins_that_add_up():
    rng = np.random.default_rng(0)
    pairs = [(rng.dirichlet(np.ones(3), (5, 7)).transpose(2, 0, 1), rng.integers(0, 3, (5, 7))) for _ in range(3)]
    overlaps = Overlaps(categories(3), ALL)
    for k, (p, truth) in enumerate(pairs):
        overlaps.add(str(k), truth.astype(np.uint8), p.argmax(0).astype(np.uint8), probabilities=np.float32(p))
    confidence = np.concatenate([p.max(0).ravel() for p, _ in pairs])
    right = np.concatenate([(p.argmax(0) == truth).ravel() for p, truth in pairs])
    gaps = []
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        gaps.append(abs(right[inside].sum() - confidence[inside].sum()))
    found = summarise(overlaps, ALL)
    assert found["ece"]["value"] == pytest.approx(sum(gaps) / len(right), abs=1e-6)  # float32 confidences
    assert found["ece"]["n"] == 3 and found["mce"]["value"] >= found["ece"]["value"]


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [([[[np.nan]], [[1]]], "1 pixels with NaN"), ([[[0.5]], [[0.2]]], "sum to one"), ([[[1]]], r"positions 0\.\.0")],
)
def test_probabilities_that_are_none_name_the_image(probabilities, message):
    one = np.ones((1, 1), np.uint8)
    with pytest.raises(DataError, match=rf"{message}(.|\n)*where: img7"):
        measure(one, one, categories(2), ALL, probabilities=np.float32(probabilities), where="img7")


def test_families_that_are_not_asked_for_are_not_there():
    found = summary([(ONE_PIXEL, FULL)], 2, "c0", spec=EvaluateSpec(samples=100, families=()))
    assert not {"mean_hd95", "dental_score", "keras_miou", "ece", "pq"} & found.keys()

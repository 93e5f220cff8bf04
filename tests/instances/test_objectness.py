"""The classifier of instances: what it learns, how far it can be believed, and what it does without enough of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from maskwright.errors import DataError
from maskwright.instances import FEATURES, Objectness, fit_objectness
from maskwright.instances.objectness import LEAST, best_least, object_scores

AREA, SPREAD, AGREEMENT = (FEATURES.index(name) for name in ("log_area", "spread", "agreement"))


def drawn(count=400, seed=0, images=20):
    """Return features, truth and images: true ones are of a middle size, of little spread, and agree."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, len(FEATURES)))
    features[:, AREA] = rng.uniform(-9, -3, count)
    features[:, AGREEMENT] = rng.random(count)
    logits = 3 - 1.5 * (features[:, AREA] + 6) ** 2 - 2 * features[:, SPREAD] + 2 * features[:, AGREEMENT]
    truth = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(float)
    return features, truth, rng.integers(0, images, count)


def test_it_tells_true_from_false_better_than_any_one_threshold():
    model, (features, truth, _) = fit_objectness(*drawn()), drawn(seed=1, count=2000)
    score = roc_auc_score(truth, model.predict(features))
    alone = [max(a, 1 - a) for a in (roc_auc_score(truth, column) for column in features.T)]
    assert score > max(alone) + 0.1
    assert (model.instances, model.true) == (400, int(drawn()[1].sum()))


@pytest.mark.parametrize(("share", "missed"), [(0.9, 5), (0.5, 100), (0.2, 300), (0.5, 4000)])
def test_no_other_least_probability_has_a_better_f1(share, missed):
    rng = np.random.default_rng(missed)
    probabilities = np.clip(rng.beta(2 * share, 2 * (1 - share), 400), 1e-6, 1)
    least = best_least(probabilities, missed)

    def f1(limit):
        kept = probabilities[probabilities >= limit]
        return 2 * kept.sum() / (len(kept) + probabilities.sum() + missed)

    assert f1(least) == max(f1(limit) for limit in np.linspace(0, 1, 1001).tolist() + probabilities.tolist())
    assert least == pytest.approx(f1(least) / 2)


def test_the_more_is_missed_the_more_is_risked():
    features, truth, images = drawn()
    few, many = (fit_objectness(features, truth, images, missed=missed) for missed in (0, 2000))
    assert (few.missed, many.missed) == (0, 2000)
    assert 0.05 < many.least < 0.2 < 0.4 < few.least <= 0.5
    assert (few.weights, few.bias) == (many.weights, many.bias)


def test_its_probabilities_can_be_believed():
    model, (features, truth, _) = fit_objectness(*drawn(1600)), drawn(seed=1, count=5000)
    found = model.predict(features)
    for low in np.arange(0, 1, 0.2):
        inside = (found >= low) & (found < low + 0.2)
        if inside.sum() > 100:
            assert truth[inside].mean() == pytest.approx(found[inside].mean(), abs=0.08)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_what_says_nothing_leaves_nothing_out(share):
    """Nor does it say the share of true ones of all: below ½ that would leave out every one."""
    nothing = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth = (rng.random(300) < share).astype(float)
        features = rng.normal(size=(300, len(FEATURES)))
        model = fit_objectness(features, truth, np.arange(300) // 10, missed=300 - int(truth.sum()))
        scores = object_scores(model, features)
        nothing += scores is None
        kept = np.ones(300, bool) if scores is None else scores.probabilities >= scores.least
        assert truth[kept].sum() > 0.95 * truth.sum()
    assert nothing >= 4
    assert model.weights or model.predict(features) == pytest.approx(features[:, AGREEMENT])


def test_images_are_left_out_whole():
    # a number that is the image's own, and the truth of its instances all alike: within an image it tells all, in
    # another nothing. With images left out the classifier learns that it can't be relied on
    rng = np.random.default_rng(0)
    images = np.arange(400) % 8
    truth = (images % 2).astype(float)
    features = rng.normal(size=(400, len(FEATURES)))
    features[:, AREA] = rng.normal(size=8)[images] * 3
    assert not fit_objectness(features, truth, images).weights
    within = fit_objectness(features, truth, np.arange(400)).predict(features)
    assert np.abs(within - 0.5).mean() > 0.03


def test_it_is_the_logistic_regression_of_its_terms():
    features, truth, images = drawn()
    model = fit_objectness(features, truth, images)
    z = ((features - features.mean(0)) / features.std(0)).clip(-4, 4)
    pairs = [(AREA, 1), (AREA, AGREEMENT), (AREA, 8), (SPREAD, 5), (SPREAD, AGREEMENT)]
    terms = np.concatenate([z, z**2 - 1, np.stack([z[:, a] * z[:, b] for a, b in pairs], 1)], 1)
    expected = [1 / (1 + math.exp(-(row @ np.array(model.weights) + model.bias))) for row in terms]
    assert model.predict(features) == pytest.approx(expected)


def test_the_same_instances_give_the_same_numbers_and_json_keeps_them():
    model = fit_objectness(*drawn())
    assert model == fit_objectness(*drawn())
    text = model.to_json()
    assert Objectness.from_json(text) == model
    assert isinstance(json.loads(text)["weights"][0], float)
    default = Objectness(instances=3, true=1)
    assert Objectness.from_json(default.to_json()) == default


def test_numbers_that_are_missing_count_as_average():
    features, truth, images = drawn()
    features[:, 5] = np.nan  # never known
    features[::3, SPREAD] = np.nan
    model = fit_objectness(features, truth, images)
    found = model.predict(features)
    assert np.isfinite(found).all()
    assert roc_auc_score(truth, found) > 0.8
    unknown = np.full((1, len(FEATURES)), np.nan)
    assert model.predict(unknown)[0] == pytest.approx(1 / (1 + math.exp(-model.bias)))
    assert np.isfinite(model.predict(np.full((2, len(FEATURES)), 1e9))).all()


@pytest.mark.parametrize(
    ("count", "true"), [(0, 0), (1, 1), (LEAST - 1, 15), (200, 0), (200, 200), (200, 4), (200, 196)]
)
def test_with_too_few_of_a_kind_it_is_the_agreement(count, true):
    features, _, images = drawn(count)
    truth = (np.arange(count) < true).astype(float)
    model = fit_objectness(features, truth, images)
    assert model == Objectness(instances=count, true=true)
    assert np.array_equal(model.predict(features), features[:, AGREEMENT])
    features[:, AGREEMENT] = np.nan
    assert (model.predict(features) == 1).all()


def test_what_is_not_known_to_be_false_is_left_out():
    features, truth, images = drawn(300)
    other = np.concatenate([truth, np.full(50, np.nan)])
    more = np.concatenate([features, np.full((50, len(FEATURES)), 7.0)])
    assert fit_objectness(more, other, np.concatenate([images, np.zeros(50, int)])) == fit_objectness(
        features, truth, images
    )


def test_what_no_classifier_could_be_asked_about_says_nothing():
    # of two groups one holds the true ones, the other the false ones: who sees one knows nothing of the other
    rng = np.random.default_rng(0)
    truth = np.repeat([1.0, 0.0], [60, 40])
    features = rng.normal(size=(100, len(FEATURES))) + truth[:, None]
    assert fit_objectness(features, truth, truth.astype(int)) == Objectness(instances=100, true=60)


def test_a_single_image_and_images_of_one_kind_are_enough():
    features, truth, _ = drawn(100)
    for images in (np.zeros(100, int), truth.astype(int), np.arange(100)):
        assert np.isfinite(fit_objectness(features, truth, images).predict(features)).all()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"features": ["log_area"]}', '{"features": [], "what": 1}'])
def test_other_files_are_an_error(text):
    with pytest.raises(DataError, match="a classifier of instances"):
        Objectness.from_json(text)


def test_other_numbers_are_an_error():
    with pytest.raises(DataError, match="numbers an instance"):
        Objectness().predict(np.zeros((3, 2)))

"""Tuning: nothing is adopted on noise, a real gain is, and no fold chooses its own chain."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.metrics import SUMMARIES, Counts, overlap_table
from maskwright.postprocess import apply_chain
from maskwright.recipe.predict import EvaluateSpec, MinimumAreaSpec, PostprocessSpec, ThresholdSpec
from maskwright.tune import tune_chain
from maskwright.types import Categories, Category

BINARY = Categories((Category(0, "background"), Category(1, "thing")), frozenset({"background"}))
THREE = Categories(tuple(Category(i, n) for i, n in enumerate("abc")))
SIZE, COUNT = 24, 20
SPEC = PostprocessSpec(thresholds=(0.2, 0.3, 0.4, 0.5, 0.6), minimum_areas=(0.0, 0.01, 0.03))


def disc(rng):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    y, x = rng.uniform(8, 16, 2)
    return ((yy - y) ** 2 + (xx - x) ** 2 < rng.uniform(25, 45)).astype(np.uint8)


def two(foreground):
    return np.stack([1 - foreground, foreground]).astype(np.float32)


def low(seed=0, factor=0.62):
    """Good predictions whose probabilities are all too low, by one factor."""
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(COUNT):
        truth = disc(rng)
        sure = np.clip(truth * 0.8 + 0.1 + rng.normal(0, 0.06, truth.shape), 0.01, 0.99)
        items.append((two(sure * factor), truth))
    return items


def tune(items, folds=None, categories=BINARY, spec=SPEC, metric="mean_dice", **more):
    folds = folds if folds is not None else [i % 4 for i in range(len(items))]
    return tune_chain(
        lambda row: items[row],
        folds,
        [str(i) for i in range(len(items))],
        [SIZE * SIZE] * len(items),
        spec,
        categories,
        metric=metric,
        evaluate=EvaluateSpec(samples=200),
        **more,
    )


def score(items, chain, rows, categories=BINARY):
    tables = [overlap_table(items[r][1], apply_chain(items[r][0], chain), len(categories)) for r in rows]
    return float(SUMMARIES["mean_dice"].function(Counts.from_table(np.stack(tables)), categories.evaluated, None)[0])


def test_perfect_predictions_are_left_alone():
    rng = np.random.default_rng(0)
    items = [(two(t * 0.98 + 0.01), t) for t in (disc(rng) for _ in range(8))]
    found = tune(items)
    assert not found.adopted
    assert found.chain == ()
    assert found.fold_chains == {}
    assert found.gain["value"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_on_three_categories_of_noise_nothing_is_adopted(seed):
    rng = np.random.default_rng(seed)
    items = [
        (rng.dirichlet((1, 1, 1), (SIZE, SIZE)).transpose(2, 0, 1).astype("f4"), rng.integers(0, 3, (SIZE, SIZE), "u1"))
        for _ in range(COUNT)
    ]
    found = tune(items, categories=THREE, metric="pooled_miou")
    assert not found.adopted
    assert found.gain["low"] <= 0


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_that_are_too_low_get_a_lower_threshold(seed):
    items = low(seed)
    found = tune(items)
    assert found.adopted
    assert found.gain["low"] > 0
    assert isinstance(found.chain[0], ThresholdSpec)
    assert found.chain[0].value < 0.5
    assert set(found.fold_chains) == {0, 1, 2, 3}


def test_the_gain_is_that_of_each_fold_under_its_own_chain():
    """The oracle: apply each fold's chain to its images, count afresh."""
    items = low(1, factor=0.55)
    found = tune(items)
    labels = [apply_chain(items[r][0], found.fold_chains[r % 4]) for r in range(COUNT)]
    tables = [overlap_table(items[r][1], labels[r], 2) for r in range(COUNT)]
    mine = SUMMARIES["mean_dice"].function(Counts.from_table(np.stack(tables)), [1], None)[0]
    assert found.gain["value"] == pytest.approx(mine - score(items, (), range(COUNT)))


def test_the_shipped_chain_is_the_best_on_all_folds_among_those_tried():
    items = low(2)
    found = tune(items)
    best = score(items, found.chain, range(COUNT))
    for value in SPEC.thresholds:
        assert best >= score(items, (ThresholdSpec(value=value),), range(COUNT)) - 1e-12


@pytest.mark.parametrize("fold", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_fold_s_chain_never_depends_on_its_own_images(fold, seed):
    """Whatever becomes of a fold's images: the chain that they are scored with stays what it was."""
    rng = np.random.default_rng(seed)
    items = [(two(np.clip(p[1] + rng.normal(0, 0.12, (SIZE, SIZE)), 0, 1)), t) for p, t in low(seed)[:9]]
    folds = [i % 3 for i in range(9)]
    changed = [
        (two(rng.uniform(0, 1, (SIZE, SIZE)) ** rng.uniform(0.2, 5)), disc(rng)) if f == fold else item
        for item, f in zip(items, folds, strict=True)
    ]
    one, two_ = (tune(x, folds) for x in (items, changed))
    assert (fold in one.fold_chains) == one.adopted
    if one.adopted and two_.adopted:
        assert one.fold_chains[fold] == two_.fold_chains[fold]


def test_without_candidates_only_the_clean_up_is_tried():
    found = tune(low(), categories=BINARY, spec=PostprocessSpec(thresholds=(), minimum_areas=()))
    assert found.tried == 2  # as it is, and holes filled
    assert all(step["kind"] == "fill_holes" for step in found.to_plain()["chain"])


def test_specks_are_cleaned_up_where_there_are_more_than_two_categories():
    rng = np.random.default_rng(0)
    items = []
    for _ in range(COUNT):
        truth = disc(rng) * 2
        shown = truth.copy()
        shown[rng.random(truth.shape) < 0.02] = 1
        items.append((np.eye(3, dtype=np.float32)[shown].transpose(2, 0, 1) * 0.9 + 0.03, truth))
    found = tune(items, categories=THREE, metric="mean_iou")
    assert found.adopted
    assert isinstance(found.chain[0], MinimumAreaSpec)
    assert found.to_plain()["chain"][0]["kind"] == "minimum_area"

"""Fitted weights: the right ones by construction, none without a gain, and no fold that chooses its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from maskwright.errors import UsageError
from maskwright.fusion import FUSIONS
from maskwright.metrics import SUMMARIES, Counts, overlap_table
from maskwright.recipe.predict import EvaluateSpec
from maskwright.tune import Mixture, fit_fusion
from maskwright.tune.mixing import counts_of, draw_pixels, fit_greedy, fit_simplex
from maskwright.types import IGNORE, Categories, Category

BINARY = Categories((Category(0, "background"), Category(1, "thing")), frozenset({"background"}))
SIZE, COUNT = 20, 24


def two(foreground):
    return np.stack([1 - foreground, foreground]).astype(np.float32)


def items(*noises, seed=0, count=COUNT):
    """Return (maps, truth) of images: a disc, and members that see it through noise of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        yy, xx = np.mgrid[:SIZE, :SIZE] - rng.uniform(7, 13, 2)[:, None, None]
        truth = (yy**2 + xx**2 < rng.uniform(20, 45)).astype(np.uint8)
        maps = [two(1 / (1 + np.exp(-(3 * (truth - 0.5) + rng.normal(0, n, truth.shape))))) for n in noises]
        found.append((maps, truth))
    return found


def fit(rows, folds=None, cost=None, **options):
    members = {f"m{k}": (cost or [1.0] * 99)[k] for k in range(len(rows[0][0]))}
    return fit_fusion(
        rows.__getitem__,
        folds or [i % 4 for i in range(len(rows))],
        [str(i) for i in range(len(rows))],
        members,
        BINARY,
        metric="mean_dice",
        evaluate=EvaluateSpec(samples=200),
        **options,
    )


def score(rows, mixtures):
    """The oracle: each image fused by its own mixture, NumPy's mean, counted afresh."""
    tables = []
    for (maps, truth), mixture in zip(rows, mixtures, strict=True):
        label = np.average(maps, axis=0, weights=mixture.weights).argmax(0).astype(np.uint8)
        tables.append(overlap_table(truth, label, 2))
    return float(SUMMARIES["mean_dice"].function(Counts.from_table(np.stack(tables)), [1], None)[0])


def drawn(rows, count=10**6):
    return [draw_pixels(maps, truth, count, np.random.default_rng(0)) for maps, truth in rows]


def test_each_category_is_drawn_as_often_and_stands_for_all_its_pixels():
    truth = np.zeros((10, 10), np.uint8)
    truth[0, :3], truth[1] = 1, IGNORE
    maps = [two(np.arange(100).reshape(10, 10) / 100), two(np.zeros((10, 10)))]
    found = draw_pixels(maps, truth, 20, np.random.default_rng(0))
    assert np.bincount(found.truth).tolist() == [10, 3]
    assert found.stands_for[found.truth == 0] == pytest.approx(np.full(10, 87 / 10))
    assert found.stands_for[found.truth == 1] == pytest.approx(np.ones(3))
    assert found.probabilities.shape == (2, 2, 13)
    at = np.rint(found.probabilities[0, 1] * 100).astype(int)
    assert len({*at}) == 13
    assert np.array_equal(truth.ravel()[at], found.truth)


def test_an_image_that_is_all_ignored_gives_no_pixel_and_changes_nothing():
    rows = items(1.0, 2.0, count=6)
    nothing = (rows[0][0], np.full((SIZE, SIZE), IGNORE, np.uint8))
    assert draw_pixels(*nothing, 50, np.random.default_rng(0)).truth.size == 0
    assert fit_simplex(drawn([nothing] * 3), [0, 1]) == (0.5, 0.5)
    assert fit_simplex(drawn([*rows, nothing]), [0, 1]) == pytest.approx(fit_simplex(drawn(rows), [0, 1]), abs=1e-4)


def test_counts_of_all_pixels_are_those_of_the_overlap_table():
    rows = items(1.0, 2.0, count=5)
    found = counts_of(drawn(rows), (0.25, 0.75))
    labels = [np.average(maps, axis=0, weights=(0.25, 0.75)).argmax(0).astype(np.uint8) for maps, _ in rows]
    tables = [overlap_table(truth, label, 2) for (_, truth), label in zip(rows, labels, strict=True)]
    expected = Counts.from_table(np.stack(tables))
    for name in ("tp", "fp", "fn"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


def test_simplex_weights_of_two_are_the_minimum_of_a_line_search():
    rows = items(2.0, 3.0)

    def loss(share):
        values = []
        for (one, other), truth in rows:
            mixed = (1 - share) * one + share * other
            right = -np.log(np.where(truth == 1, mixed[1], mixed[0]))
            values.append((right[truth == 1].mean() + right[truth == 0].mean()) / 2)
        return np.mean(values)

    expected = minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-6}).x
    assert 0.05 < expected < 0.5
    assert fit_simplex(drawn(rows), [0, 1]) == pytest.approx((1 - expected, expected), abs=2e-3)


def test_simplex_weights_meet_the_conditions_of_a_convex_minimum():
    """Karush–Kuhn–Tucker: the mean of q/mixture is 1 for members with a weight, and at most 1 for those without."""
    rows = items(2.0, 3.0, 5.0, 2.5)
    images = drawn(rows)
    weights = np.array(fit_simplex(images, [0, 1, 2, 3]))
    assert weights.sum() == pytest.approx(1)
    slopes = []
    for image in images:
        q = image.probabilities[:, image.truth, np.arange(len(image.truth))].astype(float)
        each = q / (weights @ q)
        slopes.append((each[:, image.truth == 1].mean(1) + each[:, image.truth == 0].mean(1)) / 2)
    slope = np.mean(slopes, 0)
    assert slope[weights > 0] == pytest.approx(np.ones((weights > 0).sum()), abs=5e-3)
    assert slope.max() < 1.005


def test_a_member_of_noise_gets_no_weight_and_only_the_allowed_get_any():
    rows = items(1.0, 1.0)
    noise = np.random.default_rng(5)
    rows = [([*maps, two(noise.uniform(0, 1, truth.shape))], truth) for maps, truth in rows]
    weights = fit_simplex(drawn(rows), [0, 1, 2])
    assert weights[2] < 0.05
    assert fit_simplex(drawn(rows), [1]) == (0, 1, 0)
    assert fit_simplex(drawn(rows), [0, 2])[1] == 0


def test_greedy_by_hand():
    # the best is .5 of a and .5 of b: alone a is best, then b is added; further additions are worse
    table = {(1, 0, 0): 0.6, (0, 1, 0): 0.5, (0, 0, 1): 0.55, (0.5, 0.5, 0): 0.9, (0.5, 0, 0.5): 0.7}

    def score(weights):
        return table.get(weights, 0.1)

    assert fit_greedy(score, [0, 1, 2], (1, 1, 1)) == (0.5, 0.5, 0)
    assert fit_greedy(score, [0, 1, 2], (1, 5, 1), 3) == (0.5, 0, 0.5)  # b is too dear beside a
    assert fit_greedy(score, [0, 1, 2], (1, 5, 1), 1) == (1, 0, 0)
    assert fit_greedy(score, [1, 2], (1, 1, 1)) == (0, 0, 1)
    assert fit_greedy(lambda w: float("nan"), [0, 1], (1, 1)) == (1, 0)


@pytest.mark.parametrize("method", ["simplex", "greedy"])
def test_weights_ship_where_a_poor_member_spoils_the_mean(method):
    rows = items(3.0, 3.0, 12.0, 12.0)
    found = fit(rows, method=method)
    assert found.shipped == "fused"
    assert found.gain.low > 0
    assert min(found.mixture.weights[:2]) > 0.3
    assert sum(found.mixture.weights) == pytest.approx(1)
    assert found.adds["m0"].low > 0
    assert found.adds["m2"].value < found.adds["m0"].value / 3


def test_weights_that_come_to_one_member_are_that_member():
    found = fit(items(1.5, 12.0, 12.0))
    assert found.shipped == "single"
    assert found.gain.low > 0
    assert found.mixture.weights == (1, 0, 0)


@pytest.mark.parametrize("method", ["simplex", "greedy"])
@pytest.mark.parametrize("seed", range(3))
def test_of_equal_members_the_mean_ships(method, seed):
    found = fit(items(3.0, 3.0, 3.0, seed=seed), method=method)
    assert found.shipped == "mean"
    assert found.mixture == Mixture((1 / 3, 1 / 3, 1 / 3))
    assert found.scores["mean"].value > found.scores["single"].value


def test_a_single_member_ships_where_nothing_adds_to_it():
    rows = [([two(truth * 0.9 + 0.05), two(1 - truth), two(1 - truth)], truth) for _, truth in items(1.0)]
    found = fit(rows, method="mean")
    assert found.shipped == "single"
    assert found.mixture.weights == (1, 0, 0)
    assert found.fold_mixtures == dict.fromkeys(range(4), Mixture((1, 0, 0)))


def test_the_scores_are_those_of_each_fold_under_its_own_weights():
    rows = items(3.0, 3.0, 12.0)
    found = fit(rows)
    assert found.shipped == "fused"
    mixtures = [found.fold_mixtures[i % 4] for i in range(COUNT)]
    assert found.scores["fused"].value == pytest.approx(score(rows, mixtures))
    mean = score(rows, [Mixture((1 / 3, 1 / 3, 1 / 3))] * COUNT)
    assert found.scores["mean"].value == pytest.approx(mean)
    assert found.gain.value == pytest.approx(found.scores["fused"].value - mean)
    alone = [score(rows, [Mixture(tuple(float(m == k) for m in range(3)))] * COUNT) for k in range(3)]
    assert [found.scores[f"alone/m{k}"].value for k in range(3)] == pytest.approx(alone)


@pytest.mark.parametrize("method", ["simplex", "greedy"])
def test_a_fold_s_weights_never_depend_on_its_own_images(method):
    rows, others = items(3.0, 3.0, 12.0), items(2.0, 3.0, 12.0, seed=1)
    changed = [others[i] if i % 4 == 2 else row for i, row in enumerate(rows)]
    one, two_ = (fit(x, method=method) for x in (rows, changed))
    assert one.shipped == two_.shipped == "fused"
    assert one.fold_mixtures[2] == two_.fold_mixtures[2]
    assert one.fold_mixtures[1] != two_.fold_mixtures[1]


def test_a_budget_leaves_out_what_is_too_dear_and_compares_with_what_can_be_had():
    rows = items(3.0, 3.0, 1.0)
    found = fit(rows, method="greedy", budget=2.0, cost=[1.0, 1.0, 5.0])
    assert found.against == "single"  # the mean of all takes 7 seconds
    assert found.shipped == "fused"
    assert found.mixture.weights[2] == 0
    assert found.mixture.weights[0] > 0
    assert found.mixture.weights[1] > 0
    assert fit(rows, method="greedy", budget=1.5, cost=[1.0, 1.0, 5.0]).shipped == "single"
    with pytest.raises(UsageError, match=r"m0 1\.00 s, m1 1\.00 s, m2 5\.00 s"):
        fit(rows, method="greedy", budget=0.5, cost=[1.0, 1.0, 5.0])


def test_the_same_again_is_the_same():
    rows = items(1.5, 6.0, 6.0, count=8)
    assert fit(rows) == fit(rows)


def test_ranks_are_fused_by_the_rank_fusion():
    (maps, _), *_ = items(1.0, 2.0, 3.0)
    fusion = FUSIONS["rank"]()
    fusion.add(maps[0], 0.5)
    fusion.add(maps[2], 0.5)
    assert np.array_equal(Mixture((0.5, 0, 0.5), "rank").fuse(maps), fusion.result())

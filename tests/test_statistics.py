"""The bootstrap against simulated data whose spread is known, and its promises."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from maskwright import statistics
from maskwright.errors import UsageError
from maskwright.statistics import (
    Interval,
    bootstrap,
    bootstraps,
    difference_p_value,
    holm,
    paired_difference,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def clustered(seed, groups=30, size=5):
    """Normal values: a group's common part has standard deviation 1, each value's own part 0.5; the mean is 0."""
    source = rng(seed)
    group = np.repeat(np.arange(groups), size)
    return source.normal(size=groups)[group] + source.normal(scale=0.5, size=groups * size), group


def covers(interval, truth):
    return interval.low <= truth <= interval.high


def test_interval_of_a_clustered_mean_covers_the_truth():
    # 95 % intervals from 30 groups: the percentile bootstrap takes the variance with divisor G and normal quantiles,
    # so about 94 % are expected; 300 trials have a standard error of 1.4 %. Without groups they are too narrow:
    # a variance of 1.25 / 150 instead of 1.05 / 30, standard errors in the ratio 0.49, 1 - 2 P(Z > 1.96 * 0.49) = 0.66.
    honest = naive = 0
    for trial in range(300):
        values, group = clustered(trial)
        honest += covers(bootstrap(mean_of(values), 150, groups=group, samples=200, rng=rng(trial)), 0)
        naive += covers(bootstrap(mean_of(values), 150, samples=200, rng=rng(trial)), 0)
    assert 0.89 <= honest / 300 <= 0.98
    assert 0.58 <= naive / 300 <= 0.74


def test_width_is_that_of_the_analytic_standard_error():
    values = rng(1).normal(size=200)
    interval = bootstrap(mean_of(values), 200, samples=8000, rng=rng(2))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(200), rel=0.04)
    values, group = clustered(3)
    interval = bootstrap(mean_of(values), 150, groups=group, samples=8000, rng=rng(4))
    of_groups = values.reshape(30, 5).mean(axis=1)  # groups of one size: the mean of all is the mean of group means
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * of_groups.std() / math.sqrt(30), rel=0.06)


def test_lower_confidence_is_narrower():
    values = rng(5).normal(size=100)
    wide, narrow = (bootstrap(mean_of(values), 100, confidence=c, rng=rng()) for c in (0.95, 0.5))
    # quantiles of the normal distribution: 0.674 and 1.960
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(0.674 / 1.960, rel=0.1)


def drawn(groups, samples, source):
    """Return the (samples, n) weights that a statistic is given."""
    seen = []

    def statistic(weights):
        seen.append(weights)
        return weights[:, 0]

    bootstrap(statistic, len(groups), groups=groups, samples=samples, rng=source)
    return np.concatenate(seen[1:])  # the first are the images as they are


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=12), st.integers(1, 20))
def test_groups_are_drawn_whole(groups, samples):
    assume(len(set(groups)) > 1)  # of one group alone there is no interval
    weights = drawn(groups, samples, rng())
    assert weights.shape == (samples, len(groups))
    assert weights.dtype == np.float64
    first = [groups.index(g) for g in groups]
    assert np.array_equal(weights, weights[:, first])  # images of a group have one weight
    assert (weights[:, sorted(set(first))].sum(axis=1) == len(set(groups))).all()  # as many draws as groups


def test_multiplicities_are_those_of_drawing_with_replacement():
    # each of G draws hits a group with probability 1/G: mean 1, variance 1 - 1/G
    weights = drawn(np.arange(10), 20_000, rng())
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.03)
    assert weights.var(axis=0) == pytest.approx(np.full(10, 0.9), abs=0.04)


def test_blocks_change_nothing(monkeypatch):
    values, group = clustered(6)
    whole = bootstrap(mean_of(values), 150, groups=group, samples=100, rng=rng())
    calls = []

    def statistic(weights):
        calls.append(len(weights))
        return mean_of(values)(weights)

    monkeypatch.setattr(statistics, "_LARGEST_BLOCK", 150 * 7)
    found = bootstrap(statistic, 150, groups=group, samples=100, rng=rng())
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(whole), rel=1e-12)
    assert calls == [1, *[7] * 14, 2]


def test_two_draws_are_one_longer_draw():
    source = rng()
    parts = [drawn(np.arange(7), k, source) for k in (3, 4)]
    assert np.array_equal(np.concatenate(parts), drawn(np.arange(7), 7, rng()))


def test_resamples_without_a_value_are_left_out():
    values = np.array([1.0, 2.0, np.nan, np.nan])
    known = ~np.isnan(values)

    def statistic(weights):
        total = weights @ known
        return np.divide(weights @ np.nan_to_num(values), total, out=np.full(len(weights), np.nan), where=total > 0)

    interval = bootstrap(statistic, 4, rng=rng())  # 1 in 16 resamples holds neither known value
    assert interval == Interval(1.5, 1.0, 2.0, 4)


@pytest.mark.parametrize(
    ("values", "groups", "value"),
    [
        ([3.0], None, 3.0),
        ([1.0, 2.0, 6.0], ["one", "one", "one"], 3.0),
        ([np.nan, np.nan], None, np.nan),
    ],
)
def test_no_interval(values, groups, value):
    interval = bootstrap(mean_of(np.array(values)), len(values), groups=groups, rng=rng())
    assert interval.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.n == len(values)


def test_no_images():
    interval = bootstrap(lambda weights: np.full(len(weights), np.nan), 0, rng=rng())
    assert interval.n == 0
    assert np.isnan([interval.value, interval.low, interval.high]).all()


def test_difference_is_paired():
    # b is a plus a constant: resampled together, every difference is that constant; apart, each mean varies by 0.1
    values = rng(7).normal(size=100)
    interval = paired_difference(mean_of(values + 0.25), mean_of(values), 100, rng=rng())
    assert [interval.value, interval.low, interval.high] == pytest.approx([0.25] * 3)


def test_difference_is_the_bootstrap_of_the_difference():
    a, group = clustered(8)
    b, _ = clustered(9)
    of_two = paired_difference(mean_of(a), mean_of(b), 150, groups=group, samples=300, rng=rng())
    of_one = bootstrap(mean_of(a - b), 150, groups=group, samples=300, rng=rng())
    assert [of_two.value, of_two.low, of_two.high] == pytest.approx([of_one.value, of_one.low, of_one.high])
    swapped = paired_difference(mean_of(b), mean_of(a), 150, groups=group, samples=300, rng=rng())
    assert [-swapped.value, -swapped.high, -swapped.low] == pytest.approx([of_two.value, of_two.low, of_two.high])


def test_the_same_seed_gives_the_same_interval():
    values = rng(10).normal(size=20)
    assert bootstrap(mean_of(values), 20, rng=rng(1)) == bootstrap(mean_of(values), 20, rng=rng(1))
    assert bootstrap(mean_of(values), 20, rng=rng(1)) != bootstrap(mean_of(values), 20, rng=rng(2))


@pytest.mark.parametrize(
    "wrong", [{"groups": ["a", "b"]}, {"samples": 0}, {"confidence": 1.0}, {"confidence": 0.0}, {"confidence": 95}]
)
def test_wrong_use(wrong):
    with pytest.raises(UsageError, match="3 group names, at least 1 resample"):
        bootstrap(mean_of(np.ones(3)), 3, rng=rng(), **wrong)


def test_several_numbers_on_the_same_resamples_are_those_of_each():
    a, group = clustered(11)
    b, _ = clustered(12)

    def both(weights):
        return np.stack([mean_of(a)(weights), mean_of(b)(weights)], axis=1)

    found = bootstraps(both, 150, groups=group, samples=300, confidence=0.9, rng=rng(5))
    for values, interval in zip((a, b), found, strict=True):
        assert interval == bootstrap(mean_of(values), 150, groups=group, samples=300, confidence=0.9, rng=rng(5))
    alone = bootstraps(both, 150, groups=[0] * 150, rng=rng())
    assert [one.value for one in alone] == pytest.approx([a.mean(), b.mean()])
    assert all(math.isnan(one.low) for one in alone)


def test_p_values_are_uniform_where_nothing_differs_and_small_where_something_does():
    # 200 pairs without a difference: the smallest fifth of p-values holds about a fifth (standard error 2.8 %, and
    # percentile bootstraps of 40 values are a little too sure)
    found = []
    for seed in range(200):
        source = rng(seed)
        a, b = source.normal(size=(2, 40))
        found.append(difference_p_value(mean_of(a), mean_of(b), 40, samples=200, rng=rng(seed)))
    assert 0.12 <= np.mean(np.array(found) < 0.2) <= 0.3
    values = rng(7).normal(size=40)
    # all 400 resamples are above 0: 2 * (0 + 1) / (400 + 1)
    assert difference_p_value(mean_of(values + 1), mean_of(values), 40, samples=400, rng=rng()) == 2 / 401
    assert difference_p_value(mean_of(values), mean_of(values), 40, rng=rng()) == 1  # equal: each is on both sides
    assert math.isnan(difference_p_value(mean_of(values), mean_of(values), 40, groups=[0] * 40, rng=rng()))


def test_the_p_value_is_below_a_level_where_the_interval_of_that_level_leaves_out_zero():
    a, b = rng(3).normal(size=(2, 60))
    b = b - 0.5
    p = difference_p_value(mean_of(a), mean_of(b), 60, samples=2000, rng=rng(1))
    for confidence in (0.8, 0.9, 0.95, 0.99, 0.999):
        interval = paired_difference(mean_of(a), mean_of(b), 60, samples=2000, confidence=confidence, rng=rng(1))
        if abs(p - (1 - confidence)) > 0.003:  # the counts of the p-value have one added
            assert (p < 1 - confidence) == (interval.low > 0)


def test_holm_by_hand():
    # sorted .01 × 3, .03 × 2, .04 × 1, each at least the one before
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []
    unknown = holm([math.nan, 0.02])
    assert math.isnan(unknown[0]) and unknown[1] == pytest.approx(0.04)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_step_down_procedure_does(p_values, level):
    rejected = set()
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[k] * (len(p_values) - rank) > level:
            break
        rejected.add(k)
    adjusted = holm(p_values)
    assert {k for k, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= min(1, len(p_values) * own) for p, own in zip(adjusted, p_values, strict=True))  # Bonferroni

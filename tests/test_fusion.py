"""Fusion: means and ranks worked by hand and by SciPy, one map at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maskwright.fusion import FUSIONS, MeanFusion, RankFusion

BOTH = pytest.mark.parametrize("name", sorted(FUSIONS))


def maps(seed, categories=3, size=(4, 5)):
    return np.random.default_rng(seed).dirichlet([0.7] * categories, size).transpose(2, 0, 1).astype(np.float32)


def fused(name, members, weights=None):
    fusion = FUSIONS[name]()
    for member, weight in zip(members, weights or [1.0] * len(members), strict=True):
        fusion.add(member, weight)
    return fusion.result()


@BOTH
@given(st.integers(2, 4), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_members_that_agree_are_what_comes_out(name, categories, height, width, count):
    one = maps(0, categories, (height, width))
    assert fused(name, [one] * count) == pytest.approx(one, abs=1e-6)


@BOTH
def test_what_sums_to_one_goes_on_to_and_nothing_is_changed(name):
    members = [maps(seed) for seed in range(3)]
    before = [member.copy() for member in members]
    found = fused(name, members, [0.2, 3, 1])
    assert found.dtype == np.float32
    assert found.sum(0) == pytest.approx(np.ones((4, 5)), abs=1e-6)
    assert found.min() >= 0
    assert all(np.array_equal(a, b) for a, b in zip(members, before, strict=True))


@BOTH
def test_the_order_of_members_and_the_unit_of_weights_change_nothing(name):
    members, weights = [maps(seed) for seed in range(3)], [1.0, 2.0, 0.5]
    found = fused(name, members, weights)
    assert fused(name, members[::-1], weights[::-1]) == pytest.approx(found, abs=1e-6)
    assert fused(name, members, [10 * w for w in weights]) == pytest.approx(found, abs=1e-6)


@BOTH
def test_a_whole_weight_is_as_many_members(name):
    one, two = maps(0), maps(1)
    assert fused(name, [one, two], [2, 1]) == pytest.approx(fused(name, [one, one, two]), abs=1e-6)


def test_the_mean_is_numpys():
    members, weights = [maps(seed) for seed in range(3)], [1.0, 2.0, 0.5]
    assert fused("mean", members, weights) == pytest.approx(np.average(members, axis=0, weights=weights), abs=1e-6)


def test_ranks_by_hand():
    # foreground of a: .9 .6 .2 .1, ranks 3 2 1 0; of b: .3 .4 .2 .1, ranks 2 3 1 0; mean ranks 2.5 2.5 1 0
    # sorted a: .1 .2 .6 .9, b: .1 .2 .3 .4; mean quantiles .1 .2 .45 .65; at 2.5: (.45 + .65) / 2 = .55
    a, b = (
        np.array([[[1 - p for p in row]], [row]], np.float32) for row in ([0.9, 0.6, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1])
    )
    assert fused("rank", [a, b])[1, 0] == pytest.approx([0.55, 0.55, 0.2, 0.1])


def test_a_doubtful_member_counts_as_much_as_a_sure_one():
    """The order of pixels by rank fusion is that of the mean rank, however one member's values are bent."""
    a, b = maps(0, 2, (6, 7))[1], maps(1, 2, (6, 7))[1]
    expected = stats.rankdata(stats.rankdata(a) + stats.rankdata(b))
    for bent in (b, b**5, 0.01 + 0.02 * b):
        found = fused("rank", [np.stack([1 - p, p]) for p in (a, bent)])[1]
        assert stats.spearmanr(found.ravel(), expected).statistic == pytest.approx(1, abs=1e-3)


def test_of_two_categories_one_is_the_others_complement():
    found = fused("rank", [maps(seed, 2) for seed in range(3)])
    turned = fused("rank", [maps(seed, 2)[::-1] for seed in range(3)])
    assert found == pytest.approx(turned[::-1], abs=1e-6)


def test_ties_and_certainty_are_values_like_others():
    half = np.full((2, 3, 3), 0.5, np.float32)
    sure = np.stack([np.ones((3, 3)), np.zeros((3, 3))]).astype(np.float32)
    # every rank is the middle one; the mean of the quantiles .5 and 1 (or 0) is .75 (or .25)
    assert fused("rank", [half, sure])[0] == pytest.approx(np.full((3, 3), 0.75))
    assert fused("rank", [sure])[0] == pytest.approx(np.ones((3, 3)))


def test_a_fusion_of_nothing_is_our_own_fault():
    for make in (MeanFusion, RankFusion):
        with pytest.raises(AssertionError, match="no member"):
            make().result()

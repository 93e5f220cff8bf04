"""The choice of what to label next, by numbers that are worked by hand."""

import numpy as np
import pytest

from maskwright.review.query import Candidate, choose, tail_entropy


def test_one_after_the_other_by_worth():
    """Features on a line; those with a mask lie at 0. Distances .5, 2, 2, 9: their median, at the start, is 2.

    Ranks of .2, .4, .4, .6 are 1/4, 3/4, 3/4, 1. Worth: a 1/4 · 1/5, b 3/4 · 2/4, c the same, d 1 · 9/11: d first.
    Then b, at 2 of 0 and 7 of d, stays as it was: 3/8, and is the first of the two; c, at the same place, is then 0
    and a, at .5 of 0, stays 1/20.
    """
    found = [Candidate(name, u) for name, u in (("a", 0.2), ("b", 0.4), ("c", 0.4), ("d", 0.6))]
    picked = choose(found, np.array([[0.5], [2.0], [2.0], [9.0]]), {"m": np.zeros(1)}, 4)
    assert [one.candidate.image for one in picked] == ["d", "b", "a", "c"]
    assert [one.worth for one in picked] == pytest.approx([9 / 11, 3 / 8, 1 / 20, 0])
    assert [one.nearest for one in picked] == ["m", "m", "m", "b"]


def test_need_groups_and_copies_count():
    table, anchors = np.array([[1.0], [-1.0], [1.0]]), {"m": np.zeros(1)}
    found = [Candidate("a", 0.5), Candidate("b", 0.5, need=1.0, category="rock"), Candidate("c", 0.5)]
    assert choose(found, table, anchors, 1)[0].candidate.image == "b"  # the same but for the need: 3/2 as much
    assert len(choose(found, table, anchors, 9, copies={"a": 0, "b": 0})) == 2
    found = [Candidate("a", 0.5, group="p"), Candidate("b", 0.5, group="p"), Candidate("c", 0.5), Candidate("d", 0.1)]
    around = np.array([[1.0, 0], [-1.0, 0], [0, 1.0], [0, -1.0]])  # all as far from the mask, and from each other more
    picked = choose(found, around, {"m": np.zeros(2)}, 4)
    assert [one.candidate.image for one in picked] == ["a", "c", "b", "d"]
    assert [one.worth for one in picked] == pytest.approx([0.5, 0.5, 0.8 * 0.5, 0.25 * 0.5])  # a and b are one group


def test_without_a_mask_anywhere_the_first_is_the_most_uncertain():
    found = [Candidate(name, u) for name, u in (("a", 0.2), ("b", 0.9), ("c", 0.8))]
    picked = choose(found, np.array([[0.0], [0.0], [1.0]]), {}, 3)
    assert [one.candidate.image for one in picked] == ["b", "c", "a"]  # a looks as b does
    assert choose([], np.empty((0, 3)), {}, 3) == []
    same = choose(found, np.zeros((3, 2)), {"m": np.zeros(2)}, 2)  # nothing varies: no number is made up
    assert len(same) == 2
    assert all(np.isfinite(one.worth) for one in same)


def test_the_tail_of_the_entropy():
    assert tail_entropy(np.array([0.25])) == 0.25
    assert tail_entropy(np.r_[np.zeros(90), np.full(10, 0.5)]) == 0.5

"""The search itself, on values that a table states."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.metrics import Counts
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, PostprocessSpec, ThresholdSpec
from maskwright.recipe.steps import FavourSpec, MajoritySpec, SelectSpec, SmoothSpec
from maskwright.tune.search import PASSES, Search, run_searches, slots_of

SMOOTH, BLUR = SmoothSpec(sigma=1), SmoothSpec(sigma=2)
LOW, HIGH = ThresholdSpec(value=0.3), ThresholdSpec(value=0.7)
AREA, HOLES = MinimumAreaSpec(pixels=5), FillHolesSpec()
SLOTS = [(SMOOTH, BLUR), (LOW, HIGH), (AREA,), (HOLES,)]


class Table:
    """Takes the place of `ChainCounts`: the "counts" of a chain are its value on each of two images."""

    def __init__(self, values):
        self.values, self.rows, self.found, self.asked = values, 2, {}, []

    def missing(self, chains):
        return [chain for chain in dict.fromkeys(chains) if chain not in self.found]

    def add(self, chains):
        self.asked.append(list(chains))
        for chain in chains:
            value = np.broadcast_to(np.float64(self.values(chain)), 2)[:, None]
            self.found[chain] = Counts(value, value, value)
        yield from range(2)


def search(values, seen=(1, 1), budget=1000, slots=SLOTS):
    table, one = Table(values), Search(np.float64([seen]), budget, [None] * len(slots))
    run_searches([one], slots, table, lambda counts, w: w @ counts.tp[:, 0] / w.sum())
    return one, table


def test_each_place_takes_its_best_with_the_rest_as_it_stands():
    """Of .5 a low threshold takes .1 away, but with smoothing it adds .2: found in the second round."""

    def value(chain):
        gain = 0.1 * (HIGH in chain) - 0.1 * (LOW in chain) + 0.05 * (BLUR in chain) + 0.01 * (AREA in chain)
        return 0.5 + gain + 0.3 * (LOW in chain and BLUR in chain)

    one, table = search(value)
    assert one.chain == (BLUR, LOW, AREA)
    assert one.value == pytest.approx(0.76)
    assert [chain for chain, _ in one.trail] == [(), (HIGH,), (BLUR, HIGH), (BLUR, HIGH, AREA), (BLUR, LOW, AREA)]
    assert not one.open
    assert table.asked[0] == [()]
    assert table.asked[1] == [(LOW,), (HIGH,)]  # what decides on the foreground comes first
    assert len(one.tried) == len(table.found) < 3 * 3 * 2 * 2


def test_a_step_that_has_become_idle_is_left_out_again():
    def value(chain):
        return 0.5 + (0.1 if AREA in chain or HOLES in chain else 0) + (0.1 if HOLES in chain else 0)

    assert search(value)[0].chain == (HOLES,)


def test_equal_ones_end_with_the_fewest_steps_and_the_first():
    assert search(lambda chain: 0.5)[0].chain == ()
    assert search(lambda chain: 0.5 + bool(chain))[0].chain == (LOW,)
    assert search(lambda chain: 0.5 + 1e-12 * len(chain))[0].chain == ()  # rounding is no gain


def test_what_has_no_value_is_never_taken():
    assert search(lambda chain: float("nan") if chain else 0.2)[0].chain == ()
    assert search(lambda chain: float("nan"))[0].chain == ()
    assert search(lambda chain: float("nan") if not chain else 0.2)[0].chain == ()  # better than what?


@pytest.mark.parametrize("budget", [1, 2, 4, 6, 9])
def test_a_budget_is_the_number_of_chains(budget):
    one, table = search(lambda chain: 0.5 + 0.01 * len(chain), budget=budget)
    assert len(one.tried) == len(table.found) == budget
    assert one.chain in one.tried


def test_searches_share_what_they_count_but_no_decision():
    """The first sees the first image alone, where holes help; the second the second, where areas do."""

    def value(chain):
        return [0.5 + 0.1 * (HOLES in chain), 0.5 + 0.1 * (AREA in chain)]

    table = Table(value)
    both = [Search(np.float64([seen]), 1000, [None] * 4) for seen in ((1, 0), (0, 1))]
    run_searches(both, SLOTS, table, lambda counts, w: w @ counts.tp[:, 0] / w.sum())
    assert [one.chain for one in both] == [(HOLES,), (AREA,)]
    alone = [search(value, seen)[0] for seen in ((1, 0), (0, 1))]
    assert [(one.tried, one.trail) for one in both] == [(one.tried, one.trail) for one in alone]
    assert len(table.found) == len(both[0].tried | both[1].tried) < sum(len(one.tried) for one in both)


def test_it_ends_even_if_every_round_changes_something():
    order = {}
    one, _ = search(lambda chain: order.setdefault(chain, len(order)), slots=[(LOW, HIGH), (AREA,), (HOLES,)])
    assert len(one.trail) <= 1 + 3 * PASSES


def slots(categories, *plain):
    return slots_of(PostprocessSpec.model_validate({"search": plain}).search, 10_000, categories)


LISTED = (
    {"kind": "minimum_area", "pixels": [4, 4, 9]},
    {"kind": "select", "drop": 0.1, "high": 0.5, "lower": 0.2},
    {"kind": "majority"},
    {"kind": "threshold", "value": 0.4},
    {"kind": "fill_holes"},
    {"kind": "smooth"},
)


def test_places_stand_in_the_order_of_a_chain():
    assert slots(2, *LISTED) == [
        (SmoothSpec(),),
        (SelectSpec(drop=0.1, high=0.5, lower=0.2), ThresholdSpec(value=0.4)),
        (MinimumAreaSpec(pixels=4), MinimumAreaSpec(pixels=9)),
        (MajoritySpec(),),
        (FillHolesSpec(),),
    ]
    assert [slot[0].kind for slot in slots(3, *LISTED)] == ["smooth", "minimum_area", "majority", "fill_holes"]


def test_categories_have_places_of_their_own():
    entry = {"kind": "favour", "factor": [0.5, 2], "by_category": True}
    assert slots(3, entry) == [tuple(FavourSpec(category=c, factor=f) for f in (0.5, 2)) for c in (1, 2)]
    assert slots(2, entry) == [tuple(FavourSpec(category=1, factor=f) for f in (0.5, 2))]
    assert slots(2, entry, {"kind": "threshold"}) == [(ThresholdSpec(),)]  # which does the same


def test_categories_have_thresholds_of_their_own():
    entries = [{"kind": "threshold", "value": v, "by_category": True} for v in (0.3, 0.4)]
    both = [tuple(ThresholdSpec(value=v, category=c) for v in (0.3, 0.4)) for c in (1, 2)]
    assert slots(3, *entries, {"kind": "threshold"}) == both
    # of two categories there is one foreground
    assert slots(2, *entries, {"kind": "threshold"}) == [
        (ThresholdSpec(value=0.3, category=1), ThresholdSpec(value=0.4, category=1), ThresholdSpec())
    ]


def test_the_default_fits_both_kinds_of_task():
    two, three = (slots_of(PostprocessSpec().search, 400_000, n) for n in (2, 3))
    assert [slot[0].kind for slot in two] == [
        "smooth", "threshold", "majority", "opening", "closing", "fill_holes", "minimum_area", "largest",
    ]  # fmt: skip
    assert [slot[0].kind for slot in three] == [
        "smooth", "favour", "favour", "majority", "opening", "closing", "fill_holes", "minimum_area", "largest",
    ]  # fmt: skip

"""What rounds cost against the supervised training, counted by hand."""

from __future__ import annotations

import pytest

from maskwright.recipe.effort import all_rounds, effort_behind, effort_of_round, said_of
from maskwright.recipe.selftrain import HardSpec, SelftrainSpec

RELABELS = {"kind": "pseudo_labels", "images": {"kind": "agreement"}}


@pytest.mark.parametrize(
    ("section", "steps", "passes"),
    [
        ({}, 1, 1),  # pseudo-labels: the steps of the supervised training, on both
        ({"protocol": "pretrain_mixed"}, 1, 1),  # shared out between pretraining and the rest
        ({"method": RELABELS}, 2, 2),  # two trainings
        ({"method": {"kind": "fixmatch"}}, 1, 7 / 3),  # labelled + weak + strong forward, two of them backward: 3 + 2·2
        ({"method": RELABELS, "protocol": "labelled_only", "hard": HardSpec()}, 1, 1),  # nobody labels
        ({"start": "before"}, 1, 1),
    ],
)
def test_a_round_by_itself(section, steps, passes):
    assert effort_of_round(SelftrainSpec.model_validate(section)) == pytest.approx((steps, passes))


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        ({"kind": "fixmatch", "batch": 32}, 19 / 3),  # 8 labelled: 1 + 4·2 forward, of which 1 + 4 backward
        ({"kind": "fixmatch", "batch": 8}, 7 / 3),
        ({"kind": "norm_adaptation", "batch": 32}, 7 / 3),  # 1 + 4 forward, 1 backward
        ({"kind": "sac", "views": 4, "labelled_share": 0.75}, 6.25 / 3),  # .75 + .25·8 forward, .75 + .25·4 backward
        ({"kind": "sac", "views": 4, "labelled_share": 0.25}, 4.25),  # .25 + .75·8, .25 + .75·4: (6.25 + 6.5) / 3
        ({"kind": "sac", "views": 4, "batch": 16}, 35 / 3),  # 1 + 2·8, 1 + 2·4: (17 + 18) / 3
    ],
)
def test_as_many_images_of_the_pool_as_a_step_has(method, passes):
    spec = SelftrainSpec.model_validate({"method": method, "start": "fresh", "rounds": 2})
    assert effort_of_round(spec, 8) == pytest.approx((1, passes))
    assert effort_behind(spec, 1, 8).passes == pytest.approx(passes)
    assert all_rounds(spec, 8) == pytest.approx(2 * passes)


def test_what_goes_on_has_learned_in_all_rounds_before():
    before = SelftrainSpec(start="before")
    assert [effort_behind(before, number).steps for number in range(4)] == [1, 2, 3, 4]
    assert [effort_behind(SelftrainSpec(), number).steps for number in range(4)] == [1, 1, 1, 1]
    sac = SelftrainSpec.model_validate({"method": {"kind": "sac"}})
    passes = sac.method.passes
    each = (passes.forward + 2 * passes.backward) / 3
    assert effort_behind(sac, 1) == pytest.approx((2, 1 + each))  # it starts from the network of its fold


def test_a_budget_counts_all_rounds():
    assert all_rounds(SelftrainSpec()) == 0
    assert all_rounds(SelftrainSpec(rounds=3)) == 3
    assert all_rounds(SelftrainSpec.model_validate({"rounds": 2, "method": RELABELS})) == 4


def test_it_is_said_where_a_round_costs_more_and_not_where_it_costs_the_same():
    assert said_of(effort_behind(SelftrainSpec(), 1)) == ""
    longer = said_of(effort_behind(SelftrainSpec(start="before"), 1))
    assert longer.startswith("learned 2 times the steps of the supervised training, at 2 times its passes")
    dearer = said_of(effort_behind(SelftrainSpec.model_validate({"method": {"kind": "fixmatch"}, "start": "fresh"}), 1))
    assert dearer.startswith("learned as many steps as the supervised training, at 2.33 times its passes")

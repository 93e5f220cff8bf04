"""What a verdict says of how often such choices were right is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskwright.selftrain.track_record import ADOPTED, DEFAULT_ADOPTED, DEFAULT_LEFT, LEFT, said_of_choices

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "selftrain_choice.json"


@pytest.mark.parametrize(
    ("row", "adopted", "left"), [("all rounds", ADOPTED, LEFT), ("ours", DEFAULT_ADOPTED, DEFAULT_LEFT)]
)
def test_the_figures_are_those_of_the_result_file(row, adopted, left):
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"][row]["details"]
    rounds = measured["rounds"]
    assert (measured["adopted"], measured["adopted and better"]) == adopted
    assert (len(rounds) - measured["adopted"], measured["left and not better"]) == left
    assert sum(one["adopted"] for one in rounds) == adopted.rounds


def test_every_round_of_the_table_of_few_labels_is_counted():
    rows = json.loads(RESULTS.with_name("few_labels.json").read_text(encoding="utf-8"))["rows"]
    for label, counted in (("ours", (DEFAULT_ADOPTED, DEFAULT_LEFT)), ("", (ADOPTED, LEFT))):
        told = [row["details"].get("adopted by the rule", {}) for name, row in rows.items() if name.endswith(label)]
        adopted = [value for one in told for value in one.values()]
        assert (sum(adopted), len(adopted) - sum(adopted)) == tuple(choices.rounds for choices in counted)


def test_it_says_what_became_of_such_choices():
    assert f"adopted {ADOPTED.rounds} of {ADOPTED.rounds + LEFT.rounds} rounds" in said_of_choices(True)
    assert f"of which {LEFT.right} would have been no better on held-out images" in said_of_choices(False)
    assert f"of the default method {DEFAULT_LEFT.rounds} of" in said_of_choices(False)

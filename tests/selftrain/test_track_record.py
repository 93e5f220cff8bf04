"""What a verdict says of how often such choices were right is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from maskwright.selftrain.track_record import ADOPTED, LEFT, said_of_choices

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "selftrain_choice.json"


def test_the_figures_are_those_of_the_result_file():
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]["all rounds"]["details"]
    rounds = measured["rounds"]
    assert (measured["adopted"], measured["adopted and better"]) == ADOPTED
    assert (len(rounds) - measured["adopted"], measured["left and not better"]) == LEFT
    assert sum(one["adopted"] for one in rounds) == ADOPTED.rounds


def test_it_says_what_became_of_such_choices():
    assert f"adopted {ADOPTED.rounds} of {ADOPTED.rounds + LEFT.rounds} rounds" in said_of_choices(True)
    assert f"of which {LEFT.right} would have been no better on held-out images" in said_of_choices(False)

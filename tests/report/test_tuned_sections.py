"""What the report and the command line say of the choice of post-processing."""

from __future__ import annotations

import pytest

from maskwright.report.tuned_sections import chain_words, fold_rows, gain_rows, tuned_group, vanished

THRESHOLD = {"kind": "threshold", "value": 0.35}
AREA = {"kind": "minimum_area", "pixels": 40, "category": None}
OTHER = {"kind": "threshold", "value": 0.4}


def gain(value, spread=0.01):
    return {"value": value, "low": value - spread, "high": value + spread}


def tuned(naive=0.04, real=0.03, held=None, **changes):
    known = {
        "adopted": True,
        "chain": [THRESHOLD, AREA],
        "best": [THRESHOLD, AREA],
        "gain": gain(real),
        "naive_gain": gain(naive),
        "held_out_gain": held,
        "tried": 12,
        "metric": "mean_dice",
        "fitted_on": "out-of-fold predictions",
        "agreement": 2 / 3,
        "folds": [
            {"fold": 0, "chain": [THRESHOLD, AREA], "inside": 0.04, "outside": 0.02},
            {"fold": 1, "chain": [THRESHOLD, AREA], "inside": 0.041, "outside": 0.04},
            {"fold": 2, "chain": [OTHER], "inside": 0.039, "outside": None},
        ],
        "trail": [{"chain": [], "gain": 0.0}, {"chain": [THRESHOLD], "gain": 0.03}],
        "candidates": [
            {"kind": "threshold", "number": 2, "steps": [THRESHOLD, OTHER]},
            {"kind": "minimum_area", "number": 1, "steps": [AREA]},
        ],
    }
    return known | changes


def text_of(group):
    cells = [cell for table in group.tables for row in (table.head, *table.rows) for cell in row]
    return "\n".join([*group.words, *cells])


def test_a_quarter_of_the_naive_gain_vanishes():
    # 1 - .03 / .04
    assert vanished(tuned()) == (
        "A search fitted and scored on the same images claims +0.0400; on folds that had no part in the choice it is "
        "+0.0300, so 25.0 % of it vanishes."
    )
    said = vanished(tuned(held=gain(0.02)))
    assert said.endswith("the chain gains +0.0200 (+0.0100 to +0.0300).")


@pytest.mark.parametrize(
    ("naive", "real", "said"),
    [
        (0.04, -0.02, "150.0 % of it vanishes"),
        (0.04, 0.05, "nothing of it vanishes"),
        (0.0, 0.0, "No chain gained anything"),
        (None, None, "No chain gained anything"),
    ],
)
def test_other_outcomes(naive, real, said):
    known = tuned(
        naive_gain={"value": naive, "low": None, "high": None}, gain={"value": real, "low": None, "high": None}
    )
    assert said in vanished(known)


def test_rows_of_gains_and_folds():
    head, rows = gain_rows(tuned(held=gain(0.02)))
    assert len(head) == 3
    assert [row[1:] for row in rows] == [
        ("+0.0400 (+0.0300 to +0.0500)", "–"),
        ("+0.0300 (+0.0200 to +0.0400)", "25.0 %"),
        ("+0.0200 (+0.0100 to +0.0300)", "50.0 %"),
    ]
    assert len(gain_rows(tuned())[1]) == 2
    assert fold_rows(tuned())[1][2] == ("2", "threshold 0.4", "+0.0390", "–")


def test_the_report_tells_what_was_tried_and_how_stable_the_choice_is():
    said = text_of(tuned_group(tuned()))
    for words in (
        "Adopted: threshold 0.35 → minimum_area 40.",
        "2 of 3 folds chose the same chain",
        "threshold 3, minimum_area 2",
        "value 0.35, 0.4",
        "25.0 %",
    ):
        assert words in said, words


def test_a_chain_by_which_objects_are_lost_is_told():
    said = text_of(tuned_group(tuned(adopted=False, chain=[], pq_gain=gain(-0.2))))
    assert "Not adopted: it gains +0.0300 (+0.0200 to +0.0400) in mean_dice, and " in said
    assert "0.2000 (" in said and "in the PQ of objects." in said


def test_a_refused_chain_is_named():
    said = text_of(tuned_group(tuned(adopted=False, chain=[], real=0.001)))
    assert "Not adopted: the gain of threshold 0.35 → minimum_area 40 is not there: its interval holds 0." in said
    said = text_of(tuned_group(tuned(adopted=False, chain=[], best=[], naive=0.0, real=0.0)))
    assert "Not adopted: no step makes it better." in said


def test_runs_of_earlier_versions_and_stated_chains():
    old = {"adopted": True, "chain": [AREA], "gain": gain(0.004), "fitted_on": "fold 0 for fold 1"}
    assert "Gain: +0.0040 (-0.0060 to +0.0140)." in text_of(tuned_group(old))
    stated = {"adopted": True, "chain": [AREA], "fold_chains": {}, "gain": None, "fitted_on": "stated in the recipe"}
    assert tuned_group(stated).words == ["Adopted: minimum_area 40.", "Fitted on stated in the recipe."]
    none = {"adopted": False, "chain": [], "fold_chains": {}, "gain": None, "fitted_on": "nothing: one fold"}
    assert tuned_group(none).words[0] == "No post-processing was chosen."


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kind": "smooth", "weights": "gaussian", "sigma": 2.0, "size": 3}, "smooth 2.0"),
        ({"kind": "smooth", "weights": "box", "sigma": 1.0, "size": 5}, "smooth 5 (weights box)"),
        ({"kind": "fill_holes", "pixels": None, "edges": "none", "background": 4}, "fill_holes"),
        ({"kind": "closing", "category": 2, "size": 9}, "closing 9 (category 2)"),
        ({"kind": "select", "drop": 0.2, "high": 0.7, "lower": 0.3, "ratio": 0.0}, "select 0.7 (drop 0.2, lower 0.3)"),
        ({"kind": "largest", "category": None}, "largest"),
    ],
)
def test_steps_in_words(step, said):
    assert chain_words([step]) == said

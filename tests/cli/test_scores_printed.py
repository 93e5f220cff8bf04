"""The table of scores, and that of domains, parts and sources alone, as they are printed."""

from __future__ import annotations

from maskwright.cli.run import print_scores, score_rows

SCORE = {"value": 0.5, "low": None, "high": None, "n": 3}


def test_a_category_s_name_may_hold_an_at(capsys):
    scores = dict.fromkeys(("mean_dice", "iou/a@b", "oof/mean_dice", "oof/iou/a@b"), SCORE)
    assert score_rows(scores) == [("mean_dice", "0.500", "–"), ("iou/a@b", "0.500", "–")]
    assert print_scores(scores)
    assert "domain" not in capsys.readouterr().err


def test_values_may_hold_slashes_and_many_are_cut_short(capsys):
    names = [f"mean_dice@domain=a/{number}@x" for number in range(40)]
    print_scores(dict.fromkeys(["oof/mean_dice", *names, *(f"oof/{name}" for name in names)], SCORE))
    said = capsys.readouterr().err
    assert "domain: a/29@x" in said
    assert "a/30@x" not in said
    assert "10 more in evaluation.json" in said

"""The report's section on rounds of self-training, read back from the page."""

import json

from make_report import NAMES, make_run, write


def interval(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.02, "n": 9}


def verdict(number, *, adopted, moved=0):
    return {
        "round": number,
        "method": "pseudo_labels",
        "protocol": "mixed",
        "metric": "pooled_miou",
        **{key: interval(value) for key, value in (("before", 0.5), ("after", 0.6), ("gain", 0.1))},
        "adopted": adopted,
        "why": "the out-of-fold gain is +0.1000",
        "scored_by_round_0": moved,
        "labels": [{"category": name, "predicted": 0.25, "kept": 0.5, "precision": 0.875} for name in NAMES],
        "never_predicted": {NAMES[1]: [0, 2]},
        "images": [{"fold": 0, "pool": 7, "used": 5}],
    }


def test_rounds_are_shown_with_their_gain_and_what_they_learned_from(tmp_path):
    run = make_run(tmp_path)
    rounds = [verdict(1, adopted=True, moved=3), verdict(2, adopted=False)]
    (run / "adopted.json").write_text(json.dumps({"round": 1, "why": "round 1 is used", "rounds": rounds}))
    (run / "round-1" / "pseudo").mkdir(parents=True)
    told = {"networks": 19.0, "all": 20.0, "images": 7, "share": 0.95}
    (run / "round-1" / "pseudo" / "seconds.json").write_text(json.dumps(told))
    page = write(run, thumbnails=0)[1]
    assert "rounds" in page.ids
    assert "Round 1 is used." in page.words and "a little optimistic" in page.words
    assert "3 images with low scores" in page.words
    assert "not adopted" in page.words and "0.100 (0.090 to 0.120)" in page.words
    assert "learns from 5 of 7 images" in page.words and "0, 2" in page.words
    assert "took 20 s for 7 images" in page.words and "95.0 % of that was waiting for the networks" in page.words
    assert page.row(NAMES[0])


def test_a_run_without_rounds_has_no_such_section(tmp_path):
    assert "rounds" not in write(make_run(tmp_path), thumbnails=0)[1].ids

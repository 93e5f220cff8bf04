"""The report's section on rounds of self-training, read back from the page."""

import json

import numpy as np
import polars as pl
import yaml
from PIL import Image

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


def test_true_and_false_objects_over_the_rounds_and_whose_network_each_thing_has(tmp_path):
    run = make_run(tmp_path)
    also = {
        name: {key: interval(0.5) for key in ("before", "after", "gain")} for name in ("true_objects", "false_objects")
    }
    rounds = [verdict(k, adopted=True) | {"also": also} for k in (1, 2)]
    rounds[1]["networks"] = {NAMES[1]: "each", NAMES[2]: "all"}
    (run / "adopted.json").write_text(json.dumps({"round": 2, "why": "round 2 is used", "rounds": rounds}))
    text, page = write(run, thumbnails=0)
    assert "Out-of-fold objects: numbers over the rounds" in text and "true objects an image" in page.words
    assert f"{NAMES[1]} one of its own, {NAMES[2]} the network of all things" in page.words
    del also["true_objects"]  # a run of an earlier version
    (run / "adopted.json").write_text(json.dumps({"round": 2, "why": "round 2 is used", "rounds": rounds}))
    assert "numbers over the rounds" not in write(run, thumbnails=0)[0]


def test_a_ceiling_is_called_one(tmp_path):
    run = make_run(tmp_path)
    (run / "adopted.json").write_text(json.dumps({"round": 1, "why": "w", "rounds": [verdict(1, adopted=True)]}))
    made = yaml.safe_load((run / "recipe.yaml").read_text())
    assert "are a ceiling" not in write(run, thumbnails=0)[1].words
    made.setdefault("selftrain", {})["method"] = {"objects": {"guide": "true", "votes": "predicted"}}
    for task, said in (("semantic", False), ("panoptic", True)):
        made["data"]["task"] = task
        (run / "recipe.yaml").write_text(yaml.safe_dump(made))
        words = write(run, thumbnails=0)[1].words
        assert ("were clustered inside of true categories (" in words) == ("are a ceiling" in words) == said
        assert "voted on by" not in words


def test_objects_of_the_pool_beside_the_true_ones(tmp_path):
    run = make_run(tmp_path)
    (run / "adopted.json").write_text(json.dumps({"round": 1, "why": "w", "rounds": [verdict(1, adopted=True)]}))
    image = "images/part/im1.png"
    for number, true in ((1, 3), (2, 6)):
        place = run / f"round-{number}" / "pseudo" / "compared" / "part"
        place.mkdir(parents=True)
        Image.fromarray(np.zeros((20, 92, 3), np.uint8)).save(place / "im1.jpg")
        rows = [(0, image, NAMES[1], true, 1, 2, 4, True), (1, image, NAMES[1], 0, 0, 0, 0, False)]
        columns = ["fold", "image", "category", "true", "false", "unknown", "missed", "drawn"]
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(place.parents[1] / "compared.parquet")
    text, page = write(run, thumbnails=2)
    assert page.row("2")[1:] == ["2", "6", "1", "4", "2", "85.7 %"]  # 6 of the 7 that are known
    assert "round 1: 3 true, 1 false, 4 missed" in page.words and "round 2: 6 true, 1 false, 4 missed" in page.words
    assert "Objects that were learned from: numbers over the rounds" in text
    assert text.count(f'alt="Objects of {image}"') == 2


def test_a_run_without_rounds_has_no_such_section(tmp_path):
    assert "rounds" not in write(make_run(tmp_path), thumbnails=0)[1].ids

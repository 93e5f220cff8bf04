"""What people decided is what the next run learns from, and only what depends on it is made anew."""

import json

import numpy as np
import polars as pl
import pytest

from make_copies import half
from make_review import ALONE, COARSE, FINE, ODD, PLAIN, TURNED, place_of, reply, write_label
from maskwright.artifacts import read_folds, read_json, read_table
from maskwright.audit.replay import open_conflicts, told_apart
from maskwright.cli import main
from maskwright.data.index import decided_index, scored
from maskwright.decisions import Decision, settled
from maskwright.pipeline.folds import copies_of
from maskwright.pipeline.pool import strangers
from maskwright.recipe.data import DataSpec


def split(folder, *more, code=0):
    data = read_json(folder.records / "index.json")["resolved"]["data"]["root"]
    assert main(["split", "--data", data, "--out", str(folder.root), "--folds", "2", *more]) == code
    return read_folds(folder.folds)


def learned(folder):
    spec = read_json(folder.records / "index.json")["resolved"]["data"]
    return decided_index(folder, DataSpec.model_validate(spec))


def label(folder, image):
    return learned(folder).only([image]).read_label(0)


def test_a_mask_that_was_drawn_is_learned(desk, folder):
    before = split(folder)
    stroke = {"tool": "polygon", "category": 1, "points": [[40, 10], [60, 10], [60, 40], [40, 40]]}
    desk.decide(reply(desk, place_of(desk, "suspect"), "edit", strokes=[stroke]))
    split(folder, code=2)  # the command says that something changed
    after = split(folder, "--redo")
    expected = half(16)
    expected[10:41, 40:61] = 1  # with its outline
    assert np.array_equal(label(folder, PLAIN), expected)
    contents = dict(read_table(folder.decided / "contents.parquet").select("image", "pixels").iter_rows())
    assert contents[PLAIN] == [int((expected == 0).sum()), int((expected == 1).sum())]
    assert set(before["image"]) == set(after["image"])


def test_a_prediction_that_was_accepted_is_learned_and_never_scored(desk, folder):
    before = split(folder)
    assert ALONE not in before["image"].to_list()
    desk.decide(reply(desk, place_of(desk, "disagreement"), "b"))
    stroke = {"tool": "brush", "category": 1, "points": [[60.5, 20.5]], "radius": 3}
    desk.decide(reply(desk, place_of(desk, "uncertain"), "edit", strokes=[stroke]))
    folds = split(folder, "--redo")
    assert {ALONE, ODD} <= set(folds["image"])
    assert np.array_equal(label(folder, ALONE), half(50))
    names = set(scored(learned(folder), folds)["image"])
    assert ODD in names  # a person drew it
    assert ALONE not in names
    desk.undo("Anna")
    desk.undo("Anna")
    assert split(folder, "--redo").sort("image").equals(before.sort("image"))


def test_the_other_mask_of_a_conflict(desk, folder):
    assert COARSE not in learned(folder).images
    place = place_of(desk, "conflict")
    desk.decide(reply(desk, place, "b" if desk.items[place].other_image == COARSE else "a"))
    split(folder, "--redo")
    assert COARSE in learned(folder).images
    assert FINE not in learned(folder).images
    conflicts = read_table(folder.findings).filter(pl.col("kind") == "conflict")
    assert conflicts["decision"].item().endswith("(Anna)")


def append(folder, **line):
    with folder.decisions.open("a") as log:
        log.write(json.dumps(line | {"by": "Anna"}) + "\n")


def made_at(folder):
    return {p.name: p.stat().st_mtime_ns for p in (folder.folds, folder.decided / "images.parquet")}


def test_that_a_mask_is_right_makes_nothing_anew(desk, folder):
    split(folder)
    before = made_at(folder)
    desk.decide(reply(desk, place_of(desk, "suspect"), "a"))
    append(folder, image="images/gone.png", action="confirm", item="0" * 16)  # of an image that is there no more
    split(folder)  # without --redo
    assert made_at(folder) == before


def together(folder, *images):
    return any(set(images) <= set(cluster) for cluster in copies_of(folder))


def test_images_that_are_not_the_same_may_lie_in_two_folds(desk, folder):
    twin = "unlabeled/twin.png"
    split(folder)
    assert together(folder, PLAIN, twin) and together(folder, FINE, COARSE)
    append(folder, image=twin, action="not_same", other_image=PLAIN)
    append(folder, image=twin, action="own_mask")  # else it has its mask from there
    desk.decide(reply(desk, place_of(desk, "conflict"), "not_same"))
    split(folder, "--redo")
    assert not together(folder, PLAIN, twin)
    assert together(folder, FINE, COARSE, TURNED)  # the turned one is a copy of both
    assert {FINE, COARSE} <= set(learned(folder).images)
    decisions = read_table(folder.findings).filter(pl.col("kind") == "conflict")["decision"].to_list()
    assert decisions == ["not the same (Anna)"]


def test_images_that_are_the_same_lie_in_one_fold(folder):
    split(folder)
    append(folder, image="images/x1.png", action="same", other_image="images/x2.png")
    append(folder, image="images/x3.png", action="same", other_image="images/x2.png")
    folds = dict(split(folder, "--redo").select("image", "fold").iter_rows())
    assert len({folds[f"images/x{k}.png"] for k in (1, 2, 3)}) == 1


def test_told_apart_by_hand():
    rows = [("a", "b"), ("b", "c"), ("d", "e")]
    columns = {"image": [a for a, _ in rows], "other_image": [b for _, b in rows]}
    findings = pl.DataFrame(columns | {"kind": ["duplicate_near", "crop", "duplicate_exact"]})
    clusters = [["a", "b", "c"], ["d", "e"]]

    def apart(*pairs):
        lines = [Decision(image=a, action="not_same", other_image=b, by="Anna") for a, b in pairs]
        return told_apart(clusters, findings, settled(lines))

    assert apart() == clusters
    assert apart(("b", "a")) == [["b", "c"], ["d", "e"]]
    assert apart(("a", "b"), ("c", "b")) == [["d", "e"]]
    assert apart(("a", "c")) == clusters  # b is a copy of both
    assert apart(("d", "e"), ("a", "b")) == [["b", "c"]]


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ({"action": "ignore_region", "region": (0, 0, 2, 2)}, True),
        ({"action": "same", "other_image": "c"}, True),
        ({"action": "not_same", "other_image": "c"}, True),
        ({"action": "confirm", "item": "i"}, True),
        ({"action": "keep", "by": "policy:keep_both"}, True),
        ({"action": "not_same", "other_image": "b"}, False),
        ({"action": "drop"}, False),
        ({"action": "keep"}, False),
        ({"action": "own_mask"}, False),
    ],
)
def test_what_settles_a_conflict(line, left):
    findings = pl.DataFrame({"image": ["b"], "other_image": ["a"], "kind": ["conflict"]})
    answers = settled([Decision.model_validate({"image": "a", "by": "Anna"} | line)])
    assert open_conflicts(findings, answers) == ([("b", "a")] if left else [])


def test_a_stranger_that_belongs_to_the_others_is_learned_from(desk, folder):
    write = read_table(folder.findings)
    assert "images/x9.png" in set(write.filter(pl.col("kind").str.starts_with("outlier_"))["image"])
    assert "images/x9.png" in strangers(folder)
    desk.decide(reply(desk, place_of(desk, "outlier", "images/x9.png"), "not_alien"))
    as_found = read_table(folder.audit / "as_found.parquet")  # where the stage reads it from
    rows = write.filter(pl.col("kind").str.starts_with("outlier_")).select(as_found.columns)
    pl.concat([as_found, rows]).write_parquet(folder.audit / "as_found.parquet")
    split(folder, "--redo")
    assert "images/x9.png" not in strangers(folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("../secret.png", "a file in the run folder"),
        ("/etc/passwd", "a file in the run folder"),
        ("review/masks/none.png", "the mask review/masks/none.png"),
        ("predictions/labels/small.png", "a mask of 48 × 64 pixels"),
        ("predictions/labels/wrong.png", "value"),
    ],
)
def test_masks_that_can_not_be_used_are_said(folder, file, said, capsys):
    write_label(folder, "predictions/labels/small.png", half()[:10])
    write_label(folder, "predictions/labels/wrong.png", half() + 7)
    line = {"image": PLAIN, "action": "drawn_mask", "file": file, "by": "Anna"}
    with folder.decisions.open("a") as log:
        log.write(json.dumps(line) + "\n")
    split(folder, "--redo", code=2)
    assert said in capsys.readouterr().err


def test_the_command_tells_what_answers_came_to(desk, folder, capsys):
    place = place_of(desk, "suspect")
    desk.decide(reply(desk, place, "ignore"))
    desk.decide(reply(desk, place, "a"))
    desk.decide(reply(desk, place_of(desk, "shifted"), "b", by="Ben"))
    split(folder, "--redo")
    text = capsys.readouterr().err
    assert "drawn_mask review/masks/" in text
    assert "it was taken back, or answered again" in text
    assert "it says that nothing is to change" in text

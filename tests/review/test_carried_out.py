"""What people decided is what the next run learns from, and only what depends on it is made anew."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import ndimage

from make_copies import half
from make_review import ALONE, COARSE, FINE, ODD, PLAIN, TURNED, place_of, reply, write_label
from maskwright.artifacts import read_folds, read_json, read_table, write_table
from maskwright.audit.effects import effects
from maskwright.audit.masks import _renumbered
from maskwright.audit.replay import open_conflicts, outcome, told_apart
from maskwright.cli import main
from maskwright.data.index import decided_index, scored
from maskwright.decisions import Decision, read_decisions, settled
from maskwright.pipeline.accepted import accepted_labels, accepted_states, with_accepted
from maskwright.pipeline.folds import copies_of
from maskwright.pipeline.pool import pool_of_fold, strangers
from maskwright.recipe.data import DataSpec
from maskwright.recipe.selftrain import SelftrainSpec
from maskwright.review import build_queue


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
    at = made_at(folder)["folds.csv"]
    desk.decide(reply(desk, place_of(desk, "disagreement"), "b"))  # round 1, fold 1
    stroke = {"tool": "brush", "category": 1, "points": [[60.5, 20.5]], "radius": 0.5}
    desk.decide(reply(desk, place_of(desk, "uncertain"), "edit", strokes=[stroke]))  # on round 1, fold 0
    split(folder, "--redo")
    assert made_at(folder)["folds.csv"] == at  # they are in no fold, and nothing is cut anew
    drawn, alone = half(40), np.full((48, 64), 255, np.uint8)
    drawn[20, 60] = alone[20, 60] = 1
    expected = [{ODD: drawn}, {ALONE: half(50), ODD: alone}]  # fold 1: its own network's, and what a person drew
    for fold, labels in enumerate(expected):
        index, images = with_accepted(folder, learned(folder), fold)
        assert set(images) == labels.keys()
        for image, mask in labels.items():
            assert np.array_equal(index.only([image]).read_label(0), mask)
        pool = pool_of_fold(folder, learned(folder), SelftrainSpec(aliens="keep"), fold)
        assert not set(pool) & labels.keys()
        assert (ALONE in pool) == (fold == 0)  # there, it is guessed anew
    states = accepted_states(folder, data_spec(folder), 2)
    assert states[0] != states[1] and all(states)
    desk.undo("Anna")
    assert accepted_states(folder, data_spec(folder), 2) == states  # until it is carried out
    desk.undo("Anna")
    assert split(folder, "--redo").equals(before)
    assert accepted_states(folder, data_spec(folder), 2) == [{}, {}]


def data_spec(folder):
    return DataSpec.model_validate(read_json(folder.records / "index.json")["resolved"]["data"])


def test_a_label_whose_networks_have_seen_what_scores_a_fold_is_not_learned_from(desk, folder):
    """By any of the folds: as after another cut, or where nobody knows what they have seen."""
    folds = split(folder)
    desk.decide(reply(desk, place_of(desk, "disagreement"), "b"))
    split(folder, "--redo")
    (line,) = [d for d in read_decisions(folder.decisions) if d.action == "drawn_mask"]
    assert [list(accepted_labels(folder, learned(folder), fold)) for fold in (0, 1)] == [[], [ALONE]]
    seen = folder.root / line.seen
    known = json.loads(seen.read_text())
    seen.write_text(json.dumps([*known, folds.filter(pl.col("fold") == 1)["image"][0]]))
    assert [accepted_labels(folder, learned(folder), fold) for fold in (0, 1)] == [{}, {}]
    seen.unlink()
    assert [accepted_labels(folder, learned(folder), fold) for fold in (0, 1)] == [{}, {}]


def test_masks_of_people_on_images_without_one_are_scored(desk, folder):
    """Drawn on nothing: it is an image like any other."""
    whole = {"tool": "polygon", "category": 1, "points": [[0, 0], [40, 0], [40, 48], [0, 48]]}
    desk.decide(reply(desk, place_of(desk, "uncertain"), "edit", base=-1, strokes=[whole]))
    folds = split(folder, "--redo")
    assert ODD in set(scored(learned(folder), folds)["image"])
    assert accepted_labels(folder, learned(folder), 0) == {}


def test_what_networks_contradict_is_neither_learned_nor_scored(desk, folder):
    desk.decide(reply(desk, place_of(desk, "suspect"), "b"))
    split(folder, "--redo")
    expected = half(16)
    expected[:, 16:24] = 255
    assert np.array_equal(label(folder, PLAIN), expected)


def test_pixels_that_come_to_a_thing_are_an_object():
    """Objects 3 and 7 of category 1; a piece that touches 3, one that touches nothing, and a corner of 7 that goes."""
    numbers = np.zeros((6, 9), np.int32)
    numbers[0:2, 0:2], numbers[4:6, 0:2] = 3, 7
    before = (numbers > 0).astype(np.uint8)
    after = before.copy()
    after[0:2, 2], after[2:4, 6:8], after[5, 1] = 1, 1, 0
    expected = numbers.copy()
    expected[0:2, 2], expected[2:4, 6:8], expected[5, 1] = 3, 8, 0
    assert np.array_equal(_renumbered(numbers, before, after, [1]), expected)
    assert np.array_equal(_renumbered(numbers, before, after, []), np.where(after == before, numbers, 0))


def test_thousands_of_pieces_are_numbered_as_one_by_one():
    """The definition, a piece at a time; pieces of a pixel, with several neighbours, and of two categories."""
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 3, (2, 90, 80)).astype(np.uint8)
    before, after = before.repeat(2, 0), after.repeat(2, 0)
    numbers = np.where(before > 0, ndimage.label(before > 0)[0] + rng.integers(0, 3, before.shape), 0)
    expected = np.where(after == before, numbers, 0)
    for category in (1, 2):
        pieces, count = ndimage.label((after == category) & (before != category), np.ones((3, 3)))
        assert count > 500
        for piece in range(1, count + 1):
            inside = pieces == piece
            around = expected[ndimage.binary_dilation(inside, np.ones((3, 3))) & (after == category)]
            counts = np.bincount(around[around > 0])
            expected[inside] = counts.argmax() if counts.any() else expected.max() + 1
    assert np.array_equal(_renumbered(numbers.astype(np.int32), before, after, [1, 2]), expected)


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
    columns = {"image": [a for a, _ in rows], "other_image": [b for _, b in rows], "value": [0.99, 0.5, 1.0]}
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
    ("count", "value", "whole"), [(70, 0.999, True), (70, 1.0, True), (4, 1.0, True), (4, 0.999, False)]
)
def test_of_images_that_are_listed_with_one_alone_none_goes(count, value, whole):
    """A crowd, or images of one value: 1 is like 0, as 2 is, so that 1 and 2 may be equal."""
    names = [f"{k:02}" for k in range(count)]
    rows = {"image": ["00"] * (count - 1), "other_image": names[1:], "value": [value] * (count - 1)}
    findings = pl.DataFrame(rows | {"kind": ["duplicate_near"] * (count - 1)})
    answers = settled([Decision(image="00", action="not_same", other_image="01", by="Anna")])
    expected = names if whole else [names[0], *names[2:]]
    assert told_apart([names], findings, answers) == [expected]


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
    ("line", "cleared"),
    [
        ({"action": "belongs"}, True),
        ({"action": "keep"}, True),
        ({"action": "keep", "kind": "review:outlier"}, True),  # as the review wrote it before
        ({"action": "keep", "kind": "review:conflict"}, False),
        ({"action": "keep", "kind": "conflict", "by": "policy:keep_both"}, False),
        ({"action": "same", "other_image": "b"}, False),
    ],
)
def test_what_clears_a_stranger(line, cleared):
    row = {"image": "a", "other_image": None, "kind": "outlier_forest", "severity": "warning", "decision": "kept"}
    answers = settled([Decision.model_validate({"image": "a", "by": "Anna"} | line)])
    assert (outcome(row, answers) == "no stranger (Anna)") is cleared


def test_that_a_stranger_belongs_brings_back_nothing_that_a_policy_dropped(desk, folder):
    answers = settled(read_decisions(folder.decisions))
    assert answers[COARSE, "use"].action == "drop"
    table = read_table(folder.findings)
    row = table.filter(pl.col("kind").str.starts_with("outlier_")).with_columns(image=pl.lit(COARSE))
    write_table(folder.findings, pl.concat([table, row]))
    queue = build_queue(desk.run)
    assert COARSE not in [item.image for item in queue if item.kind == "outlier"]
    desk.decide(reply(desk, place_of(desk, "outlier"), "not_alien"))
    people = [d for d in read_decisions(folder.decisions) if not d.by_policy]
    assert [d.action for d in people] == ["belongs"]


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
    assert "shift_mask (0, 4)" in text
    assert "it was taken back, or answered again" in text
    assert "it says that nothing is to change" in text


def test_a_change_of_a_mask_that_was_replaced_since_is_without_effect():
    """Strokes, then a mask from an annotation tool; strokes on that count again."""
    patch = {"image": "a", "action": "patch_mask", "by": "Anna", "where": "w.png"}
    lines = [
        patch | {"id": "1"},
        {"image": "a", "action": "drawn_mask", "by": "Ben", "file": "m.png"},
        patch | {"id": "3"},
    ]
    log = [Decision.model_validate(line | {"line": number}) for number, line in enumerate(lines, 1)]
    assert [effect.idle for effect in effects(log, {"a": (4, 4)}, [])] == [
        "line 2 gives the image another mask since",
        "",
        "",
    ]

"""Copies with masks: what is found, what each policy makes of it, and what replaying it leaves, on files."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from PIL import Image

from make_copies import COARSE, FINE, TURNED, conflict, copies_folder, decide, half, label, names, picture, put, run
from maskwright.artifacts import read_table
from maskwright.audit import audit_index
from maskwright.audit.copies import agreement
from maskwright.audit.policies import majority
from maskwright.audit.replay import check_decisions, replay
from maskwright.augment.dihedral import apply
from maskwright.data.index import build_index
from maskwright.decisions import Decision, settled
from maskwright.recipe.data import AuditSpec, DataSpec
from maskwright.types import IGNORE

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))


@pytest.fixture
def data(tmp_path):
    return copies_folder(tmp_path / "data")


def test_agreement_by_class_is_counted_by_hand():
    first = np.uint8([[0, 0, 1, 1], [0, 0, 1, IGNORE]])
    second = np.uint8([[0, 1, 1, 1], [0, 0, 2, 0]])
    found = agreement(first, second)
    # both see 7 pixels: 0 in 3 of 4, 1 in 2 of 4, 2 in 0 of 1; one more that only one ignores is different: 5 of 8
    assert found.iou == {0: 3 / 4, 1: 2 / 4, 2: 0}
    assert found.pixels == 5 / 8
    assert found.extent == {0: 4 / 8, 1: 4 / 8, 2: 1 / 8}


@given(arrays(np.uint8, (4, 3, 5), elements=st.sampled_from([0, 1, 2, IGNORE])))
def test_majority_is_counted_pixel_by_pixel(masks):
    found = majority(masks)
    for y, x in np.ndindex(3, 5):
        votes = [v for v in masks[:, y, x] if v != IGNORE]
        wins = [v for v in set(votes) if 2 * votes.count(v) > len(votes)]
        assert found[y, x] == (wins[0] if wins else IGNORE)


def test_the_finer_mask_stays_and_the_other_image_goes(data):
    folder = run(data)
    assert COARSE not in names(folder) and FINE in names(folder)
    removed = pl.read_csv(folder.decided / "removed.csv").to_dicts()
    assert [(r["image"], r["kind"], r["other_image"], r["by"]) for r in removed] == [
        (COARSE, "conflict", FINE, "policy:keep_finer")
    ]
    row = conflict(folder)
    # of 48 · 64 pixels the hole's 100 differ
    assert row["value"] == pytest.approx(1 - 100 / 3072)
    assert row["decision"] == f"dropped {COARSE} (policy:keep_finer)"
    assert "fineness" in row["detail"] and "IoU rock" in row["detail"]
    folds = pl.read_csv(folder.folds)
    assert COARSE not in folds["image"] and FINE in folds["image"]


def test_unlabelled_copies_take_over_the_mask_through_the_transform_in_one_group(data):
    folder = run(data)
    assert_array_equal(label(folder, TURNED), apply(label(folder, FINE), "flip_lr"))
    assert_array_equal(label(folder, "unlabeled/twin.png"), half(16))
    table = {r["image"]: r for r in read_table(folder.decided / "images.parquet").to_dicts()}
    assert table[TURNED]["mask"] == "@/decided/masks/unlabeled/turned.png"
    assert (table[TURNED]["twin_of"], table[FINE]["twin_of"]) == (FINE, None)
    assert table["unlabeled/alone.png"]["mask"] is None
    folds = {r["image"]: r for r in pl.read_csv(folder.folds).to_dicts()}
    assert folds[TURNED]["group"] == folds[FINE]["group"]
    pixels = {r["image"]: r["pixels"] for r in read_table(folder.decided / "contents.parquet").to_dicts()}
    assert pixels[TURNED] == pixels[FINE]


@pytest.mark.parametrize("together", ["true", "false"])
def test_a_copy_goes_where_its_twin_goes(data, together):
    for k in range(10):  # given parts: the twins of a training image, and of one that is held out
        part = "val" if k < 4 else "train"
        for place in ("images", "masks"):
            (data / place / part).mkdir(exist_ok=True)
            (data / place / f"x{k}.png").rename(data / place / part / f"x{k}.png")
    put(data, "held", picture(100))
    put(data, "taught", picture(105)[::-1].copy())
    for name in ("coarse", "fine", "plain"):
        (data / "images" / f"{name}.png").unlink()
        (data / "masks" / f"{name}.png").unlink()
    folder = run(data, f"split.group_duplicates={together}")
    folds = {r["image"]: r for r in pl.read_csv(folder.folds).to_dicts()}
    assert folds["unlabeled/held.png"]["fold"] == folds["images/val/x0.png"]["fold"] == -1
    for key in ("fold", "group"):
        assert folds["unlabeled/taught.png"][key] == folds["images/train/x5.png"][key]


def test_without_inheritance_they_stay_unlabelled(data):
    folder = run(data, "audit.inherit=false")
    assert label(folder, TURNED) is None


@pytest.mark.parametrize(
    ("policy", "gone", "decision"),
    [
        ("keep_both", set(), "both kept in one fold (policy:keep_both)"),
        ("drop_both", {FINE, COARSE}, f"dropped {COARSE} and {FINE} (policy:drop_both)"),
    ],
)
def test_both_stay_or_both_go(data, policy, gone, decision):
    folder = run(data, f"audit.conflicts={policy}")
    assert {FINE, COARSE} - names(folder) == gone
    assert conflict(folder)["decision"] == decision
    assert label(folder, TURNED) is None  # nobody says which mask is right
    if not gone:
        groups = dict(pl.read_csv(folder.folds).select("image", "group").iter_rows())
        assert groups[FINE] == groups[COARSE]


def test_a_consensus_ignores_where_two_disagree(data):
    folder = run(data, "audit.conflicts=consensus")
    agreed = half()
    agreed[10:20, 10:20] = IGNORE
    assert {FINE, COARSE} & names(folder) == {COARSE}  # of one size: the first
    assert_array_equal(label(folder, COARSE), agreed)
    assert_array_equal(label(folder, TURNED), agreed[:, ::-1])
    assert conflict(folder)["decision"].startswith(f"{COARSE}: consensus")


def test_a_consensus_of_three_is_the_majority(data):
    third = half()
    third[0, :] = 0  # its own opinion, of one row
    put(data, "third", np.asarray(Image.open(data / "images" / "fine.png")), third)
    folder = run(data, "audit.conflicts=consensus")
    assert_array_equal(label(folder, COARSE), half())  # two of three have no hole, two of three fill the first row


def test_ask_stops_and_says_how_and_goes_on(data, capsys):
    folder = run(data, "audit.conflicts=ask", stage="audit", code=2)
    said = capsys.readouterr().err
    assert COARSE in said and FINE in said and str(folder.decisions) in said
    decide(folder, image=FINE, action="drop", by="Anna", reason="no hole there")
    folder = run(data, "audit.conflicts=ask")
    assert {FINE, COARSE} & names(folder) == {COARSE}
    assert conflict(folder)["decision"] == f"dropped {FINE} (Anna)"


def test_a_person_overrules_the_policy_and_later_stages_are_stale(data, capsys):
    folder = run(data)
    log = folder.decisions.read_text()
    decide(folder, image=COARSE, action="keep", by="Anna")
    decide(folder, image=FINE, action="drop", by="Anna", reason="I drew the other")
    run(data, code=2)
    said = capsys.readouterr().err
    assert "decide" in said and f"{COARSE} (use)" in said and "Anna" in said and "--redo" in said
    run(data, more=["--redo"])
    assert {FINE, COARSE} & names(folder) == {COARSE}
    assert FINE not in pl.read_csv(folder.folds)["image"]
    assert folder.decisions.read_text().startswith(log)
    removed = pl.read_csv(folder.decided / "removed.csv").to_dicts()
    assert [(r["image"], r["by"], r["reason"]) for r in removed] == [(FINE, "Anna", "I drew the other")]
    assert read_table(folder.decided / "images.parquet").filter(pl.col("image") == TURNED)["twin_of"].to_list() == [
        None
    ]


def test_the_audit_anew_repeats_no_line_and_keeps_peoples(data):
    folder = run(data)
    decide(folder, image=COARSE, action="keep", by="Anna")
    log = folder.decisions.read_text()
    run(data, "audit.duplicate_radius=5", more=["--redo"])  # the same is found
    assert folder.decisions.read_text() == log
    assert {FINE, COARSE} <= names(folder)
    run(data, "audit.conflicts=drop_both", more=["--redo"])
    assert folder.decisions.read_text().startswith(log)
    assert {FINE, COARSE} & names(folder) == {COARSE}  # Anna's line still counts


def test_copies_are_dropped_on_request(data):
    folder = run(data, "audit.duplicates=drop")
    assert not {COARSE, TURNED, "unlabeled/twin.png"} & names(folder)
    removed = {r["image"]: r["by"] for r in pl.read_csv(folder.decided / "removed.csv").to_dicts()}
    assert removed[TURNED] == "policy:drop"
    assert {FINE, "images/plain.png", "unlabeled/alone.png"} <= names(folder)


def test_a_region_is_ignored_and_a_mask_taken_from_another(data):
    folder = run(data)
    decide(folder, image="images/plain.png", action="ignore_region", region=[0, 0, 10, 5], by="Anna")
    decide(folder, image="images/x0.png", action="use_mask_of", other_image="images/x1.png", by="Anna")
    folder = run(data, more=["--redo"])
    cut = half(16)
    cut[:5, :10] = IGNORE
    assert_array_equal(label(folder, "images/plain.png"), cut)
    assert_array_equal(label(folder, "unlabeled/twin.png"), cut)  # which inherits it
    assert_array_equal(label(folder, "images/x0.png"), half(12))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"image": "images/nobody.png", "action": "drop"}, "'images/nobody.png'"),
        ({"image": FINE, "action": "use_mask_of", "other_image": "images/no.png"}, "'images/no.png'"),
        ({"image": FINE, "action": "use_mask_of", "other_image": "unlabeled/alone.png"}, "with a mask"),
        ({"image": FINE, "action": "use_mask_of", "other_image": COARSE, "transform": "turn"}, "flip_lr"),
        ({"image": "unlabeled/alone.png", "action": "ignore_region", "region": [0, 0, 1, 1]}, "with a mask"),
    ],
)
def test_decisions_that_cannot_be_carried_out_name_their_line(data, capsys, line, said):
    folder = run(data)
    last = len(folder.decisions.read_text().splitlines()) + 1
    decide(folder, by="Anna", **line)
    run(data, code=2, more=["--redo"])
    err = capsys.readouterr().err
    assert f"decisions.jsonl, line {last}" in err.replace("\n", "")
    assert said in err


def test_a_broken_line_stops_before_anything_is_done(data, capsys):
    folder = run(data)
    before = folder.folds.read_bytes()
    folder.decisions.write_text(folder.decisions.read_text() + "{oops\n")
    run(data, code=2)
    assert "decisions.jsonl, line" in capsys.readouterr().err.replace("\n", "")
    assert folder.folds.read_bytes() == before


def test_errors_are_dropped_by_policy_or_by_a_person(data, capsys):
    (data / "images" / "x9.png").write_bytes(b"no image")
    run(data, code=2)
    assert "x9.png" in capsys.readouterr().err
    folder = run(data, "audit.on_error=drop", more=["--redo"])
    assert "images/x9.png" not in names(folder)
    log = folder.decisions.read_text()
    assert "policy:on_error" in log
    run(data, code=2, more=["--redo"])
    decide(folder, image="images/x9.png", action="drop", by="Anna")
    folder = run(data, more=["--redo"])
    assert "images/x9.png" not in names(folder)
    decide(folder, image="images/x9.png", action="keep", by="Ben")
    run(data, code=2, more=["--redo"])
    assert "an image that can be used" in capsys.readouterr().err.replace("\n", " ")


def test_a_scorer_of_ones_own_decides(data, monkeypatch):
    monkeypatch.syspath_prepend(str(data.parent))
    (data.parent / "my_scorer.py").write_text("def filled(image, mask):\n    return float((mask == 1).mean())\n")
    folder = run(data, "audit.fineness=my_scorer:filled")
    assert {FINE, COARSE} & names(folder) == {COARSE}


def test_masks_that_agree_are_no_conflict_and_nothing_is_decided(data):
    put(data, "same", picture(100), half(8))  # as x0
    folder = run(data, "audit.conflicts=keep_both", "audit.inherit=false")
    assert {"images/same.png", "images/x0.png"} <= names(folder)
    assert conflict(folder)["image"] == COARSE


@pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
@pytest.mark.realdata
def test_the_real_conflict_of_the_teeth_is_found_and_nothing_else():
    index, _, _ = build_index(DataSpec(root=str(DATA / "teeth"), classes="binary"))
    found = audit_index(index, AuditSpec(crops=False))
    (row,) = found.findings.filter(pl.col("kind") == "conflict").to_dicts()
    assert {row["image"], row["other_image"]} == {"images/cate4-00101.jpg", "images/cate4-00107.jpg"}
    assert "IoU foreground 0.841" in row["detail"]  # as the set's own description says
    (decision,) = found.decisions  # its mask joins roots that the other keeps apart
    assert (decision.image, decision.action) == ("images/cate4-00107.jpg", "drop")


def test_frames_of_a_camera_that_stands_still_keep_their_masks(tmp_path):
    """One background, an object at another place in each frame: alike as a whole, and all masks right."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.uniform(20, 200, (8, 8)), np.ones((32, 32)))
    root = tmp_path / "data"
    for name in ("images", "masks", "unlabeled"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        y, x = rng.integers(10, 220, 2)
        frame, mask = ground + rng.normal(0, 2, ground.shape), np.zeros(ground.shape, np.uint8)
        frame[y : y + 14, x : x + 14] += 55
        mask[y : y + 14, x : x + 14] = 1
        folder = "unlabeled" if number > 5 else "images"
        Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).save(root / folder / f"{number}.png")
        if number <= 5:
            Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    index, _, _ = build_index(DataSpec(root=str(root)))
    found = audit_index(index, AuditSpec(pictures=False, crops=False))
    assert (found.findings["kind"] == "duplicate_near").any()  # so that they stay in one fold
    assert found.decisions == []


@pytest.mark.parametrize("policy", ["keep_both", "ask"])
def test_dropping_copies_leaves_open_conflicts_open(policy, tmp_path):
    root = tmp_path / "data"
    for name, mask in (("a", half(8)), ("b", half(20))):
        put(root, name, picture(0), mask)
    index, _, _ = build_index(DataSpec(root=str(root)))
    found = audit_index(index, AuditSpec(conflicts=policy, duplicates="drop", crops=False, pictures=False))
    assert {decision.action for decision in found.decisions} <= {"keep"}


def test_copies_that_people_declare_stay_in_one_fold(data):
    folder = run(data)
    decide(
        folder,
        image="images/x1.png",
        action="use_mask_of",
        by="Anna",
        other_image="images/x2.png",
        transform="identity",
    )
    folder = run(data, more=("--redo",))
    folds = read_table(folder.folds)
    group = dict(zip(folds["image"], folds["group"], strict=True))
    assert group["images/x1.png"] == group["images/x2.png"] != group["images/x3.png"]


def test_a_consensus_for_an_unlabelled_image_makes_no_twin(tmp_path):
    root = tmp_path / "data"
    put(root, "a", picture(0), half(8))
    put(root, "b", picture(1), half(8))
    put(root, "u", picture(2))
    index, _, _ = build_index(DataSpec(root=str(root)), tmp_path / "imported")
    others = {"images/a.png": "identity", "images/b.png": "identity"}
    said = settled([Decision(image="unlabeled/u.png", action="consensus", by="Anna", others=others)])
    check_decisions(index, said, [], tmp_path / "log")
    assert replay(index, said).table["twin_of"].to_list() == [None] * 3

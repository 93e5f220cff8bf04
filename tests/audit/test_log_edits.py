"""Edits of decisions.jsonl and of the audit's settings: what is noticed, what is made anew, what stays."""

import json

import polars as pl
import pytest
from numpy.testing import assert_array_equal

from make_copies import COARSE, FINE, TURNED, copies_folder, decide, label, names, run
from maskwright.augment.dihedral import apply


@pytest.fixture
def data(tmp_path):
    return copies_folder(tmp_path / "data")


def test_a_policys_line_that_was_deleted_is_noticed_and_undoes_what_it_did(data, capsys):
    folder = run(data)
    kept = [line for line in folder.decisions.read_text().splitlines() if COARSE not in line.split('"action"')[0]]
    folder.decisions.write_text("\n".join(kept) + "\n")
    run(data, code=2)
    assert f"{COARSE} (use)" in capsys.readouterr().err.replace("\n", "")
    run(data, more=["--redo"])
    assert {FINE, COARSE} <= names(folder)


def test_a_transform_that_was_edited_is_noticed(data, capsys):
    folder = run(data)
    folder.decisions.write_text(folder.decisions.read_text().replace("flip_lr", "flip_ud"))
    run(data, code=2)
    assert "flip_ud" in capsys.readouterr().err
    run(data, more=["--redo"])
    assert_array_equal(label(folder, TURNED), apply(label(folder, FINE), "flip_ud"))


def made_at(folder):
    return {p.name: p.stat().st_mtime_ns for p in (folder.folds, folder.decided / "images.parquet")}


def test_a_change_of_the_log_that_matters_not_makes_nothing_anew(data):
    folder = run(data)
    before = made_at(folder)
    lines = [json.loads(line) | {"time": "1999-01-01"} for line in folder.decisions.read_text().splitlines()]
    folder.decisions.write_text("\n\n".join(map(json.dumps, lines[::-1])))
    run(data)
    assert made_at(folder) == before


@pytest.mark.parametrize("setting", ["audit.pictures=true", "audit.balance.samples=199", "audit.duplicate_radius=5"])
def test_what_changes_the_audit_alone_leaves_the_folds_as_they_are(data, setting):
    folder = run(data, "audit.pictures=false")
    before = made_at(folder)["folds.csv"]
    run(data, setting, code=2)  # it is said
    run(data, setting, more=["--redo"])
    assert made_at(folder)["folds.csv"] == before


def test_a_reason_that_was_edited_reaches_the_lists_and_not_the_folds(data):
    folder = run(data)
    before = made_at(folder)["folds.csv"]
    decide(folder, image=COARSE, action="drop", by="Anna", reason="by hand")
    run(data, more=["--redo"])
    assert pl.read_csv(folder.decided / "removed.csv")["reason"].to_list() == ["by hand"]
    assert made_at(folder)["folds.csv"] == before


def test_a_mask_that_a_decision_changes_makes_the_folds_anew(data):
    folder = run(data)
    before = made_at(folder)["folds.csv"]
    decide(folder, image="images/plain.png", action="ignore_region", region=[0, 0, 10, 5], by="Anna")
    run(data, more=["--redo"])
    assert made_at(folder)["folds.csv"] != before

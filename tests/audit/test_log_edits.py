"""Edits of decisions.jsonl and of the audit's settings: what is noticed, what is made anew, what stays."""

import json
import shlex
import subprocess
import sys

import polars as pl
import pytest
from numpy.testing import assert_array_equal

from make_copies import COARSE, FINE, TURNED, copies_folder, decide, half, label, names, picture, put, run
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


def said(capsys):
    return capsys.readouterr().err


def test_the_command_confirms_what_people_decided_and_names_lines_without_effect(data, capsys):
    folder = run(data)
    assert "people's decisions" not in said(capsys)  # nobody decided anything
    first = len(folder.decisions.read_text().splitlines()) + 1
    decide(folder, image=FINE, action="drop", by="Ben")
    decide(folder, image=FINE, action="keep", by="Anna")
    decide(folder, image=COARSE, action="keep", by="Anna")
    decide(folder, image="images/x0.png", action="keep", by="Anna")
    decide(folder, image="images/x1.png", action="drop", by="Anna")
    decide(folder, image="images/x1.png", action="own_mask", by="Anna")
    decide(folder, image="images/x2.png", action="own_mask", by="Anna")
    decide(folder, image="images/x3.png", action="ignore_region", region=[64, 0, 70, 9], by="Anna")
    decide(folder, image="images/x4.png", action="ignore_region", region=[63, 0, 70, 9], by="Anna")
    for more in (["--redo"], []):  # and again, whenever there are such lines
        run(data, more=more)
        words = said(capsys)
        assert "people's decisions carried out: 4, about 4 image(s)" in words
        assert "people's decisions without effect: 5, about 5 image(s)" in words
        for line, ending in enumerate(
            (
                f"{FINE}: drop, by Ben: line {first + 1} answers the same question",
                f"{FINE}: keep, by Anna",  # of a conflict: an answer
                f"{COARSE}: keep, by Anna",
                "images/x0.png: keep, by Anna: nothing drops this image",
                "images/x1.png: drop, by Anna",
                f"images/x1.png: own_mask, by Anna: line {first + 4} drops the image",
                "images/x2.png: own_mask, by Anna: its own mask counts anyway",
                "images/x3.png: ignore_region (64, 0, 70, 9), by Anna: the region holds no pixel of the image, "
                "which has 64×48",
                "images/x4.png: ignore_region (63, 0, 70, 9), by Anna",
            ),
            first,
        ):
            assert f"line {line}: {ending}\n" in words


def test_an_edited_line_of_a_policy_is_confirmed_as_such(data, capsys):
    folder = run(data, stage="audit")
    folder.decisions.write_text(folder.decisions.read_text().replace('"drop"', '"keep"'))
    capsys.readouterr()
    run(data, stage="audit", more=["--redo", "--json"])
    out, err = capsys.readouterr()
    assert f"{COARSE}: keep, by policy:keep_finer, a line that was edited" in err
    (effect,) = json.loads(out)["decisions"]
    assert (effect["image"], effect["idle"]) == (COARSE, "")


def test_the_first_lines_of_people_are_no_change_of_an_empty_log(tmp_path, capsys):
    """Where no policy said anything, the message holds the new line alone, and nothing about `{}`."""
    data = tmp_path / "data"
    for k in range(6):
        put(data, f"x{k}", picture(100 + k), half(8 + 4 * k))
    folder = run(data)
    decide(folder, image="images/x0.png", action="drop", by="Anna")
    run(data, code=2)
    words = said(capsys)
    assert "{}" not in words
    assert 'images/x0.png (use): (nothing) → {"action": "drop", "by": "Anna"}' in words


def test_the_findings_can_be_read_as_the_console_says(data, capsys):
    run(data, stage="audit")
    (line,) = [line for line in said(capsys).splitlines() if line.startswith("all findings: ")]
    command = line.split("as text: ")[1].split(", or add")[0]
    words = shlex.split(command)
    assert words[0] == "python"
    printed = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("image,kind,severity") and "conflict" in printed


def test_folders_of_images_may_have_a_dot_in_their_name(tmp_path):
    """Their decided masks lie in folders called as they are."""
    data = copies_folder(tmp_path / "data")
    (data / "unlabeled" / "v1.0").mkdir()
    (data / "unlabeled" / "turned.png").rename(data / "unlabeled" / "v1.0" / "turned.png")
    folder = run(data)
    assert_array_equal(label(folder, "unlabeled/v1.0/turned.png"), apply(label(folder, FINE), "flip_lr"))


def test_the_certificate_counts_the_leaks_that_the_audit_finds_now(data):
    """Which parts are compared cuts no other folds, but what is said of leaks follows."""
    images = [path.name for path in sorted((data / "images").iterdir())]
    rows = [f"{name},{'right' if name == 'fine.png' else 'left'}" for name in images]
    (data / "meta.csv").write_text("\n".join(["name,side", *rows]) + "\n")
    folder = run(data)
    before = made_at(folder)["folds.csv"]
    assert json.loads(folder.certificate.read_text())["leaks"] == {}
    run(data, "audit.parts=side", more=["--redo"])
    assert made_at(folder)["folds.csv"] == before
    certificate = json.loads(folder.certificate.read_text())
    assert certificate["leaks"]["leak_duplicate"]["found"] == 1  # fine and coarse
    assert "1 leak(s)" in certificate["text"]
    run(data, more=["--redo"])
    assert "leak(s)" not in json.loads(folder.certificate.read_text())["text"]

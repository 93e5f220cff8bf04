"""What a new user gets wrong with `review` and `query`: each message names the next move, and nothing is written."""

import ctypes
import json
import shutil
import sys

import pytest

from make_review import place_of, reply
from maskwright.cli import main
from maskwright.errors import DataError, UsageError
from maskwright.napari.binding import loses_references, screen_fault
from maskwright.review import Desk, Reviewed, build_queue, import_replies, write_static


def said(capsys, *words):
    assert main([*map(str, words)]) == 2
    return capsys.readouterr().err


def test_a_folder_that_is_no_run_names_the_one_that_may_be_meant(folder, tmp_path, capsys):
    run = folder.root
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("")
    for wrong, got, meant in (
        (tmp_path, "a folder without a run", f"did you mean {run}?"),  # the folder of runs
        (run / "predictions", "a folder without a run", f"did you mean {run}?"),
        (run / "folds.csv", "a file", f"did you mean {run}?"),
        (tmp_path / "rum", "nothing", f"did you mean {run}?"),
        (tmp_path / "empty", "a folder without a run", "make one: maskwright run --data FOLDER"),
        (tmp_path / "note.txt", "a file", "make one: maskwright run --data FOLDER"),
    ):
        text = said(capsys, "review", wrong, "--check")
        assert f"got {got}\n" in text and meant in text
        assert said(capsys, "query", wrong) == text
    shutil.copytree(run, tmp_path / "run2", symlinks=True)
    assert f"did you mean {run} or {tmp_path / 'run2'}?" in said(capsys, "review", tmp_path)


def test_a_run_that_is_not_finished_is_to_be_finished(folder, capsys):
    folder.findings.unlink()
    text = said(capsys, "review", folder.root)
    assert "got one whose audit isn't over" in text and "next:  give the command that began it again" in text
    folder.recipe.write_text("")
    text = said(capsys, "review", folder.root)
    assert f"next:  finish it: maskwright run --recipe {folder.recipe} --out {folder.root}" in text


def test_a_data_folder_that_is_gone_is_named(folder, tmp_path, capsys):
    data = Reviewed.of(folder.root).index.root
    path = folder.records / "index.json"
    path.write_text(path.read_text().replace(str(data), f"{data}-moved"))
    for words in (["review", folder.root, "--check"], ["review", folder.root, "--static", tmp_path / "a.html"]):
        text = said(capsys, *words)
        assert f"where: {data}-moved, of {folder.root}" in text and "put it back there, or a link" in text
    assert "the data folder of the run" in said(capsys, "query", folder.root)
    assert not (tmp_path / "a.html").exists() and not (folder.root / "queries").exists()


def test_one_thing_at_a_time(folder, capsys):
    text = said(capsys, "review", folder.root, "--agreement", "--static", "a.html")
    assert "got --agreement, --static" in text
    assert "got nosuch.invalid: " in said(
        capsys, "review", folder.root, "--host", "nosuch.invalid", "--token", "a" * 20
    )


def test_no_page_is_written_without_an_item(desk, tmp_path):
    page = tmp_path / "a.html"
    with pytest.raises(UsageError, match=r"none: nothing in this run is in doubt\n.*\n  next:  finish the run"):
        write_static(Desk(desk.run, []), page, most=9)
    place = place_of(desk, "outlier")
    one = Desk(desk.run, [desk.items[place]])
    one.decide(reply(one, 0, "alien"))
    with pytest.raises(UsageError, match=r"none: all 1 are answered\n.*\n  next:  carry the answers out"):
        write_static(one, page, most=9)
    place = place_of(desk, "disagreement")
    lost = [desk.items[place]]
    (desk.run.folder.root / lost[0].suggestions[0].file).unlink()
    with pytest.raises(DataError, match="none of 1: expected"):
        write_static(Desk(desk.run, lost), page, most=9)
    with pytest.raises(DataError) as caught:
        write_static(Desk(desk.run, lost, anonymous=True), page, most=9)
    assert str(desk.run.folder.root) not in str(caught.value) and "alone" not in str(caught.value)
    assert not page.exists()


def test_answers_of_another_run_are_told(folder, tmp_path, capsys):
    """Each run has names of its own for what it asks."""
    page, file = tmp_path / "a.html", tmp_path / "answers.json"
    other = tmp_path / "other"
    shutil.copytree(folder.root, other, symlinks=True)
    shutil.rmtree(other / "review", ignore_errors=True)
    run = Reviewed.of(other)
    desk = Desk(run, build_queue(run))
    assert write_static(desk, page, most=1) == 1
    one = {"item": desk.keys[0], "answer": "reject", "by": "Cleo", "id": "f" * 16, "shown": []}
    file.write_text(json.dumps({"maskwright_review": 1, "replies": [one]}))
    text = said(capsys, "review", folder.root, "--import", file)
    assert "got to 1 others: of another run" in text and "name the run whose page it was" in text
    assert import_replies(desk, file).taken == 1
    assert import_replies(Desk(run, []), file).known == 1  # what isn't asked any more, and was answered then


def test_what_was_imported_is_to_be_carried_out(folder, tmp_path, capsys):
    run = Reviewed.of(folder.root)
    desk = Desk(run, build_queue(run))
    file = tmp_path / "answers.json"
    one = {"item": desk.keys[place_of(desk, "outlier")], "answer": "alien", "by": "Cleo", "id": "f" * 16}
    file.write_text(json.dumps({"maskwright_review": 1, "replies": [one]}))
    assert main(["review", str(folder.root), "--import", str(file)]) == 0
    assert "carry them out: give the command that made this folder again, with --redo" in capsys.readouterr().err
    assert main(["review", str(folder.root), "--import", str(file)]) == 0
    assert "carry them out" not in capsys.readouterr().err


def test_where_qt_ends_a_process_the_reason_is_what_it_said():
    end = "import os, sys; print('could not connect to display :9\\nmore', file=sys.stderr, flush=True); os.abort()"
    assert screen_fault({}, end) == "could not connect to display :9"
    assert screen_fault({}, "import os; os.abort()") == "exit status -6"
    assert (
        screen_fault({}, "import nothing_of_this_name") == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    )
    assert screen_fault({}, "print('fine')") == ""


def test_a_binding_that_takes_references_away_is_found():
    """As PySide6 6.12.0 does; from Python 3.12 on, None isn't counted, and nothing comes of it."""
    none = ctypes.py_object(None)
    counted = sys.version_info < (3, 12)
    try:
        assert loses_references(lambda: ctypes.pythonapi.Py_DecRef(none)) is counted
    finally:
        for _ in range(100 if counted else 0):
            ctypes.pythonapi.Py_IncRef(none)
    assert not loses_references(lambda: None)

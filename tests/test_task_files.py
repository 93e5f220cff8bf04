"""Files of tasks: stores that are continued, what a redo throws away, what a killed process left."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import pytest

from maskwright.artifacts import sweep
from maskwright.errors import StaleArtifactError
from maskwright.tasks import Task, drop_others, lock, run_tasks
from maskwright.watching import announce


def half_then_rest(root, spec):
    """Write two files; stop after the first while `stop` is there. What stands is continued, as predictions are."""
    for name in ("a", "b"):
        if not (root / "store" / name).exists():
            (root / "store").mkdir(exist_ok=True)
            (root / "store" / name).write_text(spec["network"])
        if (root / "stop").exists():
            raise RuntimeError("cut short")


def a_store(network):
    return Task("store", half_then_rest, {"network": network}, outputs=("store",), keeps=("store",))


def test_a_store_is_never_filled_by_two_networks(tmp_path):
    (tmp_path / "stop").touch()
    with pytest.raises(RuntimeError):
        run_tasks(tmp_path, [a_store("first")])
    (tmp_path / "stop").unlink()
    with pytest.raises(StaleArtifactError, match="network: first → second"):
        run_tasks(tmp_path, [a_store("second")])
    run_tasks(tmp_path, [a_store("second")], redo=True)
    assert [(tmp_path / "store" / name).read_text() for name in ("a", "b")] == ["second", "second"]


def test_what_is_expensive_is_not_thrown_away_unasked(tmp_path):
    task = Task("store", half_then_rest, {"network": "x"}, outputs=("store/a", "store/b"), keeps=("store",))
    run_tasks(tmp_path, [task])
    (tmp_path / "store" / "b").unlink()
    with pytest.raises(StaleArtifactError, match="store/b gone"):
        run_tasks(tmp_path, [task])
    assert (tmp_path / "store" / "a").exists()
    run_tasks(tmp_path, [task], redo=True)
    assert (tmp_path / "store" / "b").exists()


@pytest.mark.parametrize("calls_before_the_cut", range(6))
def test_a_redo_cut_short_never_passes_old_files_for_new(tmp_path, monkeypatch, calls_before_the_cut):
    run_tasks(tmp_path, [a_store("old")])
    calls = {"left": calls_before_the_cut}

    def cut(original):
        def wrapped(*arguments, **options):
            if calls["left"] == 0:
                raise KeyboardInterrupt
            calls["left"] -= 1
            return original(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", cut(type(tmp_path).rename))
        patch.setattr("pathlib.Path.unlink", cut(type(tmp_path).unlink))
        patch.setattr("shutil.rmtree", cut(shutil.rmtree))
        with contextlib.suppress(KeyboardInterrupt):
            run_tasks(tmp_path, [a_store("new")], redo=True)
    run_tasks(tmp_path, [a_store("new")], redo=True)
    assert [(tmp_path / "store" / name).read_text() for name in ("a", "b")] == ["new", "new"]


def test_tasks_that_are_listed_no_more_are_dropped_with_their_files(tmp_path):
    folds = [Task(f"train-{k}", half_then_rest, {"network": "x"}, outputs=("store",)) for k in range(2)]
    run_tasks(tmp_path, folds)
    announce(tmp_path, "train-2", ())  # never begun
    (tmp_path / "kept").touch()
    drop_others(tmp_path, "train-", folds[:1])
    assert sorted(p.name for p in (tmp_path / ".tasks").rglob("*.json")) == ["train-0.json", "train-0.progress.json"]
    assert not [*tmp_path.rglob("train-[12]*")]
    assert (tmp_path / "kept").exists()


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / "deep").mkdir()
    code = (
        "import os, sys; from pathlib import Path; from maskwright.artifacts import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n    temporary.write_text('half'); os._exit(9)"
    )
    for target in (tmp_path / "deep" / "scores.json", tmp_path / "recipe"):
        subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    (tmp_path / ".mine.tmp").touch()
    assert len([*tmp_path.rglob(".*.tmp*")]) == 3
    with lock(tmp_path):
        assert [p.name for p in tmp_path.rglob(".*.tmp*")] == [".mine.tmp"]


def test_a_folder_with_a_lock_of_its_own_is_not_swept(tmp_path):
    half = ".0123456789ab.tmp.png"
    for name in ("locked", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / half).touch()
    with lock(tmp_path / "locked"):
        (tmp_path / "locked" / half).touch()
        with lock(tmp_path):
            assert [path.parent.name for path in tmp_path.rglob(half)] == ["locked"]


def test_what_a_review_finishes_while_it_is_swept_is_no_fault(tmp_path, monkeypatch):
    """Of files listed in review/, the oldest is removed, and one that has got its name since is passed over."""
    (tmp_path / "review").mkdir()
    old, young, named = (tmp_path / "review" / f".{digit * 12}.tmp.png" for digit in "012")
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    listed = [(str(tmp_path / "review"), [], [old.name, young.name, named.name])]
    monkeypatch.setattr("maskwright.artifacts.os.walk", lambda root: listed)
    sweep(tmp_path)
    assert [path.exists() for path in (old, young)] == [False, True]

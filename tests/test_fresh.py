"""What was made from older things is told from what was made from those that stand now."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskwright.errors import StaleArtifactError
from maskwright.tasks import Task, check_fresh, run_tasks


def write(root: Path, spec: dict) -> None:
    (root / spec["to"]).write_text(spec["text"])


def chain(text: str) -> list[Task]:
    """Return three tasks, each after the one before it; the first writes the text."""
    return [
        Task("a", write, {"to": "a", "text": text}, outputs=("a",)),
        Task("b", write, {"to": "b", "text": "b"}, after=("a",), outputs=("b",)),
        Task("c", write, {"to": "c", "text": "c"}, after=("b",), outputs=("c",)),
    ]


def test_what_follows_a_task_that_was_done_anew_is_stale(tmp_path):
    run_tasks(tmp_path, chain("one"))
    for name in ("a", "b", "c"):
        check_fresh(tmp_path, name)
    run_tasks(tmp_path, chain("two")[:1], redo=True)
    check_fresh(tmp_path, "a")
    for name in ("b", "c"):  # c by what it follows
        with pytest.raises(StaleArtifactError, match="a was done anew"):
            check_fresh(tmp_path, name)
    run_tasks(tmp_path, chain("two"), redo=True)
    check_fresh(tmp_path, "c")


def test_what_was_never_done_is_not_stale(tmp_path):
    check_fresh(tmp_path, "tune")


def test_what_a_result_follows_must_be_there(tmp_path):
    run_tasks(tmp_path, chain("one"))
    (tmp_path / ".tasks" / "a.json").unlink()
    with pytest.raises(StaleArtifactError):
        check_fresh(tmp_path, "b")

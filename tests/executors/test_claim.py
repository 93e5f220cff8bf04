"""A task's lock is held by one worker at a time, however many wait for it."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from maskwright.errors import MaskwrightError
from maskwright.executors.claim import claim
from maskwright.tasks import Task, run_tasks


def test_many_that_wait_come_one_after_the_other(tmp_path):
    inside, most, done = [], [], []

    def work(number):
        with claim(tmp_path / "task.json"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(8))
    assert set(most) == {1}
    assert not (tmp_path / "task.lock").exists()


def test_one_that_goes_on_working_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[claim.__module__], "_PATIENCE", 0.1)
    with claim(tmp_path / "task.json"):
        with pytest.raises(MaskwrightError, match="still works at"), claim(tmp_path / "task.json"):
            pass
        assert (tmp_path / "task.lock").exists()


def count(root, spec):
    with (root / "calls").open("a") as file:
        file.write("x")


def test_what_a_worker_that_was_thought_to_be_lost_has_ended_is_not_done_again(tmp_path):
    from maskwright.tasks import _execute

    task = Task("t", count)
    run_tasks(tmp_path, [task])
    seconds = _execute(tmp_path, task, False)
    assert seconds >= 0
    assert (tmp_path / "calls").read_text() == "x"

"""Processes that end with the one that started them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from maskwright import processes
from maskwright.processes import free_memory, in_order, take_lock
from maskwright.tasks import lock

FOLLOW = """
import sys, time
from maskwright.processes import follow
follow(int(sys.argv[1]))
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(("parent", "seconds", "code"), [(None, "1.2", 0), (1 << 30, "60", 1)])
def test_a_process_ends_when_its_parent_is_another_one(parent, seconds, code):
    run = subprocess.run([sys.executable, "-c", FOLLOW, str(parent or os.getpid()), seconds], check=False, timeout=30)
    assert run.returncode == code


def test_free_memory_is_the_least_that_machine_and_container_leave(tmp_path, monkeypatch):
    free = free_memory()
    assert free is None or free > 1 << 20
    for name, text in (
        ("memory.max", "5000000\n"),
        ("memory.current", "4000000\n"),
        ("memory.stat", "anon 3000000\nactive_file 200000\ninactive_file 100000\n"),
    ):
        (tmp_path / name).write_text(text)
    group = (str(tmp_path), "memory.max", "memory.current", ("active_file", "inactive_file"))
    monkeypatch.setattr(processes, "_GROUPS", (group,))
    assert free_memory() == 1_300_000  # what is not used, and pages of files, which are given back
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(processes, "_left_of_machine", lambda: 7_000_000)
    assert free_memory() == 7_000_000
    monkeypatch.setattr(processes, "_left_of_machine", lambda: None)
    assert free_memory() is None  # nobody says


def test_work_is_done_in_order_and_never_far_ahead():
    begun, taken = [], []

    def work(item):
        begun.append(item)
        time.sleep(0.002 if item % 2 else 0)
        return item * 10

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    for place, made in enumerate(in_order(work, items(), threads=3)):
        assert made == 10 * place
        assert len(taken) <= place + 1 + 3 * 3  # so many are held, however many come
    assert len(begun) == 100


def test_an_error_comes_in_its_place():
    made = in_order(lambda item: 1 // item, [1, 1, 0, 1], threads=2)
    assert [next(made), next(made)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_who_looks_for_a_moment_whether_a_folder_is_held_stops_nobody(tmp_path):
    with lock(tmp_path):
        pass
    with open(tmp_path / ".lock", encoding="utf-8") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as `watch` does
        timer = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        with lock(tmp_path):
            pass
        timer.join()
        fcntl.flock(looking, fcntl.LOCK_SH)
        with open(tmp_path / ".lock", encoding="utf-8") as other:
            assert not take_lock(other, 0.1)

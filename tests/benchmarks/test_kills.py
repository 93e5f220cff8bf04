"""The moment of a kill, on a process that does nothing."""

from __future__ import annotations

import sys
import time

import pytest

from benchmarks import kills

RUN = """
import pathlib, sys, time
time.sleep(0.3)
tasks = pathlib.Path(sys.argv[1])
(tasks / "s.started.json").write_text("anew")
time.sleep(0.3)
(tasks / "s.json").touch()
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(("delay", "after", "killed"), [(0, 60, True), (1, 60, False), (2, 0, False)])
def test_a_kill_waits_for_the_stage_of_its_own_process(tmp_path, delay, after, killed):
    begun = tmp_path / ".tasks" / "s.started.json"
    begun.parent.mkdir()
    begun.write_text("left by the one killed before")
    time.sleep(0.05)
    found = kills.kill_in([sys.executable, "-c", RUN, str(begun.parent), str(after)], tmp_path, "s", delay)
    assert found == {"stage": "s", "after_seconds": delay, "killed": killed}
    assert begun.read_text() == "anew"

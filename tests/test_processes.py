"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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

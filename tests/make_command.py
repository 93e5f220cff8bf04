"""The command line in this process: loading torch anew for each command would take most of the time."""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

from maskwright.cli import main


class Done(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def run_command(*words: object) -> Done:
    """Give a command, without `maskwright` in front, and wait for it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())

"""A task's own lock: a worker that was thought to be lost may still be writing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from maskwright.errors import MaskwrightError, problem
from maskwright.processes import take_lock

_PATIENCE = 60.0


@contextmanager
def claim(record: Path) -> Iterator[None]:
    """Hold a task for this worker; wait for a minute until no other one holds it.

    Args:
        record: path of the task's record; the lock's file is beside it, as long as somebody works.

    Raises:
        MaskwrightError: another worker still holds it.
    """
    path = record.with_suffix(".lock")
    end = time.monotonic() + _PATIENCE
    while True:
        with open(path, "w", encoding="utf-8") as file:
            if not take_lock(file, end - time.monotonic()):
                raise _taken(path)
            if not _is_at(file, path):  # who held it has removed it: a third one may have made another
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _taken(path: Path) -> MaskwrightError:
    got = "one that a worker, which was thought to be gone, still works at"
    next_move = "wait until it has ended, or end it; the same command goes on"
    return MaskwrightError(problem("a task that nobody works at", got, where=str(path), next_move=next_move))

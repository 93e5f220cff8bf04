"""How far many runs are together: what one of them reports says which it is, and how long all that is left takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from maskwright.progress import Listener, heard
from maskwright.tasks import Task, status


class OfAll:
    """Passes progress on to who listens now, with the place of the task that is worked on in front.

    The time left takes every task to cost what the ones that are done did.

    Args:
        root: folder of the tasks.
        tasks: all of them.
    """

    def __init__(self, root: Path, tasks: Sequence[Task]) -> None:
        self.passed_on: Listener = heard()
        states = status(root, tasks)
        self.open = [task.name for task in tasks if states[task.name] != "done"]
        self.count, self.place = len(tasks), ""
        self.started: float = time.monotonic()

    def __call__(self, label: str, done: int, total: int | None, note: str) -> None:
        """Pass on, or take note of the task that begins."""
        if label in self.open:
            before = self.open.index(label)
            nth = self.count - len(self.open) + before + 1
            elapsed = time.monotonic() - self.started
            left = f", {elapsed / before * (len(self.open) - before) / 60:.0f} min left" if before else ""
            self.place = f"{label} ({nth} of {self.count}{left}): "
        self.passed_on(self.place + label, done, total, note)

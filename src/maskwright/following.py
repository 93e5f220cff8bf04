"""Tasks followed from the command that runs them: how often each was begun, and how far all of them are together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskwright.artifacts import sweep
from maskwright.errors import MaskwrightError, problem
from maskwright.progress import report
from maskwright.watching import announce, log_path, told


class Followed:
    """The tasks of one call.

    Args:
        root: the run folder.
        paths: {task: what it makes and keeps}.
        here: they run in this process, and their progress is heard as it is.
    """

    def __init__(self, root: Path, paths: Mapping[str, Sequence[str]], *, here: bool) -> None:
        self.root, self.paths, self.here = root, paths, here
        self.attempts: dict[str, int] = {}
        self.notes: dict[str, str] = {}
        self.any_lost = False

    def expect(self, name: str) -> None:
        """Let those who watch see a task that will come."""
        announce(self.root, name, self.paths[name])

    def begin(self, name: str) -> None:
        """Count a beginning of a task."""
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if self.attempts[name] == 1:
            self.expect(name)

    def lost(self, name: str, why: str, most: int) -> None:
        """Say that a worker was lost; its task is begun again.

        Raises:
            MaskwrightError: that was the last attempt.
        """
        self.any_lost, attempt = True, self.attempts[name]
        if attempt >= most:
            raise MaskwrightError(
                problem(
                    f"a worker that stays until {name} is done",
                    f"{attempt} that were lost; the last one: {why}",
                    where=str(log_path(self.root, name)),
                    next_move="the same command goes on from the last checkpoint; fewer executor.jobs need less "
                    "memory, and executor.attempts says how often to try",
                )
            )
        for path in self.paths[name]:
            if (self.root / path).is_dir():
                sweep(self.root / path)
        note = f"worker lost: {why}; going on with attempt {attempt + 1} of {most}"
        announce(self.root, name, self.paths[name], attempt=attempt + 1, note=note)
        self.report()

    def report(self) -> None:
        """Report how far the tasks that were begun are, all together, and what is new in their notes."""
        if self.here or not self.attempts:
            return
        known = {name: told(self.root, name) for name in self.attempts}
        totals = {name: said["total"] for name, said in known.items() if said.get("total")}
        done = sum(min(known[name]["done"], total) for name, total in totals.items())
        total = round(sum(totals.values()) * len(known) / len(totals)) if totals else None
        label = _together(list(known))
        for name, said in known.items():
            if (note := said.get("note", "")) and note != self.notes.get(name):
                self.notes[name] = note
                report(label, done, total, f"{name}: {note}")
        report(label, done, total)

    def end(self) -> None:
        """Clear away what lost workers left half-written; nobody else is writing now."""
        if self.any_lost:
            sweep(self.root)


def _together(names: list[str]) -> str:
    """Return what several tasks are called.

    Example:
        >>> _together(["train-fold-0", "train-fold-1"]), _together(["tune"])
        ('train-fold-*', 'tune')
    """
    if len(names) == 1:
        return names[0]
    first, last = min(names), max(names)
    shared = first[: next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
    return f"{shared}*" if shared else f"{len(names)} tasks"

"""What people see: progress with time left, tables, errors. Everything goes to stderr; stdout is for results."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from maskwright.artifacts import plain
from maskwright.progress import listen

_EVERY_SECONDS = 15.0
_LOG_WIDTH = 120


def console() -> Console:
    """Return a console on the present stderr; tables in a log file may be wider than a terminal's usual 80 columns."""
    known = sys.stderr.isatty() or "COLUMNS" in os.environ
    return Console(stderr=True, highlight=False, soft_wrap=True, width=None if known else _LOG_WIDTH)


def complain(message: str) -> None:
    """Print an error."""
    console().print(f"[bold red]error:[/] {_escape(message)}")


def say(message: str) -> None:
    """Print a line."""
    console().print(_escape(message))


def result(value: Any, *, as_json: bool) -> None:
    """Print a result as JSON on stdout, if it was asked for."""
    if as_json:
        sys.stdout.write(json.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,)) -> None:
    """Print a table; the columns at the positions `words` are text, the others numbers."""
    drawn = Table(title=title, title_justify="left", title_style="bold")
    for place, column in enumerate(columns):
        drawn.add_column(column, justify="left" if place in words else "right")
    for row in rows:
        drawn.add_row(*(_escape(cell) for cell in row))
    console().print(drawn)


@contextmanager
def progress() -> Iterator[None]:
    """Show the progress of everything inside: bars on a terminal, a line now and then elsewhere."""
    out = console()
    if not out.is_terminal:
        with listen(_Lines(out)):
            yield
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=out, transient=True) as bars, listen(_Bars(bars)):
        yield


class _Bars:
    """One bar at a time; finished ones leave a line."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, label: str, done: int, total: int | None, note: str) -> None:
        if label not in self.tasks:
            for old in [name for name in self.tasks if name != label]:
                self.bars.remove_task(self.tasks.pop(old))
            self.tasks[label] = self.bars.add_task(label, total=total, note=note)
        self.bars.update(self.tasks[label], completed=done, total=total, note=note)


class _Lines:
    """For log files: a line when something long goes on, with the time left, and when it is done."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.label, self.started, self.spoken, self.note = "", 0.0, 0.0, ""

    def __call__(self, label: str, done: int, total: int | None, note: str) -> None:
        now = time.monotonic()
        if note not in ("", self.note):
            self.note = note
            self.out.print(f"{label}: {_escape(note)}")
        if label != self.label:
            self.label, self.started, self.spoken = label, now, now
            return
        finished = total is not None and done >= total
        elapsed = now - self.started
        if not (finished and elapsed > 2) and now - self.spoken < _EVERY_SECONDS:
            return
        self.spoken = now
        left = f", {clock(elapsed * (total - done) / done)} left" if total and done and not finished else ""
        self.out.print(f"{label}: {done}{f'/{total}' if total else ''} in {clock(elapsed)}{left}")


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds, a long one with hours.

    Example:
        >>> clock(75), clock(3600 + 75)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)

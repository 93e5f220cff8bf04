"""How far every task of a run folder is, read from its files alone: by whoever watches, from any process or machine."""

from __future__ import annotations

import csv
import fcntl
import json
import re
import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from maskwright.artifacts import LOCK, RECORDS, read_json
from maskwright.errors import UsageError, problem
from maskwright.processes import is_running
from maskwright.watching import all_told, log_path

State = Literal["done", "running", "waiting", "stopped", "failed"]

_ALIVE_SECONDS = 60.0
"""A task that told something so recently runs, also where the command that began it is gone."""
_NO_SCORE = re.compile(r"step|seconds|lr|waited|loss_.*|.*[/@].*")
"""Columns of metrics.csv that are neither the loss nor the score of all categories together."""
_INNER = ("base", "points/*", "protocols/*")
"""Runs inside the folder of a curve or of protocols."""


@dataclass(frozen=True)
class Command:
    """The command that works in a run folder, or that did last.

    Attributes:
        running: it works there now.
        command: what was typed; empty if nobody knows.
        host: its machine.
        pid: its process.
    """

    running: bool
    command: str = ""
    host: str = ""
    pid: int = 0


@dataclass(frozen=True)
class TaskState:
    """One task as those see it who watch.

    Attributes:
        name: of the task.
        state: stopped was begun and is not running; waiting was not begun yet, or waits in a queue.
        attempt: how often it was begun.
        fold: its number; None for a task of no fold.
        doing: what it is at.
        done: steps of that.
        total: None where it isn't known.
        seconds: that it has taken, or took.
        left: seconds until what it is at is done, at the speed so far.
        scores: the last loss and scores of its metrics.csv.
        cpu: processor seconds a second.
        memory: bytes.
        gpus: index, use, memory and total of each that it sees.
        host: its machine.
        log: its last line.
    """

    name: str
    state: State
    attempt: int = 1
    fold: int | None = None
    doing: str = ""
    done: int = 0
    total: int | None = None
    seconds: float | None = None
    left: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    cpu: float | None = None
    memory: int | None = None
    gpus: list[dict[str, Any]] = field(default_factory=list)
    host: str = ""
    log: str = ""


def command_of(root: Path) -> Command:
    """Return which command works in a run folder, or did last.

    Raises:
        UsageError: the folder is none of a run.
    """
    if not (root / RECORDS).is_dir() and not (root / LOCK).is_file():
        raise UsageError(
            problem(
                "the folder of a run",
                "one without any task" if root.is_dir() else "a file" if root.exists() else "nothing",
                where=str(root),
                next_move="name what --out named; without --out that is runs/NAME of the data folder",
            )
        )
    try:
        known = json.loads((root / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an earlier version
        return Command(_is_held(root))
    alive = known["host"] != socket.gethostname() or is_running(known["pid"])
    return Command(alive and _is_held(root), known["command"], known["host"], known["pid"])


def task_states(root: Path, command: Command) -> list[TaskState]:
    """Return the state of every task that was done, begun or announced, the oldest first; then those of the runs that
    a curve or protocols have inside, after the path of their folder.
    """
    inner = sorted((path for pattern in _INNER for path in root.glob(pattern)), key=lambda path: _natural(str(path)))
    found = _states(root, command)
    for folder in inner:
        told = all_told(folder)  # records alone are copies of another run's
        states = [state for state in _states(folder, command) if state.name in told]
        found += [replace(state, name=f"{folder.relative_to(root).as_posix()}/{state.name}") for state in states]
    return found


def _states(root: Path, command: Command) -> list[TaskState]:
    records = {p.name.removesuffix(".json"): p for p in (root / RECORDS).glob("*.json") if _is_record(p)}
    ended = {name: path.stat().st_mtime for name, path in records.items()}
    known = all_told(root)
    names = sorted({*records, *known}, key=lambda name: (ended.get(name, float("inf")), _natural(name)))
    return [_state(root, name, records.get(name), known.get(name, {}), command) for name in names]


def _state(root: Path, name: str, record: Path | None, told: dict[str, Any], command: Command) -> TaskState:
    seconds, state = None, told.get("state", "done")
    if record is not None:
        state, seconds = "done", _seconds(record)
    elif state == "running" and _runs(told, command):
        seconds = time.time() - told["started"]
    elif state in ("running", "stopped"):
        state = "stopped"
    elif state != "failed":  # announced, or to be done anew
        state = "waiting"
    running = state == "running"
    return TaskState(
        name=name,
        state=state,
        attempt=told.get("attempt", 1),
        fold=told.get("fold"),
        doing=told.get("label", "") if running or state in ("stopped", "failed") else "",
        done=told.get("done", 0),
        total=told.get("total"),
        seconds=seconds,
        left=_left(told) if running else None,
        scores=_scores(root, told.get("metrics")),
        cpu=told.get("cpu") if running else None,
        memory=told.get("memory") if running else None,
        gpus=told.get("gpus", []) if running else [],
        host=told.get("host", ""),
        log=_last_line(log_path(root, name)),
    )


def _runs(told: dict[str, Any], command: Command) -> bool:
    """Tell whether what said that it runs still does; the clock of another machine may differ."""
    recent = time.time() - told["updated"] < _ALIVE_SECONDS
    return recent or (command.running and told["host"] != socket.gethostname())


def _left(told: dict[str, Any]) -> float | None:
    steps, total = told["done"] - told["first"], told["total"]
    if total is None or steps <= 0:
        return None
    left: float = (told["updated"] - told["since"]) / steps * max(0, total - told["done"])
    return left


def _seconds(record: Path) -> float | None:
    try:
        seconds: float | None = read_json(record).get("seconds")
    except (OSError, ValueError):
        return None
    return seconds


def _scores(root: Path, path: str | None) -> dict[str, float]:
    """Return the last value of the loss and of each score in a table of curves."""
    found: dict[str, float] = {}
    try:
        with open(root / (path or ""), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found |= {key: float(value) for key, value in row.items() if value and not _NO_SCORE.fullmatch(key)}
    except (OSError, ValueError):
        return found
    return found


def _last_line(path: Path) -> str:
    """Return the last line of a log without its time and host."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    return lines[-1].split(" ", 2)[-1] if lines else ""


def _is_record(path: Path) -> bool:
    return not path.name.endswith(".started.json") and not path.name.startswith(".") and path.name != "recipe.json"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _is_held(root: Path) -> bool:
    """Tell whether a process holds the folder, by asking for its lock for a moment, together with others who ask."""
    try:
        with open(root / LOCK, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

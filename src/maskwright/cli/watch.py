"""All trainings of a run in one table: `watch`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from maskwright.cli.console import clock, console, result, say
from maskwright.states import Command, TaskState, command_of, task_states

if TYPE_CHECKING:
    from rich.table import Table

_ORDER = ("running", "failed", "stopped", "waiting", "done")
_COLOURS = {"done": "green", "running": "cyan", "waiting": "dim", "stopped": "yellow", "failed": "bold red"}
_AROUND = 8
"""Lines around the rows of the table."""
_COLUMNS = ("task", "state", "fold", "step", "time", "left", "scores", "CPU", "memory", "GPU", "host", "log")
_LONG = ("scores", "log")
"""Columns whose cells may take several lines, so that the others keep their width."""
_MOST_SCORES = 2


def watch(
    run: Path,
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    every: float = 1.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """See how far every task of a run is: state, step, time left, scores, use of the machine, last line of its log.

    Reads the run folder alone, so it works from any terminal on any machine that sees the folder, whatever the tasks
    run on, and disturbs nothing. Ends with the run, or with Ctrl-C, which leaves the run alone.

    Args:
        run: run folder.
        once: print the table and end; also where the output is no terminal.
        every: seconds between two looks.
        json: write the states as JSON to stdout and end.
    """
    command = command_of(run)
    states = task_states(run, command)
    out = console()
    if once or json or not out.is_terminal or not command.running:
        if not json:
            out.print(_table(run, states))
            say(_told(run, command, states))
        result({"run": str(run), **vars(command), "tasks": [vars(state) for state in states]}, as_json=json)
        return
    _follow(run, every)


def _follow(run: Path, every: float) -> None:
    from rich.live import Live

    out = console()
    command = command_of(run)
    try:
        with Live(console=out, auto_refresh=False, vertical_overflow="crop") as live:
            while (command := command_of(run)).running:
                states = task_states(run, command)
                live.update(_table(run, states, rows=max(1, out.height - _AROUND)), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        say("no longer watched; the run goes on")
        return
    states = task_states(run, command)
    out.print(_table(run, states))
    say(_told(run, command, states))


def _table(run: Path, states: Sequence[TaskState], rows: int | None = None) -> Table:
    """Return the table; with too few rows for all, those that run come first, and the others are counted."""
    from rich.markup import escape
    from rich.table import Table

    shown = list(states)
    if rows is not None and len(shown) > rows:
        kept = sorted(shown, key=lambda state: _ORDER.index(state.state))[:rows]
        shown = [state for state in states if state in kept]
    hidden = Counter(state.state for state in states if state not in shown)
    caption = ", ".join(f"{count} more {state}" for state, count in hidden.items())
    title = f"{run}: " + ", ".join(f"{n} {state}" for state, n in Counter(s.state for s in states).items())
    drawn = Table(title=escape(title), title_justify="left", title_style="bold", caption=caption or None)
    cells = [_cells(state) for state in shown]
    used = [place for place in range(len(_COLUMNS)) if place < 2 or any(row[place] for row in cells)]
    for place in used:
        right = _COLUMNS[place] in ("fold", "step", "time", "left", "CPU", "memory")
        name = _COLUMNS[place]
        drawn.add_column(name, justify="right" if right else "left", no_wrap=name not in _LONG, overflow="fold")
    for row, state in zip(cells, shown, strict=True):
        drawn.add_row(*(escape(row[place]) for place in used), style=_COLOURS[state.state])
    return drawn


def _cells(state: TaskState) -> list[str]:
    scores = list(state.scores.items())
    attempt = f" ({_nth(state.attempt)} time)" if state.attempt > 1 else ""
    step = "" if state.total is None else f"{state.done}/{state.total}"
    return [
        state.name,
        state.state + attempt,
        "" if state.fold is None else str(state.fold),
        step if state.state != "done" else "",
        "" if state.seconds is None else clock(state.seconds),
        "" if state.left is None else clock(state.left),
        ", ".join(f"{name} {value:.4g}" for name, value in scores[:_MOST_SCORES]),
        "" if state.cpu is None else f"{state.cpu:.0%}",
        "" if state.memory is None else f"{state.memory / 1e9:.1f} GB",
        "; ".join(map(_gpu, state.gpus)),
        state.host,
        state.log,
    ]


def _gpu(gpu: dict[str, Any]) -> str:
    use = "" if gpu["use"] is None else f" {gpu['use']:.0%}"
    memory = "" if gpu["memory"] is None or gpu["total"] is None else f" {_gb(gpu['memory'])}/{_gb(gpu['total'])} GB"
    return f"{gpu['index']}:{use}{memory}"


def _gb(size: int) -> str:
    return f"{size / 1e9:.0f}"


def _nth(number: int) -> str:
    return f"{number}{ {2: 'nd', 3: 'rd'}.get(number, 'th') }"


def _told(run: Path, command: Command, states: Sequence[TaskState]) -> str:
    """Return whether the run runs, and if not, how it goes on."""
    if command.running:
        return f"running: {command.command or 'a command'} (process {command.pid} on {command.host})"
    open_tasks = [state for state in states if state.state != "done"]
    again = command.command or f"maskwright run --recipe {run / 'recipe.yaml'} --out {run}"
    if not open_tasks:
        return f"nothing runs; all {len(states)} tasks that were begun are done. The last command: {again}"
    alive = sum(state.state == "running" for state in states)
    gone = f"the command that began it is gone, {alive} of its tasks go on" if alive else "not running"
    return f"{gone}; {len(open_tasks)} of {len(states)} tasks are not done. The same command goes on: {again}"

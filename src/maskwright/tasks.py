"""Tasks: what is done already is skipped, what was cut short goes on, what changed is said before it is redone.

A task names its spec (plain data), the tasks it builds on, a module-level function and the paths it makes. When it
ends, a record with the fingerprint of all that is written; a task whose fingerprint stands is never run again.
Skipping, resuming and spreading is this module's alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwright.artifacts import LOCK, read_json, sweep, write_json
from maskwright.errors import MaskwrightError, StaleArtifactError, UsageError, problem
from maskwright.executors import LostError, claim, in_this_process, open_executor
from maskwright.following import Followed
from maskwright.processes import command_line, take_lock
from maskwright.progress import report
from maskwright.recipe.edit import flatten
from maskwright.recipe.executor import ExecutorSpec, LocalSpec
from maskwright.watching import INTERVAL, all_told, telling, untell

_PATIENCE = 0.5
"""Seconds in which a lock is tried again: who only looks whether it is held (`watch`) has it for a moment."""


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        name: unique in its run folder; also the name of its record.
        function: module-level function of (run folder, spec); may return the resolved spec, under which the
            task counts as done, too.
        spec: plain data that decides the result.
        after: names of the tasks whose artifacts it reads.
        outputs: paths inside the run folder that it makes, removed by a redo.
        outside: {path: state} of files that no task made and that decide the result; or a module-level function of the
            run folder that returns it, called when the task is due, after those that it builds on.
        schema: raised when the function's artifacts change their form.
        keeps: outputs that a cut-short run leaves to be continued (checkpoints); a redo removes them.
        made: module-level function of the run folder that returns what of the outputs others read, as plain data: the
            tasks that build on this one are stale if that changed; without it, if anything that this one is made from
            did.
    """

    name: str
    function: Callable[[Path, Any], Any]
    spec: dict[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    outside: dict[str, Any] | Callable[[Path], dict[str, Any]] = field(default_factory=dict)
    schema: int = 1
    keeps: tuple[str, ...] = ()
    made: Callable[[Path], Any] | None = None


def run_tasks(
    root: Path, tasks: Sequence[Task], *, jobs: int | None = 1, redo: bool = False, executor: ExecutorSpec | None = None
) -> dict[str, float]:
    """Run the tasks that aren't done yet, in an order that respects `after`.

    A task whose worker is lost is begun again and goes on from what it keeps; an error that it raises is raised here,
    after all other workers were stopped.

    Args:
        root: the run folder.
        tasks: the tasks; each name in an `after` is an earlier task of the list or has a record.
        jobs: tasks at a time where no executor is given; 1 runs them in this process, more in fresh processes.
        redo: redo what doesn't match instead of refusing.
        executor: where they run.

    Returns:
        {name: seconds} of the tasks that ran now.

    Raises:
        StaleArtifactError: a record doesn't match its task and `redo` is off.
        MaskwrightError: the workers of a task were lost too often.
    """
    spec = executor or LocalSpec(jobs=jobs or 1)
    here = in_this_process(spec)
    root = root if here else root.resolve()
    if not here and _are_done(root, tasks, redo=redo):  # a cluster is not asked for nothing
        return {}
    waiting, ready, seconds = list(tasks), list[Task](), dict[str, float]()
    running: dict[Future[float], Task] = {}
    followed = Followed(root, {task.name: (*task.outputs, *task.keeps) for task in tasks}, here=here)
    for task in tasks:
        if not _record_path(root, task.name).is_file():
            followed.expect(task.name)
    with open_executor(spec, root, len(tasks)) as submit:
        while waiting or ready or running:
            for task in [t for t in waiting if not _blocked(t, [*waiting, *ready, *running.values()])]:
                waiting.remove(task)
                if not _is_done(root, task, redo=redo):
                    _clear_way(root, task, redo=redo)
                    ready.append(task)
                    if here:
                        break
            while ready and len(running) < (spec.jobs or len(tasks)):
                task = ready.pop(0)
                followed.begin(task.name)
                running[submit(task.name, _execute, root, task, here)] = task
            done, _ = wait(running, timeout=None if here else INTERVAL, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    seconds[task.name] = future.result()
                except LostError as error:
                    followed.lost(task.name, str(error), spec.attempts)
                    ready.append(task)
            followed.report()
    followed.end()
    return seconds


def check_specs(root: Path, tasks: Sequence[Task]) -> None:
    """Raise StaleArtifactError if any task was done from another spec, before anything is changed."""
    for task in tasks:
        record = _load_record(root, task.name)
        if record is not None and (changes := _spec_changes(task, record)):
            raise _stale(root, task, changes)


def status(root: Path, tasks: Sequence[Task]) -> dict[str, str]:
    """Return {name: "done" | "stale" | "open"}; a task that has lost an output is open."""
    states = {}
    for task in tasks:
        record = _load_record(root, task.name)
        cut = any(_load_record(root, name) is None for name in task.after)  # a redo ended too soon
        if record is not None and (cut or _changes(root, task, record)):
            states[task.name] = "stale"
        else:
            states[task.name] = "done" if record is not None and _stands(root, task) else "open"
    return states


def check_fresh(root: Path, name: str) -> None:
    """See that what a task made was made from what stands now; a task without record has made nothing.

    Raises:
        StaleArtifactError: what it follows was made anew since, or is gone.
    """
    record = _load_record(root, name)
    for before, known in (record or {}).get("after", {}).items():
        now = _load_record(root, before)
        if now is None or now["fingerprint"] != known:
            raise StaleArtifactError(
                problem(
                    f"results of {name} that were made from what {before} made",
                    f"older ones: {before} was done anew since",
                    where=str(_record_path(root, name)),
                    next_move=f"finish the run: maskwright run --recipe {root}/recipe.yaml --out {root} --redo",
                )
            )
        check_fresh(root, before)


def forget(root: Path, task: Task) -> None:
    """Remove a task's outputs and its record.

    The outputs are renamed away first, in one step each, and the record goes before they are deleted: whenever this is
    cut short, there is either a record that still says what stands there, or nothing left to be continued.
    """
    trash = root / ".trash" / task.name
    shutil.rmtree(trash, ignore_errors=True)
    trash.mkdir(parents=True)
    for number, output in enumerate({*task.outputs, *task.keeps}):
        if (root / output).exists():
            (root / output).rename(trash / str(number))
    _record_path(root, task.name).unlink(missing_ok=True)
    _plan_path(root, task.name).unlink(missing_ok=True)
    untell(root, task.name)
    shutil.rmtree(trash.parent)


def drop_others(root: Path, kind: str, tasks: Sequence[Task]) -> None:
    """Forget the recorded tasks whose names begin with `kind` and that are not among `tasks` any more."""
    listed = {task.name for task in tasks}
    for path in sorted((root / ".tasks").glob(f"{kind}*.json")):
        name = path.name.removesuffix(".json").removesuffix(".started")
        if name not in listed:
            known = read_json(path)
            forget(root, Task(name, forget, outputs=tuple(known.get("outputs", ()))))
    for name in all_told(root):
        if name.startswith(kind) and name not in listed:  # it was never begun
            untell(root, name)


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """Hold a folder for this process; clear away what a killed one left half-written.

    Raises:
        UsageError: another process works in it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / LOCK, "a", encoding="utf-8") as file:  # what the holder wrote stays where it can't be had
        if not take_lock(file, _PATIENCE):
            raise UsageError(
                problem(
                    "a folder that is free",
                    "one that another process works in",
                    where=str(root),
                    next_move="wait for it, or use another --out",
                )
            )
        with suppress(OSError):  # nobody needs it but those who watch
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), json.dumps(command_line()).encode())
        sweep(root)
        yield


def fingerprint(value: Any) -> str:
    """Return a 16-digit hash of plain data, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_state(path: Path) -> list[int]:
    """Return what is compared to see that a file outside the run folder has changed: size and mtime in ns."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _execute(root: Path, task: Task, here: bool) -> float:
    """Do a task in this process, be it the one that asked or a worker."""
    with nullcontext() if here else claim(_record_path(root, task.name)), telling(root, task.name):
        done = None if here else _load_record(root, task.name)  # by one that was thought to be lost
        return _do(root, task) if done is None else float(done["seconds"])


def _do(root: Path, task: Task) -> float:
    start = time.perf_counter()
    basis = _basis(root, task)
    write_json(_plan_path(root, task.name), basis)
    report(task.name, 0, None)
    resolved = task.function(root, task.spec)
    missing = [o for o in task.outputs if not (root / o).exists()]
    assert not missing, f"task {task.name} did not make {missing}"
    seconds = time.perf_counter() - start
    record = basis | {"seconds": seconds, "resolved": resolved}
    decided = [resolved or basis["spec"], basis["after"], basis["outside"]] if task.made is None else [task.made(root)]
    record["fingerprint"] = fingerprint([*decided, basis["schema"]])
    write_json(_record_path(root, task.name), record)
    _plan_path(root, task.name).unlink(missing_ok=True)
    return seconds


def _basis(root: Path, task: Task) -> dict[str, Any]:
    """All that decides the task's result, as plain data read back from JSON, so that it compares equal."""
    after = {}
    for name in task.after:
        record = _load_record(root, name)
        assert record is not None, f"task {task.name} needs {name}, which has no record"
        after[name] = record["fingerprint"]
    outside = task.outside(root) if callable(task.outside) else task.outside
    basis = {"spec": task.spec, "after": after, "outside": outside, "schema": task.schema}
    basis["outputs"] = [*task.outputs, *task.keeps]
    plain: dict[str, Any] = json.loads(json.dumps(basis, default=str))
    return plain


def _are_done(root: Path, tasks: Sequence[Task], *, redo: bool) -> bool:
    known = all(_load_record(root, task.name) is not None for task in tasks)
    return known and all(_is_done(root, task, redo=redo) for task in tasks)


def _is_done(root: Path, task: Task, *, redo: bool) -> bool:
    record = _load_record(root, task.name)
    if record is None:
        return False
    changes = _changes(root, task, record)
    if not changes:
        return _stands(root, task)
    if redo:
        return False
    raise _stale(root, task, changes)


def _stands(root: Path, task: Task) -> bool:
    return all((root / output).exists() for output in task.outputs)


def _check_gone(root: Path, task: Task, *, redo: bool) -> None:
    """A task that matches but lost an output is done anew by itself only if it is no training."""
    gone = [output for output in task.outputs if not (root / output).exists()]
    if gone and task.keeps and not redo:
        raise StaleArtifactError(
            problem(
                f"all files of {task.name}",
                f"{', '.join(gone)} gone",
                where=str(root),
                next_move="put back what is gone, or add --redo to make all files of this task anew",
            )
        )


def _check_continuation(root: Path, task: Task, *, redo: bool) -> None:
    """What a cut-short run left is continued only if it was made from the same."""
    plan = _plan_path(root, task.name)
    if not plan.is_file() or not any((root / kept).exists() for kept in task.keeps):
        return
    changes = _changes(root, task, read_json(plan))
    if not changes:
        return
    if not redo:
        raise _stale(root, task, changes)
    forget(root, task)


def _changes(root: Path, task: Task, record: dict[str, Any]) -> list[str]:
    basis = _basis(root, task)
    lines = _spec_changes(task, record)
    lines += _differences(record["outside"], basis["outside"])
    lines += [f"{name} was made anew" for name, f in basis["after"].items() if record["after"].get(name) != f]
    if basis["schema"] != record["schema"]:
        lines.append("the form of the artifacts changed with the version of maskwright")
    return lines


def _spec_changes(task: Task, record: dict[str, Any]) -> list[str]:
    """Return what differs from what was asked for, or from what came of it, whichever is closer."""
    spec = json.loads(json.dumps(task.spec, default=str))
    known = [old for old in (record.get("resolved"), record["spec"]) if old is not None]
    if spec in known:
        return []
    readings: list[list[str]] = [_differences(old, spec) for old in known]
    return sorted(readings, key=len)[0]


def _differences(old: Any, new: Any) -> list[str]:
    """Return a line for each leaf that differs; an empty branch is none where the other side has leaves below it."""
    before, now = flatten(old), flatten(new)
    before, now = _grown(before, now), _grown(now, before)
    absent = "(nothing)"
    return [
        f"{key}: {before.get(key, absent)} → {now.get(key, absent)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, absent) != now.get(key, absent)
    ]


def _grown(leaves: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the leaves without empty branches that hold something in the other tree."""
    branches = {key[:end] for key in other for end, letter in enumerate(key) if letter == "."} | {""}
    return {key: value for key, value in leaves.items() if value not in ({}, []) or key not in branches}


def _stale(root: Path, task: Task, changes: list[str]) -> StaleArtifactError:
    shown = "\n".join(f"    {line}" for line in changes[:12])
    more = f"\n    … and {len(changes) - 12} more" if len(changes) > 12 else ""
    return StaleArtifactError(
        problem(
            f"results of this recipe and data in {root}",
            f"others at {task.name}:\n{shown}{more}",
            where=str(_record_path(root, task.name)),
            next_move="add --redo to replace them, or give another folder with --out",
        )
    )


def _clear_way(root: Path, task: Task, *, redo: bool) -> None:
    """Remove what a task that is due would build on by mistake."""
    if _load_record(root, task.name) is not None:
        _check_gone(root, task, redo=redo)
        forget(root, task)
    _check_continuation(root, task, redo=redo)


def _blocked(task: Task, pending: Sequence[Task]) -> bool:
    return bool({other.name for other in pending} & set(task.after))


def _load_record(root: Path, name: str) -> dict[str, Any] | None:
    path = _record_path(root, name)
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise MaskwrightError(
            problem("a task record", str(error), where=str(path), next_move="delete this file; the task runs again")
        ) from None
    return record


def _record_path(root: Path, name: str) -> Path:
    return root / ".tasks" / f"{name}.json"


def _plan_path(root: Path, name: str) -> Path:
    return root / ".tasks" / f"{name}.started.json"

"""What tests let workers do, in processes that import it by its name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from maskwright.errors import UsageError
from maskwright.progress import report
from maskwright.tasks import Task, run_tasks

STEPS = 6


def climb(root: Path, spec: dict) -> None:
    """Take six steps from where it was left, each of them noted; the sum of their squares is the score.

    At step `die_at` the process is killed, as often as `deaths` says.
    """
    kept = root / spec["name"]
    kept.mkdir(exist_ok=True)
    state, died = kept / "state", kept / "died"
    done, score = map(int, state.read_text().split()) if state.exists() else (0, 0)
    for step in range(done, STEPS):
        died_before = len(died.read_text()) if died.exists() else 0
        if step == spec.get("die_at") and died_before < spec["deaths"]:
            died.write_text("x" * (died_before + 1))
            (kept / ".0123456789ab.tmp").touch()  # half of a checkpoint
            os.kill(os.getpid(), signal.SIGKILL)
        with (kept / "steps").open("a") as steps:
            steps.write(f"{step}\n")
        score += (step + spec["seed"]) ** 2
        state.write_text(f"{step + 1} {score}")
        report(f"climb {spec['name']}", step + 1, STEPS)
    (kept / "score").write_text(str(score))
    (kept / "threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))
    (kept / "pid").write_text(str(os.getpid()))


def climbing(name: str, seed: int = 0, **more: int) -> Task:
    return Task(name, climb, {"name": name, "seed": seed, **more}, outputs=(f"{name}/score",), keeps=(name,))


def refuse(root: Path, spec: dict) -> None:
    with (root / "calls").open("a") as calls:
        calls.write("x")
    if spec["error"] == "own":
        raise UsageError("no such thing")
    if spec["error"] == "unpicklable":
        raise UnpicklableError(lambda: 0)
    raise KeyError("foreign")


class UnpicklableError(Exception):
    """Holds what can't be sent to another process."""


def linger(root: Path, spec: dict) -> None:
    """Say which process this is, then wait until `quick` is there."""
    with (root / f"{spec['name']}.pid").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not (root / "quick").exists():
        time.sleep(0.05)
    (root / spec["name"]).write_text("done")


def lingering(name: str) -> Task:
    return Task(name, linger, {"name": name}, outputs=(name,))


def main() -> None:
    """Run two lingering tasks: `python -m spread_work ROOT EXECUTOR`, the executor as JSON."""
    from pydantic import TypeAdapter

    from maskwright.recipe.executor import ExecutorField
    from maskwright.tasks import lock
    from spread_work import lingering  # by a name that workers know, too

    root, executor = Path(sys.argv[1]), TypeAdapter(ExecutorField).validate_json(sys.argv[2])
    try:
        with lock(root):
            run_tasks(root, [lingering("x"), lingering("y")], executor=executor)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

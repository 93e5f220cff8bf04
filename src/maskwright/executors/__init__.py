"""Executors: where tasks run. Each gives one function, `submit`; whatever happens comes back in its future.

What a task raises is raised again here. A worker that is gone before it answered is a `LostError`: whoever submitted
decides whether to try again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from maskwright.executors.claim import claim
from maskwright.executors.local import on_this_machine
from maskwright.executors.outcome import LostError, Submit
from maskwright.executors.ray import on_ray
from maskwright.executors.slurm import on_slurm
from maskwright.recipe.executor import ExecutorSpec, LocalSpec, RaySpec, SlurmSpec

__all__ = ["LostError", "Submit", "claim", "in_this_process", "open_executor"]

_BACKENDS: dict[type[Any], Callable[[Any, Path, int], AbstractContextManager[Submit]]] = {
    LocalSpec: on_this_machine,
    RaySpec: on_ray,
    SlurmSpec: on_slurm,
}


def in_this_process(spec: ExecutorSpec) -> bool:
    """Tell whether tasks run one after the other, right here."""
    return isinstance(spec, LocalSpec) and spec.jobs == 1


@contextmanager
def open_executor(spec: ExecutorSpec, root: Path, tasks: int) -> Iterator[Submit]:
    """Yield the function that submits work: (task's name, function, arguments) → its future.

    Left by an error or an interruption (Ctrl-C, SIGTERM), all workers are stopped first.

    Args:
        spec: where.
        root: the run folder.
        tasks: how many there are to submit, at most.

    Raises:
        UsageError: the package of the executor isn't installed, or what it needs isn't there.
    """
    if in_this_process(spec):
        yield _here
        return
    with _terminated_is_interrupted(), _BACKENDS[type(spec)](spec, root, max(1, tasks)) as submit:
        yield submit


def _here(name: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(function(*arguments))
    return future


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that workers elsewhere are stopped, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""A Ray cluster: tasks are remote functions. All machines see the run folder and the data under the same paths."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskwright.doors import need
from maskwright.errors import UsageError, problem
from maskwright.executors.outcome import Submit, outcome_of, pack, settle
from maskwright.processes import cores
from maskwright.recipe.executor import RaySpec, cores_of_task

_STORE_BYTES = 100 << 20
"""Of a cluster of our own: nothing but specs and outcomes passes through it."""
_STARTS = 3
_PATIENCE = 10.0


@contextmanager
def on_ray(spec: RaySpec, root: Path, tasks: int) -> Iterator[Submit]:
    """Yield what submits remote functions. A cluster of our own ends with it; Ray tries nothing again by itself."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray, cpus = need("ray", "ray"), cores_of_task(spec, tasks, cores())
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, spec, cpus)
    submitted: list[Any] = []
    try:
        gpus = _check_room(ray, spec, cpus)
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(outcome_of)

        def submit(name: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
            future: Future[Any] = Future()
            reference = remote.options(name=name).remote(pack(function, arguments))
            submitted.append(reference)
            reference.future().add_done_callback(lambda answer: settle(future, answer.result))
            return future

        yield submit
    except BaseException:
        _stop(ray, submitted)
        raise
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, spec: RaySpec, cpus: int) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "address": spec.address}
    where = f"executor.address: {spec.address}"
    next_move = "see that the cluster runs (`ray status`), or leave out executor.address for one on this machine"
    if spec.address is None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # else its workers come after all else on this machine
        options |= {"address": "local", "num_cpus": max(cpus, cores()), "include_dashboard": False}
        options["object_store_memory"] = _STORE_BYTES
        where, next_move = "a cluster of this machine", "try again when it is less busy, or take executor.kind=local"
    for further in reversed(range(_STARTS if spec.address is None else 1)):
        try:
            _knock(spec.address or "")
            ray.init(**options)
            return
        except Exception as error:  # Ray raises plain ones, too: a machine may be too busy to start it in its 30 s
            ray.shutdown()
            said = " ".join(str(error).split())[:300] or type(error).__name__
            if not further:
                raise UsageError(problem("a Ray cluster", said, where=where, next_move=next_move)) from None


def _knock(address: str) -> None:
    """Raise OSError if nobody answers at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _check_room(ray: Any, spec: RaySpec, cpus: int) -> float:
    """Return the GPUs of a task.

    Raises:
        UsageError: no machine of the cluster has what a task needs; it would wait forever.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = spec.gpus
    if gpus is None:
        gpus = 1.0 if any(machine.get("GPU", 0) for machine in machines) else 0.0
    if not any(machine.get("CPU", 0) >= cpus and machine.get("GPU", 0) >= gpus for machine in machines):
        found = ", ".join(f"{m.get('CPU', 0):g} cores and {m.get('GPU', 0):g} GPUs" for m in machines) or "no machine"
        next_move = "set executor.cpus and executor.gpus to what one machine of the cluster has"
        expected = f"a machine with {cpus} cores and {gpus:g} GPUs for each task"
        raise UsageError(problem(expected, found, where="the Ray cluster", next_move=next_move))
    return gpus


def _stop(ray: Any, submitted: list[Any]) -> None:
    """Kill what runs and take back what waits; return when nobody writes any more."""
    with contextlib.suppress(Exception):  # the cluster may be what failed
        _, running = ray.wait(submitted, num_returns=len(submitted), timeout=0) if submitted else ([], [])
        for reference in running:
            ray.cancel(reference, force=True)
        if running:
            ray.wait(running, num_returns=len(running), timeout=_PATIENCE)
        time.sleep(0.1)

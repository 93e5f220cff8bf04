"""Processes on this machine: each does one task after the other; one that is lost takes only its own task with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskwright.executors.outcome import LostError, Submit, is_lost, outcome_of, pack, unpack
from maskwright.processes import cores, follow
from maskwright.recipe.executor import LocalSpec, at_a_time, cores_of_task

_PATIENCE = 5.0
"""Seconds that a worker has to end by itself before it is killed."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def on_this_machine(spec: LocalSpec, root: Path, tasks: int) -> Iterator[Submit]:
    """Yield what submits to processes of this machine; a thread here waits for each."""
    count, threads = at_a_time(spec, tasks), cores_of_task(spec, tasks, cores())
    workers = _Workers(threads)
    with ThreadPoolExecutor(count, "worker") as pool:
        try:
            yield lambda name, function, *arguments: pool.submit(workers.do, function, arguments)
        finally:
            workers.end()
            pool.shutdown(wait=False, cancel_futures=True)


class _Workers:
    """The processes, started when they are needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.idle: list[_Worker] = []
        self.all: list[_Worker] = []
        self.lock, self.ended = threading.Lock(), False

    def do(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Let an idle process do the work, or a new one."""
        with self.lock:
            if self.ended:
                raise LostError("all workers were stopped")
            worker = self.idle.pop() if self.idle else self._started()
        content = worker.ask(pack(function, arguments))
        if not is_lost(content):
            with self.lock:
                self.idle.append(worker)
        return unpack(content)

    def end(self) -> None:
        """Stop all, what they do included."""
        with self.lock:
            self.ended = True
        for worker in self.all:
            worker.process.terminate()
        end = time.monotonic() + _PATIENCE
        for worker in self.all:
            worker.process.join(max(0.0, end - time.monotonic()))
        for worker in self.all:
            worker.process.kill()
            worker.process.join()

    def _started(self) -> _Worker:
        worker = _Worker(self.threads)
        self.all.append(worker)
        return worker


class _Worker:
    """A process, and the line to it."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, os.getpid(), threads), name="maskwright worker")
        self.process.start()
        theirs.close()

    def ask(self, content: bytes) -> bytes:
        """Send work and wait for the answer.

        Raises:
            LostError: the process ended instead.
        """
        with contextlib.suppress(EOFError, OSError):  # it is gone
            self.line.send_bytes(content)
            multiprocessing.connection.wait([self.line, self.process.sentinel])
            if self.line.poll():
                return self.line.recv_bytes()
        self.process.join()
        raise LostError(f"process {self.process.pid} {_ended(self.process.exitcode or 0)}")


def _serve(line: multiprocessing.connection.Connection, parent: int, threads: int) -> None:
    """Do what comes, until nothing comes any more. Nothing heavy is imported before the threads are set."""
    follow(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)
    with contextlib.suppress(EOFError, OSError):
        content = b""
        while not content or not is_lost(content):
            content = outcome_of(line.recv_bytes())
            line.send_bytes(content)


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"was killed by {name}" + (", perhaps because memory ran out" if name == "SIGKILL" else "")

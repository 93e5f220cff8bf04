"""One training on several devices: a process for each, which share every step by Lightning's DDP."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import queue
import socket
import traceback
from collections.abc import Callable
from typing import Any

from maskwright.errors import MaskwrightError
from maskwright.processes import follow
from maskwright.progress import listen, report

Entry = Callable[..., object]


def train_together(function: Entry, arguments: tuple[Any, ...], *, devices: int) -> None:
    """Call a module-level function in as many processes as there are devices; the first one's progress is reported.

    Args:
        function: what each process does, called with its rank and the arguments.
        arguments: what can be pickled.
        devices: number of processes.

    Raises:
        MaskwrightError: the error of the process that failed first.
    """
    context = multiprocessing.get_context("spawn")
    parent, target, content = os.getpid(), f"{function.__module__}:{function.__qualname__}", pickle.dumps(arguments)
    messages: Any = context.Queue()
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(devices)}
    processes = [
        context.Process(target=_process, args=(rank, parent, meeting, messages, target, content), daemon=True)
        for rank in range(devices)
    ]
    try:
        for process in processes:
            process.start()
        running = devices
        while running:
            try:
                kind, *words = messages.get(timeout=1)
            except queue.Empty:
                if any(process.exitcode not in (None, 0) for process in processes):
                    raise MaskwrightError(f"a training process ended with exit code {_worst(processes)}") from None
                continue
            if kind == "progress":
                report(*words)
            elif kind == "error":
                raise words[0]
            running -= kind == "done"
    finally:
        _end(processes)


def _end(processes: list[Any]) -> None:
    """Ask all to end, then make them: one that waits for the others in a collective doesn't hear."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=3)
    for process in processes:
        process.kill()
        process.join()


def _process(rank: int, parent: int, meeting: dict[str, str], messages: Any, target: str, arguments: bytes) -> None:
    """Do what one process does. Names and bytes come in: nothing heavy is imported before the parent is watched."""
    follow(parent)
    os.environ |= meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    try:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
        with listen(lambda *words: messages.put(("progress", *words)) if rank == 0 else None):
            function(rank, *pickle.loads(arguments))
    except KeyboardInterrupt:
        os._exit(130)  # the parent heard it, too, and says so
    except MaskwrightError as error:
        messages.put(("error", error))
    except Exception:
        messages.put(("error", MaskwrightError(traceback.format_exc())))
    messages.put(("done",))


def _worst(processes: list[Any]) -> str:
    return ", ".join(str(process.exitcode) for process in processes if process.exitcode not in (None, 0))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
        return address[1]

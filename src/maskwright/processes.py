"""Processes and threads: those that work for another end with it; whether one runs; what they use; work in order."""

from __future__ import annotations

import fcntl
import os
import shlex
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

_INTERVAL = 0.5
_LOOK = 0.05
_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
)
"""Where containers state limit and use, and which of it are pages of files, which are given back (groups 2 and 1)."""


def follow(parent: int) -> None:
    """End this process at once, without any clean-up, as soon as its parent is gone.

    A process killed with SIGKILL can't stop those it started; they would go on writing into a folder whose lock is
    free again. A daemon thread looks twice a second; it looks first as it starts, for a parent that is gone already.

    Args:
        parent: process id of the parent, as the parent itself says it: asked here, it could be that of who took over.
    """
    threading.Thread(target=_watch, args=(parent,), name="follow", daemon=True).start()


def is_running(process: int) -> bool:
    """Tell whether there is a process of this id, also one of another user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def command_line() -> dict[str, Any]:
    """Return what this process is, for those who find it at work: command, pid, host, started (seconds since 1970)."""
    program = Path(sys.argv[0])
    module = program.name == "__main__.py"
    words = [*(["python", "-m", program.parent.name] if module else [program.name]), *sys.argv[1:]]
    return {"command": shlex.join(words), "pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Return the bytes that machine and container (Linux) leave this process; None where nobody says."""
    known = [
        left for left in (_left_of_machine(), *(_left_of_container(*group) for group in _GROUPS)) if left is not None
    ]
    return min(known, default=None)


def use_of(process: int) -> tuple[float, int]:
    """Return the processor seconds so far and the bytes of memory of a process and its children (Linux; else zeros)."""
    seconds, memory, pending = 0.0, 0, [process]
    while pending:
        folder = Path("/proc") / str(pending.pop())
        try:
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            memory += int((folder / "statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for children in (folder / "task").glob("*/children"):
                pending += map(int, children.read_text(encoding="ascii").split())
        except (OSError, ValueError, IndexError):  # it has just ended, or this is not Linux
            continue
    return seconds, memory


def _left_of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _left_of_container(folder: str, limit: str, used: str, files: tuple[str, str]) -> int | None:
    try:
        known = dict(line.split() for line in (Path(folder) / "memory.stat").read_text(encoding="ascii").splitlines())
        most, now = (int((Path(folder) / name).read_text(encoding="ascii")) for name in (limit, used))
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return max(0, most - now + sum(int(known.get(name, 0)) for name in files))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)


def take_lock(file: IO[str], patience: float) -> bool:
    """Take the lock of a file for this process alone; return whether that succeeded within so many seconds.

    Args:
        file: open.
        patience: seconds in which it is tried again.
    """
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(min(_LOOK, patience))


def in_order(function: Callable[[Item], Made], items: Iterable[Item], *, threads: int | None = None) -> Iterator[Made]:
    """Yield what a function makes of each item, in their order, while threads go on with the next ones.

    At most three items a thread are taken or made at a time, however many there are: for work that lets go of the
    interpreter, such as reading, decoding and compressing.

    Args:
        function: safe to be called from several threads.
        items: taken from this thread.
        threads: None: half the cores, at least 2.

    Example:
        >>> list(in_order(abs, [-2, 1, -3], threads=2))
        [2, 1, 3]
    """
    count, pending = threads or max(2, cores() // 2), deque[Future[Made]]()
    with ThreadPoolExecutor(count, "in order") as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

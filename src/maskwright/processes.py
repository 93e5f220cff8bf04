"""Processes: those that work for another end with it, also when it is killed; whether one runs; how many fit."""

from __future__ import annotations

import os
import threading
import time

_INTERVAL = 0.5


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


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)

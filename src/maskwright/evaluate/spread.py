"""Images measured side by side: in threads of this process, or in processes of their own; in order, few at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from maskwright.errors import MaskwrightError, problem
from maskwright.processes import cores, follow
from maskwright.progress import track

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2
"""Items handed out for each worker: bounds what is in memory."""


def spread(function: Callable[[T], R], items: Sequence[T], label: str, *, workers: int = 0) -> Iterator[R]:
    """Yield the results in the order of the items.

    Args:
        function: of one item; for processes, one that can be pickled.
        items: what it is called with.
        label: of the progress.
        workers: processes; 0: threads, one for each core.

    Raises:
        MaskwrightError: a process ended before its work.
    """
    with _executor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        at_once = _AHEAD * (workers or cores())
        rest = iter(items)
        try:
            for _ in track(range(len(items)), label):
                while len(waiting) < at_once and (item := next(rest, None)) is not None:
                    waiting.append(pool.submit(function, item))
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise MaskwrightError(
                problem(
                    f"{workers} process{'' if workers == 1 else 'es'} that work to the end",
                    "one that was ended from outside, as the system does where memory runs out",
                    where=label,
                    next_move="give fewer --workers, or 0 for none, which takes less memory",
                )
            ) from None
        finally:
            for future in waiting:
                future.cancel()


def _executor(workers: int) -> Executor:
    if not workers:
        return ThreadPoolExecutor(cores())
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=spawn, initializer=follow, initargs=(os.getpid(),))

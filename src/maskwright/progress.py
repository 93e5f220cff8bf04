"""Progress without printing: functions report to whoever listens; by default nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Listener = Callable[[str, int, int | None, str], None]
"""Called with (label, done, total or None, note) after each step; `done == total` closes the label."""

_listener: ContextVar[Listener | None] = ContextVar("maskwright_progress", default=None)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Send the progress of everything inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def heard() -> Listener:
    """Return who listens now; without anybody, one that does nothing."""
    return _listener.get() or (lambda label, done, total, note: None)


def report(label: str, done: int, total: int | None = None, note: str = "") -> None:
    """Tell the listener, if there is one, how far the work called `label` is."""
    if (listener := _listener.get()) is not None:
        listener(label, done, total, note)


def relay(listener: Listener) -> Listener:
    """Return a listener that calls this one, and the one that listens now."""
    before = _listener.get()

    def both(label: str, done: int, total: int | None, note: str) -> None:
        listener(label, done, total, note)
        if before is not None:
            before(label, done, total, note)

    return both


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, reporting each one that was worked on.

    Example:
        >>> seen = []
        >>> with listen(lambda label, done, total, note: seen.append((label, done, total))):
        ...     numbers = list(track([7, 8], "count"))
        >>> seen
        [('count', 0, 2), ('count', 1, 2), ('count', 2, 2)]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    report(label, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        report(label, done, total)

"""What comes back from a worker: a result, an error of the task itself, or the word that it was interrupted."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from maskwright.errors import MaskwrightError

Outcome = tuple[str, Any]
"""("done", result), ("failed", error) or ("lost", why)."""


class LostError(Exception):
    """A worker is gone before its task was done. Says what is known of why."""


class Submit(Protocol):
    """Hands work to an executor."""

    def __call__(self, name: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submit a module-level function; `name` is that of the task."""
        ...


def outcome_of(content: bytes) -> bytes:
    """Do pickled work, a function and its arguments, and return the pickled outcome. This is what workers run."""
    try:
        function, arguments = pickle.loads(content)
        outcome: Outcome = ("done", function(*arguments))
    except (KeyboardInterrupt, SystemExit):  # as it comes before a time limit
        outcome = ("lost", "it was told to end")
    except MaskwrightError as error:
        outcome = ("failed", error)
    except Exception as error:
        error.add_note(f"in the worker:\n{traceback.format_exc()}")
        outcome = ("failed", error)
    try:
        content = pickle.dumps(outcome)
        pickle.loads(content)
    except Exception:  # an error that can't travel
        content = pickle.dumps(("failed", MaskwrightError("".join(traceback.format_exception(outcome[1])))))
    return content


def pack(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Return work as `outcome_of` takes it."""
    return pickle.dumps((function, arguments))


def is_lost(content: bytes) -> bool:
    """Tell whether an outcome says that the worker was told to end; it does so now."""
    return bool(pickle.loads(content)[0] == "lost")


def unpack(content: bytes) -> Any:
    """Return the result of an outcome.

    Raises:
        LostError: the worker was interrupted.
        Exception: what the task raised.
    """
    kind, value = pickle.loads(content)
    if kind == "lost":
        raise LostError(value)
    if kind == "failed":
        raise value
    return value


def settle(future: Future[Any], answer: Callable[[], bytes]) -> None:
    """Give a future what a worker answered; anything that goes wrong on the way means that the worker is lost."""
    try:
        content = answer()
    except Exception as error:
        future.set_exception(LostError(" ".join(str(error).split())[:200] or type(error).__name__))
        return
    try:
        future.set_result(unpack(content))
    except Exception as error:
        future.set_exception(error)

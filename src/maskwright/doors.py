"""The one door to packages beyond the requirements: what exporting, serving and spreading tasks need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from maskwright.errors import UsageError, problem


def need(module: str, extra: str) -> Any:
    """Return a module of an optional package.

    Raises:
        UsageError: it isn't installed, or not whole; names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            problem(
                f"the package {module.partition('.')[0]}",
                str(error),
                where=f"the extra {extra}",
                next_move=f"pip install 'maskwright[{extra}]'",
            )
        ) from None

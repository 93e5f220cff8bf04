"""What a user brings: `kind: python` components name an importable callable."""

from __future__ import annotations

import importlib
from typing import Any

from maskwright.errors import RecipeError, problem


def import_target(target: str) -> Any:
    """Return the callable named `package.module:name`.

    Raises:
        RecipeError: there is none, or it can't be called.
    """
    module, colon, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            problem(
                "package.module:name of something importable",
                f"{target} ({error})" if colon else target,
                where="target of a `kind: python` component",
                next_move="install the package, or set PYTHONPATH so that it can be imported",
            )
        ) from None
    if not callable(found):
        raise RecipeError(
            problem(
                "package.module:name of a function or a class",
                f"{target}, which is a {type(found).__name__}",
                where="target of a `kind: python` component",
                next_move="name what builds the component",
            )
        )
    return found

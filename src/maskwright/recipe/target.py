"""What a user brings: `kind: python` components name an importable callable."""

from __future__ import annotations

import importlib
from typing import Any

from maskwright.errors import RecipeError, problem


def import_target(target: str) -> Any:
    """Return the object named `package.module:name`.

    Raises:
        RecipeError: there is none.
    """
    module, colon, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            problem(
                "package.module:name of something importable",
                f"{target} ({error})" if colon else target,
                where="target of a `kind: python` component",
                next_move="install the package, or set PYTHONPATH so that it can be imported",
            )
        ) from None

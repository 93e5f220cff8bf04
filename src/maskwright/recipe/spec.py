"""The root of every spec: complete, frozen, unknown keys are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen piece of the recipe. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class PythonSpec(Spec):
    """Fields shared by every component that a user brings: an importable callable and its arguments."""

    target: str
    """Where the callable is: `package.module:name`."""
    arguments: dict[str, object] = {}
    """Keyword arguments given to the callable."""

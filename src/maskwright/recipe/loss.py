"""What training minimises: a weighted sum of terms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.spec import PythonSpec, Spec


class CrossEntropySpec(Spec):
    """Mean cross-entropy over the pixels that aren't ignored."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    weight: float = Field(1.0, ge=0)
    """Weight of the term in the sum."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all categories."""


class DiceSpec(Spec):
    """1 − soft Dice per category over the batch, averaged over the categories that count and occur."""

    kind: Literal["dice"] = "dice"
    weight: float = Field(1.0, ge=0)
    """Weight of the term in the sum."""
    smooth: float = Field(1.0, gt=0)
    """Added to numerator and denominator, in pixels."""


class PythonLossSpec(PythonSpec):
    """A loss of your own: `target(categories=…, **arguments)` returns a callable of (logits, labels)."""

    kind: Literal["python"] = "python"
    weight: float = Field(1.0, ge=0)
    """Weight of the term in the sum."""


LossSpec = Annotated[CrossEntropySpec | DiceSpec | PythonLossSpec, Field(discriminator="kind")]


class LevelSpec(Spec):
    """An output of the network that is supervised, with its own mix of losses."""

    weight: float = Field(1.0, ge=0)
    """Weight of the level in the sum."""
    loss: tuple[LossSpec, ...] | None = None
    """What this level minimises; null: the loss of the recipe."""

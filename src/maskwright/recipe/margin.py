"""Distances between embeddings that change over a training."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from maskwright.recipe.spec import Spec

Distance = Annotated[float, Field(gt=0, le=1e6)]


class DecayingMarginSpec(Spec):
    """A distance that starts elsewhere and comes to its value over the training, ever more slowly.

    `{value: 0.5, shift: 0.2, rate: 5}` starts at 0.7, has come to 0.516 in the middle and to 0.501 at the end:
    instances that the young network tears apart stay whole. Source 4 shifts δ_v and δ_d by ±0.2 and states neither
    which sign is whose nor the rate.
    """

    value: Distance
    """Where it ends."""
    shift: float = 0.2
    """What is added at the beginning (ε); below 0 the distance grows over the training."""
    rate: float = Field(5.0, ge=0)
    """How fast that fades: at progress p (0 to 1) e^(−rate · p) of it is left."""
    smallest: Distance = 1e-3
    """It is never below this."""

    def at(self, progress: float) -> float:
        """Return the distance at a point of the training, from 0 to 1."""
        return max(self.smallest, self.value + self.shift * math.exp(-self.rate * progress))


Margin = Distance | DecayingMarginSpec
"""A distance between embeddings, or how it changes over the training."""


def times(margin: Margin, factor: float) -> Margin:
    """Return a margin that is always `factor` times as wide.

    Example:
        >>> times(DecayingMarginSpec(value=0.5, shift=0.2), 2).at(0.0), times(1.5, 0.5)
        (1.4, 0.75)
    """
    if not isinstance(margin, DecayingMarginSpec):
        return margin * factor
    scaled = {name: getattr(margin, name) * factor for name in ("value", "shift", "smallest")}
    return margin.model_copy(update=scaled)


def margin_at(margin: Margin, progress: float) -> float:
    """Return the distance that a margin is at a point of the training, from 0 to 1.

    Example:
        >>> round(margin_at(DecayingMarginSpec(value=0.5, shift=-0.2, rate=5), 0.2), 4), margin_at(0.5, 0.2)
        (0.4264, 0.5)
    """
    return margin.at(progress) if isinstance(margin, DecayingMarginSpec) else margin

"""Probabilities, constant or changing over the training."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from maskwright.recipe.spec import Spec

Probability = Annotated[float, Field(ge=0, le=1)]


class ScheduleSpec(Spec):
    """A probability that changes linearly over the training.

    `{start: 0.4, end: 0, over: [0, 0.9667]}` falls from .4 to nothing at step 145 of 150 and stays there.
    """

    start: Probability
    """Probability up to the first point of `over`."""
    end: Probability = 0.0
    """Probability at the second point of `over`."""
    over: tuple[Probability, Probability] = (0.0, 1.0)
    """Where the change begins and where it ends, as shares of the training."""
    then: Probability | None = None
    """Probability from the second point of `over` on; null: `end`."""

    @model_validator(mode="after")
    def _goes_forward(self) -> Self:
        if self.over[0] > self.over[1]:
            raise ValueError(f"over ({list(self.over)}) must not end before it begins")
        return self

    def at(self, progress: float) -> float:
        """Return the probability at a point of the training, from 0 to 1."""
        first, last = self.over
        if progress >= last:
            return self.end if self.then is None else self.then
        share = max(0.0, progress - first) / (last - first)
        return self.start + share * (self.end - self.start)


Chance = Probability | ScheduleSpec
"""A probability, or how it changes over the training."""


def chance_at(chance: Chance, progress: float) -> float:
    """Return the probability that a chance is at a point of the training, from 0 to 1.

    Example:
        >>> chance_at(ScheduleSpec(start=0.4, over=(0, 0.5)), 0.25), chance_at(0.3, 0.25)
        (0.2, 0.3)
    """
    return chance.at(progress) if isinstance(chance, ScheduleSpec) else chance

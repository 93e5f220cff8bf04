"""Rounds of training that learn from images without labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.sac import NormAdaptationSpec, SacSpec
from maskwright.recipe.spec import Spec
from maskwright.recipe.unlabelled import OnlineSpec


class PseudoLabelsSpec(Spec):
    """The networks of a round label the pool, what can be relied on is kept, the next round learns from both."""

    kind: Literal["pseudo_labels"] = "pseudo_labels"


MethodSpec = Annotated[PseudoLabelsSpec | OnlineSpec | SacSpec | NormAdaptationSpec, Field(discriminator="kind")]


class SelftrainSpec(Spec):
    """What happens after the supervised training, round 0."""

    rounds: int = Field(0, ge=0)
    """Rounds that follow; 0: none."""
    method: MethodSpec = PseudoLabelsSpec()
    """How a round learns from the pool."""

"""How a training learns from images without labels while it runs: labels that a teacher makes anew at every step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskwright.recipe.spec import Spec


class FixMatchSpec(Spec):
    """A weakly varied view labels a strongly varied one (Sohn et al. 2020)."""

    kind: Literal["fixmatch"] = "fixmatch"
    threshold: float = Field(0.95, ge=0, lt=1)
    """Confidence from which on a pixel's label is learned from."""
    weight: float = Field(1.0, ge=0)
    """Of what is learned from images without labels, beside what is learned from those with."""


OnlineSpec = FixMatchSpec

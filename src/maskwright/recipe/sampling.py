"""Which image a training crop is taken from, and where in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.chance import Probability
from maskwright.recipe.spec import Spec


class UniformSpec(Spec):
    """Every image once before any comes twice."""

    kind: Literal["uniform"] = "uniform"
    centred: Probability = 0.0
    """Share of crops whose centre is a pixel of a category of their image, drawn by inverse pixel frequency."""


class OversampleSpec(Spec):
    """Images that hold rare categories come again, on request with every other pixel set to background (source 2)."""

    kind: Literal["oversample"] = "oversample"
    classes: tuple[str, ...] = Field(min_length=1)
    """The rare categories."""
    copies: int = Field(3, ge=1)
    """How often an image that holds one of them comes in a turn, besides the once that every image comes."""
    isolate: Literal["no", "background", "ignore"] = "no"
    """What the other pixels' label is in the copies. no: what it is; background: `background`; ignore: no loss sees
    them. Pixels that are ignored stay so, and the image isn't changed."""
    background: str | None = None
    """The category that `isolate: background` sets; null: the one named background, else the first."""
    centred: Probability = 0.0
    """Share of crops centred on a pixel of a category of their image; in copies of one of `classes`."""


class RepeatFactorSpec(Spec):
    """An image comes max(1, √(t / f)) times a turn, f the share of images with its rarest category (Gupta et al. 2019).

    Where the factor isn't whole, it is the mean over turns.
    """

    kind: Literal["repeat_factor"] = "repeat_factor"
    threshold: float = Field(0.5, gt=0, le=1)
    """t: categories in a smaller share of the images come more often (LVIS with its 1200 categories: 0.001)."""
    centred: Probability = 0.0
    """Share of crops whose centre is a pixel of a category of their image, drawn by inverse pixel frequency."""


class BalancedSpec(Spec):
    """A category is drawn, each equally often, then one of the images that hold it (Shen et al. 2016)."""

    kind: Literal["balanced"] = "balanced"
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    """The categories that are drawn; null: all that occur. Images that hold none of them don't come."""
    centred: Probability = 0.5
    """Share of crops whose centre is a pixel of the category that was drawn."""


class RareClassSpec(Spec):
    """As balanced, but category c is drawn with P(c) ∝ exp((1 − f_c) / T), f_c its share of pixels (DAFormer, 2022)."""

    kind: Literal["rare_class"] = "rare_class"
    temperature: float = Field(0.1, gt=0)
    """T: towards 0 the rarest category alone, towards infinity all alike (DAFormer with 19 categories: 0.01)."""
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    """The categories that are drawn; null: all that occur. Images that hold none of them don't come."""
    min_pixels: int = Field(1, ge=1)
    """Pixels of the category, at working size, from which on an image holds it (DAFormer: 3000); if none holds so
    many, one is enough."""
    min_share: float = Field(0.0, ge=0, lt=1)
    """The same as a share of the image's labelled pixels, whatever its size (DAFormer's 3000 of 512×1024 are 0.0057);
    both must be reached."""
    centred: Probability = 0.5
    """Share of crops whose centre is a pixel of the category that was drawn."""


SamplingSpec = Annotated[
    UniformSpec | OversampleSpec | RepeatFactorSpec | BalancedSpec | RareClassSpec, Field(discriminator="kind")
]


def sampled_names(spec: SamplingSpec) -> list[str]:
    """Return the names of categories that a sampling mentions."""
    if isinstance(spec, OversampleSpec):
        return [*spec.classes, *([] if spec.background is None else [spec.background])]
    return list(spec.classes or ()) if isinstance(spec, BalancedSpec | RareClassSpec) else []

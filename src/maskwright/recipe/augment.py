"""How training images are varied: a list of draws, applied in order (all geometry in one warp)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.spec import Spec

Probability = Annotated[float, Field(ge=0, le=1)]


class FlipSpec(Spec):
    """Mirror the image."""

    kind: Literal["flip"] = "flip"
    horizontal: Probability = 0.5
    """Probability of swapping left and right."""
    vertical: Probability = 0.0
    """Probability of swapping up and down."""


class AffineSpec(Spec):
    """Rotate, scale, stretch and shift; uncovered pixels are mirrored from inside."""

    kind: Literal["affine"] = "affine"
    probability: Probability = 0.7
    """Share of samples that are changed."""
    rotate: float = Field(10.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Zoom, drawn log-uniformly."""
    stretch: float = Field(0.05, ge=0, lt=1)
    """Largest relative change of the aspect ratio."""
    shift: float = Field(0.1, ge=0, lt=1)
    """Largest shift as a share of the crop's side, where the crop covers the whole image."""


class ColourSpec(Spec):
    """Change brightness, contrast, saturation, tint and gamma; the same draw for all pixels."""

    kind: Literal["colour"] = "colour"
    probability: Probability = 0.5
    """Share of samples that are changed."""
    brightness: float = Field(0.2, ge=0, lt=1)
    """Largest shift, as a share of the value range."""
    contrast: float = Field(0.2, ge=0, lt=1)
    """Largest relative change around the mid value."""
    saturation: float = Field(0.4, ge=0, lt=1)
    """Largest relative change of the distance from gray (RGB only)."""
    tint: float = Field(0.15, ge=0, lt=1)
    """Largest relative change of each channel on its own: stains, lamps, white balance (RGB only)."""
    gamma: float = Field(0.2, ge=0, lt=1)
    """Largest relative change of the exponent."""


AugmentSpec = Annotated[FlipSpec | AffineSpec | ColourSpec, Field(discriminator="kind")]

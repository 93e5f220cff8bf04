"""How training images are varied: a list of draws. All geometry is one warp and comes first; the rest is in order."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from maskwright.recipe.chance import Chance, ScheduleSpec
from maskwright.recipe.policies import AutoAugmentSpec
from maskwright.recipe.spec import Spec

Turn = Literal["identity", "flip_lr", "flip_ud", "rotate_90", "rotate_180", "rotate_270", "transpose", "transpose_anti"]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"the smaller one comes first, not {list(span)}")
    return span


Span = Annotated[tuple[float, float], AfterValidator(_ordered)]
NotNegativeSpan = Annotated[
    tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], AfterValidator(_ordered)
]
PositiveSpan = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], AfterValidator(_ordered)]


class FlipSpec(Spec):
    """Mirror the image."""

    kind: Literal["flip"] = "flip"
    horizontal: Chance = 0.5
    """Probability of swapping left and right."""
    vertical: Chance = 0.0
    """Probability of swapping up and down."""


class TurnSpec(Spec):
    """Turn the image by quarters, or mirror it at a diagonal; no pixel is sampled anew."""

    kind: Literal["turn"] = "turn"
    probability: Chance = 1.0
    """Share of samples for which one of `turns` is drawn."""
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)] = ("identity", "rotate_90", "rotate_180", "rotate_270")
    """What is drawn from, each as likely as the others."""


class AffineSpec(Spec):
    """Rotate, scale, stretch and shift; uncovered pixels are mirrored from inside (or see `outside`)."""

    kind: Literal["affine"] = "affine"
    probability: Chance = 0.7
    """Share of samples that are changed."""
    rotate: float = Field(10.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    scale: PositiveSpan = (0.8, 1.25)
    """Zoom, drawn log-uniformly."""
    stretch: float = Field(0.05, ge=0, lt=1)
    """Largest relative change of the aspect ratio."""
    shift: float = Field(0.1, ge=0, lt=1)
    """Largest shift as a share of the crop's side, where the crop covers the whole image."""


class CropSpec(Spec):
    """Show a part of the image, whatever its size, in the whole crop."""

    kind: Literal["crop"] = "crop"
    probability: Chance = 1.0
    """Share of samples that show a part; the others show a crop at working size."""
    area: tuple[float, float] = (0.25, 1.0)
    """Share of the image's area that is shown, drawn uniformly; less where the part would reach beyond the image."""

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area ({list(self.area)}) must be two shares above 0, up to 1, the smaller one first")
        return self


class OutsideSpec(Spec):
    """What is shown where flips, turns, affine changes and crops reach beyond the image; without it, it is mirrored."""

    kind: Literal["outside"] = "outside"
    rule: Literal["mirror", "ignore"] = "ignore"
    """mirror: the image and its label, mirrored from inside. ignore: `fill`, and in the label what no loss sees."""
    fill: float = Field(0.0, ge=0, le=255)
    """Gray value."""


class ColourSpec(Spec):
    """Change brightness, contrast, saturation, tint and gamma; the same draw for all pixels."""

    kind: Literal["colour"] = "colour"
    probability: Chance = 0.5
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


class BrightnessSpec(Spec):
    """Multiply all values, clipped to the value range."""

    kind: Literal["brightness"] = "brightness"
    probability: Chance = 0.1
    """Share of samples that are changed."""
    factor: NotNegativeSpan = (0.9, 1.1)
    """Factor, drawn uniformly."""


class NoiseSpec(Spec):
    """Add Gaussian noise to each value on its own."""

    kind: Literal["noise"] = "noise"
    probability: Chance = 0.1
    """Share of samples that are changed."""
    sigma: NotNegativeSpan = (0.01, 0.01)
    """Standard deviation as a share of the value range, drawn uniformly."""
    clip: bool = True
    """Keep the values within the range, and 8-bit images whole numbers; else they are float from here on."""


class BlurSpec(Spec):
    """Blur by a Gaussian."""

    kind: Literal["blur"] = "blur"
    probability: Chance = 0.2
    """Share of samples that are changed."""
    sigma: PositiveSpan = (0.1, 2.0)
    """Standard deviation in pixels of the crop, drawn uniformly."""


class GrayscaleSpec(Spec):
    """Take the colour out (Rec. 601), leaving the number of channels."""

    kind: Literal["grayscale"] = "grayscale"
    probability: Chance = 0.2
    """Share of samples that are changed."""


class SharpenSpec(Spec):
    """Move away from the smoothed image."""

    kind: Literal["sharpen"] = "sharpen"
    probability: Chance = 0.2
    """Share of samples that are changed."""
    strength: Span = (0.0, 1.0)
    """How far, drawn uniformly; −1 is the smoothed image, 0 the image itself."""


class ClaheSpec(Spec):
    """Contrast-limited adaptive histogram equalisation of the lightness."""

    kind: Literal["clahe"] = "clahe"
    probability: Chance = 0.2
    """Share of samples that are changed."""
    clip: PositiveSpan = (1.0, 4.0)
    """Limit of the contrast, drawn uniformly."""
    tiles: int = Field(8, ge=1)
    """Tiles in a row and in a column."""


class StainSpec(Spec):
    """Alternative inputs of H&E slides after Macenko et al. (2009): normalised, haematoxylin alone, eosin alone.

    The rest of the samples show the image as it is. The stains are fitted to the whole image at working size, once;
    images without enough stained pixels are left as they are.
    """

    kind: Literal["stain"] = "stain"
    norm: Chance = 0.05
    """Share of samples that show both stains at reference colours and concentrations."""
    hematoxylin: Chance = 0.05
    """Share of samples that show haematoxylin alone."""
    eosin: Chance = 0.0
    """Share of samples that show eosin alone."""

    @model_validator(mode="after")
    def _are_shares(self) -> Self:
        most = sum(
            max(c.start, c.end, c.then or 0) if isinstance(c, ScheduleSpec) else c
            for c in (self.norm, self.hematoxylin, self.eosin)
        )
        if most > 1 + 1e-9:
            raise ValueError(f"norm, hematoxylin and eosin together are {most:g}: at most 1")
        return self


class StainJitterSpec(Spec):
    """Change the concentrations of the stains of H&E slides, each on its own (after Tellez et al. 2018)."""

    kind: Literal["stain_jitter"] = "stain_jitter"
    probability: Chance = 0.5
    """Share of samples that are changed."""
    scale: float = Field(0.2, ge=0, lt=1)
    """Largest relative change."""
    shift: float = Field(0.05, ge=0, lt=1)
    """Largest change added, as a share of the image's largest concentration of the stain."""


Kinds = (
    FlipSpec
    | TurnSpec
    | AffineSpec
    | CropSpec
    | OutsideSpec
    | ColourSpec
    | BrightnessSpec
    | NoiseSpec
    | BlurSpec
    | GrayscaleSpec
    | SharpenSpec
    | ClaheSpec
    | AutoAugmentSpec
    | StainSpec
    | StainJitterSpec
)
"""Every kind but `for_classes`, which holds others."""


class ForClassesSpec(Spec):
    """Changes for samples that hold certain classes."""

    kind: Literal["for_classes"] = "for_classes"
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of categories; one of them is enough."""
    seen_in: Literal["image", "crop"] = "image"
    """Where they must be seen. With `crop`, flips and affine changes are a second warp, of the crop."""
    augment: Annotated[tuple[Annotated[Kinds, Field(discriminator="kind")], ...], Field(min_length=1)]
    """What is done to these samples."""


AugmentSpec = Annotated[Kinds | ForClassesSpec, Field(discriminator="kind")]

"""How networks are applied, cleaned up, scored and shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from maskwright.recipe.spec import Spec
from maskwright.recipe.steps import (
    ClosingSpec,
    CrfSpec,
    Edges,
    LargestSpec,
    MajoritySpec,
    OfCategory,
    OfForeground,
    OpeningSpec,
    SelectSpec,
    SmoothSpec,
    SplitSpec,
    StagedSpec,
)

View = Literal["identity", "flip_lr", "flip_ud", "rotate_90", "rotate_180", "rotate_270", "transpose", "transpose_anti"]
"""The eight flips and quarter turns; see `maskwright.augment.dihedral`."""

Checkpoint = Literal["last", "best", "topk"]


class PredictSpec(Spec):
    """Prediction: fold models averaged, tiles blended, flips and turns undone."""

    checkpoint: Checkpoint = "last"
    """last: nothing is selected on the fold that is scored. best: by the monitor on that fold; the report says so.
    topk: the mean of the `train.keep` best, selected in the same way."""
    tile: int = Field(1024, ge=64)
    """Largest side that is predicted in one piece, in pixels after scaling; larger images are tiled."""
    overlap: float = Field(0.25, ge=0, le=0.5)
    """Share of a tile that overlaps its neighbour."""
    blend: Literal["linear", "gaussian", "flat"] = "linear"
    """Weights of a tile's pixels where tiles overlap: falling linearly from the centre, by a Gaussian with a standard
    deviation of an eighth of a side, or all the same."""
    tta: tuple[View, ...] = Field(("identity", "flip_lr"), min_length=1)
    """Views whose probabilities are averaged. Turns by 90° are counter-clockwise; a network for one size of images
    that aren't square takes none."""
    scales: tuple[Annotated[float, Field(ge=0.125, le=4)], ...] = Field((1.0,), min_length=1)
    """Factors on the size that the network works at; the image is resized to each, and the probabilities, brought
    back, are averaged."""
    scale_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Weight of each of the scales in that mean; null: all the same."""
    fusion: Literal["mean", "rank"] = "mean"
    """How several networks become one: the mean of probabilities, or of each pixel's ranks in the image, given back
    probabilities by the networks' mean distribution."""
    pad: Literal["replicate", "zero", "reflect"] = "replicate"
    """What fills sides up to a multiple of 32 (none, where they are one): the border repeated, zeros after
    standardisation (the mean gray), or the image mirrored."""
    batch: int = Field(4, ge=1)
    """Images or tiles in one forward pass."""
    members: bool = False
    """Also score each fold's network alone on the held-out part: predictions/members.json."""
    overlays: int = Field(24, ge=0)
    """How many overlay pictures to write."""

    def way(self) -> dict[str, Any]:
        """Return the fields that say how networks are applied to an image, as `inference.infer_stream` takes them."""
        named = ("tile", "overlap", "blend", "tta", "pad", "batch", "scales", "scale_weights", "fusion")
        return {name: getattr(self, name) for name in named}

    @model_validator(mode="after")
    def _has_a_weight_for_each_scale(self) -> Self:
        if self.scale_weights is not None and len(self.scale_weights) != len(self.scales):
            raise ValueError(
                f"scale_weights ({len(self.scale_weights)}) must be as many as scales ({len(self.scales)})"
            )
        if len({*self.scales}) < len(self.scales):
            raise ValueError("scales: each factor once; scale_weights says how much it counts")
        return self


class ThresholdSpec(OfForeground):
    """Foreground where its probability reaches `value`."""

    kind: Literal["threshold"] = "threshold"
    value: float = Field(0.5, gt=0, lt=1)
    """Probability."""


class MinimumAreaSpec(Spec):
    """Components below `pixels` take the label around them."""

    kind: Literal["minimum_area"] = "minimum_area"
    pixels: int = Field(..., ge=1)
    """Area in pixels of the original image."""


class FillHolesSpec(OfCategory):
    """Holes inside a category up to `pixels` become that category."""

    kind: Literal["fill_holes"] = "fill_holes"
    pixels: int | None = Field(None, ge=1)
    """Largest hole in pixels of the original image; null: any."""
    edges: Edges = "none"
    """Edges of the image that close a hole: none, each that the foreground touches, the first that it touches."""
    background: Literal[4, 8] = 4
    """8 if pixels of a hole that share a corner are connected, so that a ring of corners is open; 4 if it is closed."""


PostprocessStep = Annotated[
    SmoothSpec
    | CrfSpec
    | ThresholdSpec
    | SelectSpec
    | StagedSpec
    | MinimumAreaSpec
    | FillHolesSpec
    | MajoritySpec
    | ClosingSpec
    | OpeningSpec
    | LargestSpec
    | SplitSpec,
    Field(discriminator="kind"),
]


class PostprocessSpec(Spec):
    """From probabilities to labels."""

    chain: tuple[PostprocessStep, ...] | None = None
    """Fixed steps; null: tuned on out-of-fold predictions, and adopted only where the gain is there."""
    thresholds: tuple[float, ...] = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
    """Candidates for binary tasks."""
    minimum_areas: tuple[float, ...] = (0.0, 0.0001, 0.0003, 0.001, 0.003)
    """Candidates, as shares of the median image area."""


class EvaluateSpec(Spec):
    """Scoring."""

    empty: Literal["nan", "one"] = "nan"
    """Dice and IoU of a category absent in truth and prediction of an image: left out, or 1."""
    absent: Literal["zero", "skip"] = "zero"
    """Pooled IoU of a category without truth but with predictions: 0, or left out."""
    samples: int = Field(1000, ge=100)
    """Bootstrap resamples."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of the intervals."""


class ReportSpec(Spec):
    """The report."""

    thumbnails: int = Field(12, ge=0)
    """Images shown in each gallery."""
    price_of_leaks: bool = False
    """Train all folds once more on naive folds, which know of no group and no duplicate, and state how much better
    their score looks; doubles the training. Needs at least two folds."""

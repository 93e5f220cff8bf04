"""How networks are applied, cleaned up, scored and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.spec import Spec
from maskwright.recipe.steps import (
    ClosingSpec,
    Edges,
    LargestSpec,
    MajoritySpec,
    OpeningSpec,
    SelectSpec,
    SmoothSpec,
    SplitSpec,
    StagedSpec,
)


class PredictSpec(Spec):
    """Prediction: fold models averaged, tiles blended, flips undone."""

    checkpoint: Literal["last", "best"] = "last"
    """last: nothing is selected on the fold that is scored. best: by the monitor on that fold; the report says so."""
    tile: int = Field(1024, ge=64)
    """Largest side that is predicted in one piece, in pixels after scaling; larger images are tiled."""
    overlap: float = Field(0.25, ge=0, le=0.5)
    """Share of a tile that overlaps its neighbour."""
    tta: tuple[Literal["identity", "flip_lr", "flip_ud", "rotate_180"], ...] = ("identity", "flip_lr")
    """Views whose probabilities are averaged."""
    pad: Literal["replicate", "zero", "reflect"] = "replicate"
    """What fills sides up to a multiple of 32 (none, where they are one): the border repeated, zeros after
    standardisation (the mean gray), or the image mirrored."""
    batch: int = Field(4, ge=1)
    """Images or tiles in one forward pass."""
    members: bool = False
    """Also score each fold's network alone on the held-out part: predictions/members.json."""
    overlays: int = Field(24, ge=0)
    """How many overlay pictures to write."""


class ThresholdSpec(Spec):
    """Foreground where its probability reaches `value` (binary tasks)."""

    kind: Literal["threshold"] = "threshold"
    value: float = Field(0.5, gt=0, lt=1)
    """Probability."""


class MinimumAreaSpec(Spec):
    """Components below `pixels` take the label around them."""

    kind: Literal["minimum_area"] = "minimum_area"
    pixels: int = Field(..., ge=1)
    """Area in pixels of the original image."""


class FillHolesSpec(Spec):
    """Holes inside the foreground up to `pixels` are filled (binary tasks)."""

    kind: Literal["fill_holes"] = "fill_holes"
    pixels: int | None = Field(None, ge=1)
    """Largest hole in pixels of the original image; null: any."""
    edges: Edges = "none"
    """Edges of the image that close a hole: none, each that the foreground touches, the first that it touches."""
    background: Literal[4, 8] = 4
    """8 if pixels of a hole that share a corner are connected, so that a ring of corners is open; 4 if it is closed."""


PostprocessStep = Annotated[
    SmoothSpec
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


Family = Literal["boundary", "calibration", "instances", "panoptic", "keras", "dental"]
"""Scores beyond those of pixel counts: boundary IoU and F, Hausdorff distances and NSD; ECE; AP, best Dice and counts;
PQ; Keras' mean IoU with the left-out categories ignored; the score of the STS challenge."""


class EvaluateSpec(Spec):
    """Scoring."""

    families: tuple[Family, ...] = ("boundary", "calibration", "instances", "panoptic")
    """What is scored beside IoU, Dice, precision, recall and accuracy, where the kind of data allows. boundary:
    boundary IoU, boundary F, NSD, Hausdorff and HD95. calibration: ECE and MCE of a run's probabilities. instances: AP,
    SBD and |DiC|. panoptic: PQ, SQ, RQ, PQ† and precision at IoU .5. keras: mean IoU as Keras' MeanIoU has it with
    the left-out categories ignored. dental: the score of the STS challenge, 0.4 Dice + 0.3 IoU + 0.3 (1 - HD)."""
    tolerance: float | None = Field(None, gt=0)
    """Pixels within which a surface is right, for NSD and boundary F; null: 0.75 % of the image's diagonal."""
    boundary_width: int | None = Field(None, ge=1)
    """Pixels from a mask's border that count for boundary IoU; null: 2 % of the image's diagonal."""
    bins: int = Field(15, ge=2, le=200)
    """Bins of confidence for calibration."""
    ap_definition: Literal["coco", "cityscapes"] = "coco"
    """Whose rules of matching and integration AP follows."""

    empty: Literal["nan", "one"] = "nan"
    """Dice and IoU of a category absent in truth and prediction of an image: left out, or 1."""
    absent: Literal["zero", "skip"] = "zero"
    """Pooled IoU, and AP, of a category without truth but with predictions: 0, or left out as official tools do."""
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

"""How networks are applied, cleaned up, scored and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from maskwright.recipe.search import SearchSpec, search_steps
from maskwright.recipe.spec import Spec
from maskwright.recipe.steps import (
    ClosingSpec,
    CrfSpec,
    Edges,
    FavourSpec,
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
    never: tuple[str, ...] = ()
    """Names of categories that are never predicted: their probability is taken away and the others' divided by what is
    left, before any post-processing."""
    members: bool = False
    """Also score each fold's network alone on the held-out part: predictions/members.json."""
    pool: bool = True
    """Also predict the images of the data folder that no label is known of."""
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
    category: int | None = Field(None, ge=0)
    """Position of the category whose components are meant; null: those of every one."""


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
    | FavourSpec
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


if TYPE_CHECKING:
    SearchStep = SearchSpec
else:
    SearchStep = search_steps(PostprocessStep)

_SEARCH: tuple[SearchStep, ...] = TypeAdapter(tuple[SearchStep, ...]).validate_python(
    [
        {"kind": "smooth", "share": [0.0015, 0.003, 0.006]},
        {"kind": "favour", "factor": [0.5, 0.7, 1.4, 2], "by_category": True},
        {"kind": "threshold", "value": [0.3, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7]},
        {"kind": "select", "drop": [0.2], "high": [0.5, 0.7, 0.9], "lower": [0.3, 0.4, 0.5]},
        {"kind": "majority", "share": [0.005, 0.01]},
        {"kind": "opening", "share": [0.005, 0.01]},
        {"kind": "closing", "share": [0.005, 0.01, 0.02]},
        {"kind": "fill_holes", "share": [0.001, 0.01, 1]},
        {"kind": "minimum_area", "share": [0.0001, 0.0003, 0.001, 0.003]},
        {"kind": "largest"},
    ]
)


_OF_NO_PIXELS = ("boundary", "hausdorff", "hd95", "surface", "nsd", "dental", "pq", "sq", "rq", "ap", "precision_at")


def _adds_up(name: object) -> object:
    if isinstance(name, str) and name.startswith(_OF_NO_PIXELS):
        raise ValueError(
            "a metric that adds up from the true and false pixels of images is expected, such as mean_dice"
        )
    return name


SearchMetric = Annotated[
    Literal[
        "auto",
        "mean_dice",
        "mean_iou",
        "pooled_miou",
        "pooled_mdice",
        "mean_precision",
        "mean_recall",
        "pooled_mprecision",
        "pooled_mrecall",
        "pixel_accuracy",
        "mean_pixel_accuracy",
    ],
    BeforeValidator(_adds_up),
]


class PostprocessSpec(Spec):
    """From probabilities to labels."""

    chain: tuple[PostprocessStep, ...] | None = None
    """Fixed steps; null: tuned on out-of-fold predictions, and adopted only where the gain is there."""
    search: tuple[SearchStep, ...] = _SEARCH
    """What tuning tries: for each step its fields with lists of candidates; in any order, since those on probabilities
    come first and those on labels last. Of threshold, select and staged one is taken, in tasks with more than two
    categories one for each `category` that they name; there, those that name none are passed over, and in tasks with
    two favour is, where a threshold does the same. Empty: nothing is tuned."""
    budget: int = Field(200, ge=1)
    """Chains that a search may try. Each fold has its own search, on the other folds, and there is one on all; what
    several try is computed once."""
    values: int = Field(100_000_000, ge=1)
    """Probabilities (pixels × categories) that a search looks at: where the images hold more, it sees as many of each
    fold, drawn at random, as make up these. What the chosen chains gain is measured on all images all the same."""
    metric: SearchMetric = "auto"
    """The metric that is raised; auto: that of `train.monitor`. Those of boundaries and segments are none of these: the
    search adds up true and false pixels of images, and a distance isn't one of them."""


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
    compare_pool: bool = False
    """Count which objects of the pool that rounds learned from are true, and draw some beside the true ones, which the
    pool's images then have: for studies. Nothing is learned from or chosen by it."""
    price_of_leaks: bool = False
    """Train all folds once more on naive folds, which know of no group and no duplicate, and state how much better
    their score looks; doubles the training. Needs at least two folds."""

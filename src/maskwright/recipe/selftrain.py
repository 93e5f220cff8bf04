"""Rounds of training that learn from images without labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from maskwright.recipe.augment import AugmentSpec
from maskwright.recipe.loss import LossSpec
from maskwright.recipe.mixing import MixSpec
from maskwright.recipe.sac import NormAdaptationSpec, SacSpec
from maskwright.recipe.spec import Spec
from maskwright.recipe.unlabelled import OnlineMethodSpec, OnlineSpec

_COARSE = 0.1
"""Lowest threshold of maps in steps of 1/255."""

Protocol = Literal["labelled_only", "mixed", "pretrain_finetune", "pretrain_mixed"]


class AllPixelsSpec(Spec):
    """Every pixel is learned from (ST and ST++)."""

    kind: Literal["all"] = "all"


class ConfidentSpec(Spec):
    """Pixels whose label is at least so probable."""

    kind: Literal["threshold"] = "threshold"
    value: float = Field(0.7, gt=0, lt=1)
    """Probability of the pixel's label."""


class ClassShareSpec(Spec):
    """Of each category the surest pixels of the whole pool, as many of every one (Zou et al. 2018)."""

    kind: Literal["class_share"] = "class_share"
    share: float = Field(0.5, gt=0, le=1)
    """Of the pixels that are predicted to be of a category."""
    enough: float = Field(0.9, gt=0, le=1)
    """Probability that is enough, whatever the share: no category's threshold is higher."""


class ClassAdaptiveSpec(Spec):
    """Thresholds from how common a category is and how sure the image's surest pixel of it (Araslanov and Roth 2021).

    θ = max(upper · m · (1 − exp(−χ / beta)), floor), m the largest probability among the pixels of that label in the
    image, χ the category's mean probability over the pool. Pixels above θ are kept.
    """

    kind: Literal["class_adaptive"] = "class_adaptive"
    upper: float = Field(0.75, gt=0, le=1)
    """ζ."""
    beta: float = Field(1e-3, gt=0)
    """β: categories rarer than about this have low thresholds."""
    floor: float = Field(0.2, ge=0, lt=1)
    """Lowest threshold."""


PixelSpec = Annotated[
    AllPixelsSpec | ConfidentSpec | ClassShareSpec | ClassAdaptiveSpec,
    Field(discriminator="kind"),
]


class AllImagesSpec(Spec):
    """Every image of the pool."""

    kind: Literal["all"] = "all"


class AgreementSpec(Spec):
    """The images on which checkpoints of one training agree (ST++, Yang et al. 2022).

    The score of an image is the mean over the earlier checkpoints of the mean IoU of their labels with the last one's,
    over the categories that either has. The checkpoints are those of a third, two thirds and the end of the training.
    """

    kind: Literal["agreement"] = "agreement"
    share: float = Field(0.5, gt=0, le=1)
    """Of the images, those with the highest scores."""
    relabel_rest: bool = True
    """Train on these first, let what comes of it label the others, and train anew on all: two trainings a round."""


class EnsembleSpec(Spec):
    """The images on which the networks that are fused agree: mean IoU of each one's labels with the fused ones."""

    kind: Literal["ensemble"] = "ensemble"
    share: float = Field(0.5, gt=0, le=1)
    """Of the images, those with the highest scores."""
    relabel_rest: bool = False
    """As in `agreement`."""


class EstimatedIouSpec(Spec):
    """The images with the highest IoU that the probabilities let expect, averaged over the predicted categories."""

    kind: Literal["estimated_iou"] = "estimated_iou"
    share: float = Field(0.5, gt=0, le=1)
    """Of the images, those with the highest scores."""
    relabel_rest: bool = False
    """As in `agreement`."""


ImagesSpec = Annotated[
    AllImagesSpec | AgreementSpec | EnsembleSpec | EstimatedIouSpec,
    Field(discriminator="kind"),
]


class RegionsSpec(Spec):
    """Connected regions of one label that are suspect: their pixels are ignored."""

    confidence: float = Field(0.0, ge=0, lt=1)
    """Mean probability below which a region is suspect; 0: none is."""
    pixels: int = Field(0, ge=0)
    """Area of the original image below which a region is suspect; 0: none is."""


class HardSpec(Spec):
    """Labelled images with the lowest out-of-fold scores."""

    share: float = Field(0.1, gt=0, le=0.5)
    """Of the labelled images."""
    how: Literal["oversample", "move"] = "oversample"
    """oversample: they come `times` as often in the training of the other folds. move: they join the training of their
    own fold, too; they and their group are then scored by the network of round 0, which has not seen them."""
    times: float = Field(2.0, ge=1)
    """How often one comes in a pass."""


class ObjectLabelsSpec(Spec):
    """Which objects of an image are learned from, and what becomes of the others; where objects are told apart."""

    objectness: float | None = Field(0.5, gt=0, lt=1)
    """Least probability of being a true one, by a classifier that is fitted on out-of-fold objects of the other folds;
    null: any."""
    stable: float | None = Field(None, gt=0, le=1)
    """Least median IoU of an object with balls around its pixels, in the embedding of the network that was trained
    beside the moving average (SPOCO's filter, 0.6 there), which costs another pass; null: any."""
    votes: Literal["predicted", "none", "true"] = "predicted"
    """Every pixel of an object that is kept takes the thing that most of its pixels are, also where the label was not
    sure enough to be kept (source 4). true: the true objects vote, which the pool then has; for studies alone."""
    guide: Literal["predicted", "true"] = "predicted"
    """Inside of which categories objects are clustered: the most probable ones; true: the true ones, which the pool
    then has, for studies alone."""
    rest: Literal["ignore", "unlabelled"] = "ignore"
    """Pixels of the other objects. ignore: nothing is learned from them. unlabelled: their category is, of an object
    that nobody knows."""

    @field_validator("votes", "guide", mode="before")
    @classmethod
    def _is_no_boolean(cls, value: Any) -> Any:
        return "true" if value is True else value  # as YAML and JSON read it


class PseudoLabelsSpec(Spec):
    """The networks of a round label the pool, what can be relied on is kept, the next round learns from both."""

    kind: Literal["pseudo_labels"] = "pseudo_labels"
    pixels: PixelSpec = ConfidentSpec()
    """Which pixels of an image are learned from; the others are ignored."""
    images: ImagesSpec = AllImagesSpec()
    """Which images of the pool are learned from."""
    regions: RegionsSpec = RegionsSpec()
    objects: ObjectLabelsSpec = ObjectLabelsSpec()
    """Which objects of an image are learned from, where objects are told apart."""
    labels: Literal["hard", "soft"] = "hard"
    """hard: the most probable category. soft: the probabilities themselves, which the losses of `loss` must take."""
    loss: tuple[LossSpec, ...] | None = None
    """Terms of the loss in rounds; null: those of the recipe. For soft labels cross_entropy (the gradient of the
    KL divergence), kl and mse."""
    labelled_share: float | None = Field(0.5, ge=0, lt=1)
    """Share of the crops that show labelled images; 0: none, where there are pseudo-labels; null: every image, labelled
    or not, comes as often."""
    augment: tuple[AugmentSpec, ...] | None = None
    """How images with pseudo-labels are varied; null: like labelled ones."""
    mix: tuple[MixSpec, ...] | None = None
    """How crops of images with pseudo-labels are mixed; null: like labelled ones."""
    fused_with: tuple[str, ...] = ()
    """Run folders whose networks label, too: of each the ones that have seen nothing of the fold, nor of its groups."""
    keep_soft: bool = False
    """Keep the probability maps of the pool when a round is over."""
    soft_type: Literal["float16", "uint8"] = "float16"
    """How they are stored; uint8 takes less and has steps of 0.004: thresholds below 0.1 are refused with it."""

    @model_validator(mode="after")
    def _ranks_by_what_is_there(self) -> PseudoLabelsSpec:
        if self.images.kind == "agreement" and self.fused_with:
            raise ValueError(
                "images: agreement is that of one training's checkpoints, and fused_with brings other networks: "
                "rank by ensemble or estimated_iou, or leave out fused_with"
            )
        return self

    @model_validator(mode="after")
    def _steps_are_fine_enough(self) -> PseudoLabelsSpec:
        lowest = getattr(self.pixels, "floor", getattr(self.pixels, "value", 1.0))
        if self.soft_type == "uint8" and lowest < _COARSE:
            raise ValueError(
                f"soft_type uint8 is too coarse for thresholds below {_COARSE}, and this one is {lowest:g}: "
                "take float16, or a higher threshold"
            )
        return self

    @property
    def relabels(self) -> bool:
        """Whether images that were not relied on are labelled anew by networks trained on the others."""
        return self.images.kind != "all" and self.images.relabel_rest


MethodSpec = Annotated[PseudoLabelsSpec | OnlineSpec | SacSpec | NormAdaptationSpec, Field(discriminator="kind")]


class SelftrainSpec(Spec):
    """What happens after the supervised training, round 0."""

    rounds: int = Field(0, ge=0)
    """Rounds that follow at most; 0: none."""
    method: MethodSpec = PseudoLabelsSpec()
    """How a round learns from the pool."""
    length: float = Field(1.0, gt=0, le=16)
    """Steps of a round's training, as a multiple of the supervised one's."""
    protocol: Protocol = "mixed"
    """mixed: from scratch, on labelled images and pool. pretrain_finetune: on the pool, then on labelled images.
    pretrain_mixed: on the pool, then on both. labelled_only: without the pool, for `hard` alone."""
    start: Literal["auto", "fresh", "before"] = "auto"
    """Network that the training of a round starts from. fresh: as round 0 did. before: that of the same fold in the
    round before, which has seen nothing of what the fold is scored by. auto: before where a teacher labels while the
    training runs, whose first labels then are those of a trained network; fresh with pseudo_labels, whose are so
    anyway, and with norm_adaptation, which makes none."""
    pretraining: float = Field(0.5, gt=0, lt=1)
    """Share of the steps that are pretraining, where the protocol has it."""
    hard: HardSpec | None = None
    """What is done about labelled images with low out-of-fold scores; null: nothing."""
    aliens: Literal["keep", "drop"] = "drop"
    """Images of the pool that the audit finds unlike all others: used, or left out of what is learned from; where
    nothing else is left, there are no rounds."""
    adopt: Literal["gain", "always"] = "gain"
    """gain: a round is adopted where the interval of its out-of-fold gain lies above 0, and is the last one where it
    does not. always: the last round is adopted."""

    @model_validator(mode="after")
    def _labels_before_it_pretrains(self) -> SelftrainSpec:
        if self.protocol.startswith("pretrain") and not isinstance(self.method, PseudoLabelsSpec):
            raise ValueError(
                f"protocol {self.protocol} is one of pseudo_labels: {self.method.kind} has no labels before"
            )
        if self.protocol == "labelled_only" and self.rounds and self.hard is None:
            raise ValueError(
                "protocol labelled_only: without `hard` a round would repeat round 0, which `maskwright run` trains: "
                "set rounds to 0 there"
            )
        return self

    @property
    def goes_on(self) -> bool:
        """Whether the training of a round starts from the network of the round before."""
        return self.start == "before" or (self.start == "auto" and isinstance(self.method, OnlineMethodSpec))

    @property
    def keeps_thirds(self) -> bool:
        """Whether trainings keep their checkpoints of a third and two thirds, for images to be ranked by agreement."""
        method = self.method
        return bool(self.rounds) and isinstance(method, PseudoLabelsSpec) and method.images.kind == "agreement"

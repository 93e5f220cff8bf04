"""What training minimises: a weighted sum of terms, for each supervised output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from maskwright.recipe.spec import PythonSpec, Spec

Positive = Annotated[float, Field(ge=0)]
Weight = Positive | Literal["learned"]
ClassWeights = Literal["none", "inverse_frequency", "median_frequency", "effective_number"] | tuple[Positive, ...]


class TermSpec(Spec):
    """Fields shared by the terms that tell categories apart."""

    hard_only: ClassVar[bool] = False
    """The term needs one category a pixel: it can't learn from labels that share a pixel among categories."""

    weight: Weight = 1.0
    """Weight of the term in the sum. learned: exp(−s), and s / 2 is added, with an s that is trained (Kendall 2018)."""
    class_weights: ClassWeights = "none"
    """A weight for each category, in channel order, or the rule by which they are computed from the training labels."""
    class_weight_cap: float | None = Field(None, gt=0)
    """Largest weight that a rule may give; null: any."""
    leave_out: tuple[str, ...] = ()
    """Names of categories whose weight is 0 in this term, whatever the rule or the list says."""

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if not isinstance(self.class_weights, str) and not any(self.class_weights):
            raise ValueError("class_weights: all are 0, and nothing would be learned: give a category a weight")
        if self.class_weight_cap is not None and (
            self.class_weights == "none" or not isinstance(self.class_weights, str)
        ):
            raise ValueError("class_weight_cap bounds what a rule gives: name a rule as class_weights, or leave it out")
        return self


class CrossEntropySpec(TermSpec):
    """Mean cross-entropy over the pixels that aren't ignored; with class weights the weighted mean."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all categories."""


class FocalSpec(TermSpec):
    """Mean of −α (1 − p)^γ log p of the true category's softmax probability p; with class weights the weighted mean."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0)
    """γ; 0 is cross-entropy."""
    alpha: Positive | tuple[Positive, ...] = 1.0
    """α, one for all or one for each category in channel order. Unlike class weights it isn't divided out again."""


class KLSpec(TermSpec):
    """Mean KL divergence of the probabilities from the shares of soft labels; of hard labels it is cross-entropy."""

    kind: Literal["kl"] = "kl"


class MSESpec(TermSpec):
    """Mean over the pixels of the squared differences between probabilities and labels, summed over the categories."""

    kind: Literal["mse"] = "mse"


class RegionSpec(TermSpec):
    """Fields shared by the terms that compare sums over regions."""

    smooth: float = Field(1.0, gt=0)
    """Added to numerator and denominator, in pixels."""
    per_image: bool = False
    """Take the sums over each image alone and the mean over the images; else over the batch."""
    absent: Literal["skip", "count"] = "skip"
    """Categories without a pixel in the batch (or image). skip: they take no part. count: they do, as in MONAI."""


class DiceSpec(RegionSpec):
    """1 − soft Dice per category, averaged over the categories that count."""

    kind: Literal["dice"] = "dice"
    squared: bool = False
    """Sum squares in the denominator (V-Net)."""
    one_ratio: bool = False
    """Sum over the categories, too, before the one ratio is taken."""


class IoUSpec(RegionSpec):
    """1 − soft IoU per category, averaged over the categories that count."""

    kind: Literal["iou"] = "iou"


class TverskySpec(RegionSpec):
    """(1 − Tversky index) ^ exponent per category, averaged over the categories that count."""

    kind: Literal["tversky"] = "tversky"
    alpha: float = Field(0.3, ge=0)
    """Weight of false positives; ½ and ½ is Dice, 1 and 1 is IoU."""
    beta: float = Field(0.7, ge=0)
    """Weight of false negatives."""
    exponent: float = Field(1.0, gt=0)
    """Of the focal Tversky loss, which writes it 1 / γ: 0.75 there."""


class LovaszSpec(TermSpec):
    """Lovász-softmax: the surrogate of 1 − IoU, averaged over the categories that count."""

    hard_only: ClassVar[bool] = True
    kind: Literal["lovasz"] = "lovasz"
    classes: Literal["present", "all"] = "present"
    """present: those that occur in the batch (or image); all: also absent ones, whose largest probability counts."""
    per_image: bool = False
    """Sort the pixels of each image alone and take the mean over the images; else over the batch."""


class KervadecBoundarySpec(TermSpec):
    """Mean of p · D over pixels and the categories that count, D the signed distance to the category's boundary."""

    hard_only: ClassVar[bool] = True
    kind: Literal["kervadec_boundary"] = "kervadec_boundary"
    weight: Positive = 0.1
    """Weight of the term in the sum, at the start. It can't be learned, for the term gets negative."""
    schedule: Literal["fixed", "growing", "rebalanced"] = "fixed"
    """growing: the weight rises linearly over the training to `end`. rebalanced: likewise, and the other terms of the
    mix are multiplied by 1 − weight, but by no less than `floor`."""
    end: float = Field(1.0, ge=0)
    """Weight at the end of the training of a schedule that isn't fixed; 0.01 an epoch is 0.01 × the epochs."""
    floor: float = Field(0.1, ge=0, le=1)
    """Least factor on the other terms."""
    resolution: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.0, 1.0)
    """Height and width of a pixel, in the unit of the distances."""

    @field_validator("weight", mode="before")
    @classmethod
    def _is_stated(cls, value: object) -> object:
        if value == "learned":
            raise ValueError("must be a number: the boundary loss gets negative, so a learned one grows without end")
        return value


class SSIMSpec(TermSpec):
    """1 − structural similarity of probabilities and truth per category, averaged over the categories that count."""

    kind: Literal["ssim"] = "ssim"
    window: int = Field(11, ge=3)
    """Side of the Gaussian window, odd, in pixels."""
    sigma: float = Field(1.5, gt=0)
    """Standard deviation of the Gaussian, in pixels."""
    padding: Literal["zero", "valid"] = "zero"
    """What windows see beyond the image and on ignored pixels. zero: zeros in both, as BASNet. valid: only windows
    without such pixels count."""

    @model_validator(mode="after")
    def _has_a_centre(self) -> SSIMSpec:
        if self.window % 2 == 0:
            raise ValueError(f"window ({self.window}) must be odd")
        return self


class PythonLossSpec(PythonSpec):
    """A loss of your own: `target(categories=…, **arguments)` returns a callable of (logits, labels)."""

    hard_only: ClassVar[bool] = False
    kind: Literal["python"] = "python"
    weight: Weight = 1.0
    """Weight of the term in the sum, or `learned`."""


LossSpec = Annotated[
    CrossEntropySpec
    | FocalSpec
    | KLSpec
    | MSESpec
    | DiceSpec
    | IoUSpec
    | TverskySpec
    | LovaszSpec
    | KervadecBoundarySpec
    | SSIMSpec
    | PythonLossSpec,
    Field(discriminator="kind"),
]


class LevelSpec(Spec):
    """An output of the network that is supervised, with its own mix of losses."""

    weight: float = Field(1.0, ge=0)
    """Weight of the level in the sum."""
    loss: tuple[LossSpec, ...] | None = None
    """What this level minimises; null: the loss of the recipe."""


def left_out_names(losses: Iterable[LossSpec]) -> list[str]:
    """Return the names of categories that terms leave out."""
    return [name for term in losses if isinstance(term, TermSpec) for name in term.leave_out]

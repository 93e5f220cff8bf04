"""How a training learns from images without labels while it runs: labels that a teacher makes anew at every step."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from maskwright.recipe.augment import (
    AffineSpec,
    AugmentSpec,
    BlurSpec,
    ColourSpec,
    CropSpec,
    FlipSpec,
    ForClassesSpec,
    GrayscaleSpec,
    OutsideSpec,
    TurnSpec,
)
from maskwright.recipe.chance import Probability
from maskwright.recipe.mixing import ClassMixSpec, CutMixSpec
from maskwright.recipe.policies import AutoAugmentSpec
from maskwright.recipe.spec import Spec

STRONG: tuple[AugmentSpec, ...] = (
    ColourSpec(probability=0.8, brightness=0.25, contrast=0.5, saturation=0.5, tint=0.25, gamma=0.0),
    GrayscaleSpec(probability=0.2),
    BlurSpec(probability=0.5, sigma=(0.1, 2.0)),
)
"""ST++'s and UniMatch's: jitter of .5, .5, .5 and .25, the last of the tint where theirs turns the hue; gray; blur."""

SPANS = 20
"""Means of 1 / (1 − momentum) updates that a training holds, from which on how an average begins matters little."""

Mix = Annotated[CutMixSpec | ClassMixSpec, Field(discriminator="kind")]
Loss = Literal["cross_entropy", "soft", "mse", "dice", "cross_entropy_dice"]

MOVES = (FlipSpec, TurnSpec, AffineSpec, CropSpec, OutsideSpec, ForClassesSpec, AutoAugmentSpec)
"""Kinds that move pixels, or may."""


def _said_on(value: object) -> object:
    """Return `on` where YAML has read it as true."""
    return "on" if value is True else value


class Passes(NamedTuple):
    """What a training step costs for each labelled crop, where a step has as many images without labels.

    Attributes:
        forward: images through the network.
        backward: images whose gradient is taken.
    """

    forward: float
    backward: float


class TeacherSpec(Spec):
    """A moving average of the network, which makes the labels."""

    momentum: float = Field(0.996, ge=0, le=1)
    """Share that stays at each update."""
    ramp: Literal["auto", "none", "inverse", "shipping"] = "auto"
    """How the share begins after t steps. none: as it is, the first update a copy. inverse: 1 − 1 / (t + 1) at most, as
    published (mean teacher, UniMatch V2): the plain mean of all states until 1 / (1 − momentum) steps have passed.
    shipping: (1 + t) / (10 + t) at most, which forgets its first states. auto: shipping in trainings of fewer than
    20 / (1 − momentum) updates, where that mean would be of networks that had hardly begun; inverse in longer ones."""
    every: int = Field(1, ge=1)
    """Steps from one update to the next."""

    def ramp_of(self, steps: int) -> Literal["none", "inverse", "shipping"]:
        """Return the ramp of a training of so many steps.

        Example:
            >>> TeacherSpec(momentum=0.996).ramp_of(4999), TeacherSpec(momentum=0.996).ramp_of(5001)
            ('shipping', 'inverse')
        """
        if self.ramp != "auto":
            return self.ramp
        return "shipping" if steps / self.every * (1 - self.momentum) < SPANS else "inverse"


class RampSpec(Spec):
    """How the weight of what is learned from images without labels rises."""

    shape: Literal["exponential", "linear"] = "exponential"
    """exponential: exp(−5 (1 − x)²), from .0067 on (mean teacher); linear: x, from 0 on."""
    until: float = Field(1.0, gt=0, le=1)
    """Share of the training after which x is 1."""

    def at(self, progress: float) -> float:
        """Return the factor at a point of the training, from 0 to 1.

        Example:
            >>> [round(RampSpec().at(x), 6) for x in (0, 0.25, 0.5, 1)]
            [0.006738, 0.060055, 0.286505, 1.0]
        """
        x = min(1.0, progress / self.until)
        return x if self.shape == "linear" else math.exp(-5 * (1 - x) ** 2)


class MaskedSpec(Spec):
    """A view with hidden blocks learns the labels of the whole (masked image consistency, Hoyer et al. 2023)."""

    block: int = Field(64, ge=1)
    """Side of a block in pixels of the crop (theirs: of 512 × 1024 and more)."""
    share: Probability = 0.7
    """Of the blocks that is hidden, on average."""
    weight: float = Field(1.0, ge=0)
    """Of this term beside that of the strong views."""


class OnlineMethodSpec(Spec):
    """What every method has that learns from images without labels while it trains."""

    batch: int | None = Field(None, ge=1)
    """Images without labels in a step; null: as many as `train.batch`."""
    labelled_share: float | None = Field(None, ge=0, lt=1)
    """Share of a step's `train.batch` images that are labelled crops, the rest is of the pool, at least one of each;
    0: labels aren't used (and 1, the pool isn't, is `maskwright run`); null: `train.batch` labelled crops and `batch`
    of the pool."""
    warm_lr: float = Field(1.0, gt=0)
    """Factor on `train.lr` where the training goes on from another network, whose rate has fallen."""
    freeze_norm: bool | Literal["auto"] = False
    """Keep the statistics of batch norm as they are at the start; its weights are learned. auto: where the training
    goes on from another network."""
    collapse: Annotated[Literal["back", "stop", "on"], BeforeValidator(_said_on)] = "back"
    """What happens where the teacher's labels collapse (see `gone_from`, `taken_over`). back: on from the state at the
    end of the epoch before, with half the weight; the second time the training ends there. stop: it ends there the
    first time. on: it is said, and nothing else."""
    watched_from: float | None = Field(None, ge=0, le=1)
    """Share of the training from which on collapses are looked for: what the first labels of a new network are like
    says little. null: 0 where the training goes on from another network, else .2."""
    gone_from: float = Field(0.005, gt=0, le=1)
    """Share of the labels that are kept which a category must once have had, for it to be called gone."""
    gone_to: float = Field(0.01, ge=0, lt=1)
    """A category is called gone when its share of the kept labels of an epoch is at most so much of what it had."""
    begun_by: float = Field(0.5, ge=0, le=1)
    """Share of the training by which a category with at least `gone_from` of the labelled pixels must have had a label
    kept. Where it hadn't, there is no good state to go back to, and `collapse` means: back, half the weight, and at the
    end of the next epoch without one none at all, labels alone; stop, the training ends; on, it is said. 1: never."""
    taken_over: float = Field(0.05, ge=0, lt=1)
    """A category is said to take over where all others together have less than this share of what they have among the
    labelled crops, after it was twice as much; 0: never."""

    @model_validator(mode="after")
    def _shares_a_step_once(self) -> Self:
        if self.labelled_share is not None and self.batch is not None:
            raise ValueError("labelled_share says how many images of the pool a step has: leave batch null")
        if self.labelled_share == 0 and isinstance(getattr(self, "mix", None), ClassMixSpec):
            raise ValueError("mix pastes labelled crops, of which a labelled_share of 0 has none")
        if self.labelled_share == 0 and getattr(self, "align", 0.0) > 0:
            raise ValueError(
                "align brings labels to the shares of labelled crops, of which a labelled_share of 0 has none"
            )
        return self


class AdaptiveThresholdSpec(Spec):
    """A threshold for each category: a share of how sure the teacher's surest pixels of it are."""

    share: float = Field(0.75, gt=0, le=1)
    """Of the category's peak that its pixels must reach (SAC: .75)."""
    percentile: float = Field(0.95, gt=0, le=1)
    """Share of the pixels predicted as the category that its peak is at least as sure as; one pixel says little."""
    momentum: float = Field(0.99, ge=0, le=1)
    """Share of a peak that stays at each step; at the t-th that predicts the category (1 + t) / (10 + t) at most."""
    floor: float | None = Field(None, ge=0, lt=1)
    """The lowest threshold; null: .55 of two categories, of which the likelier has .5, else 1.5 / C."""

    def lowest(self, categories: int) -> float:
        """Return the floor of a task.

        Example:
            >>> AdaptiveThresholdSpec().lowest(2), AdaptiveThresholdSpec().lowest(5)
            (0.55, 0.3)
        """
        if self.floor is not None:
            return self.floor
        return 0.55 if categories <= 2 else 1.5 / categories


class ConsistencySpec(OnlineMethodSpec):
    """Strongly varied views learn the labels that a weakly varied one of the same image gets."""

    warm_lr: float = Field(0.5, gt=0)
    """Factor on `train.lr` where the training goes on from another network, whose rate has fallen."""
    weak: tuple[AugmentSpec, ...] | None = None
    """How the view is varied that labels are made of, and all others with it; null: the geometry of `augment`."""
    strong: tuple[AugmentSpec, ...] = STRONG
    """What is done besides to the views that are learned from: changes of colour alone."""
    views: int = Field(1, ge=1, le=8)
    """Strong views of each image."""
    cutout: Probability = 0.0
    """Share of strong views a box of which is filled with noise and not learned from, as in ST++."""
    noise: float = Field(0.0, ge=0, le=1)
    """Standard deviation of the noise that the teacher's view gets alone, as a share of the value range."""
    noise_limit: float = Field(0.2, ge=0, le=1)
    """Largest value of this noise."""
    mix: Mix | None = None
    """What is pasted into strong views. cutmix: a box of another image of the batch with its labels. classmix: half of
    the categories of a labelled crop with their labels (DACS)."""
    teacher: TeacherSpec | None = None
    """Who labels; null: the network itself."""
    mirrored: bool = False
    """Label the weak view and its mirror image, left and right swapped, and take the mean of the two."""
    threshold: float = Field(0.95, ge=0, lt=1)
    """Confidence from which on a pixel's label is kept. The more likely of two categories always has .5 or more: in
    binary tasks a threshold up to .5 keeps everything."""
    adaptive: AdaptiveThresholdSpec | None = None
    """A threshold for each category, which follows the teacher, in the place of `threshold`; null: one for all."""
    align: Probability = 0.0
    """How far the labels of the pool are brought to the shares that categories have among the labelled crops
    (distribution alignment): probabilities are multiplied by (that share / their mean over the pool) to this power. 0:
    not at all; 1: in full, for a pool like the labelled images."""
    weighting: Literal["pixel", "image"] = "pixel"
    """pixel: pixels below the threshold aren't learned from. image: all are, with the share of the image's pixels that
    reach the threshold as their weight (DACS)."""
    denominator: Literal["valid", "kept", "all"] = "valid"
    """What the sum over pixels is divided by: those inside the image, those that are kept, or all of the crop."""
    loss: Loss = "cross_entropy"
    """cross_entropy: of the teacher's hard labels; soft: of its probabilities; mse: squared difference of the
    probabilities; dice: of hard labels, all categories, Σ p² in the denominator (UniMatch's for medical images);
    cross_entropy_dice: the mean of the two."""
    labelled_weight: float = Field(1.0, ge=0)
    """Of what is learned from labels."""
    weight: float = Field(1.0, ge=0)
    """Of all that is learned from images without labels."""
    ramp: RampSpec | None = None
    """How this weight rises; null: it doesn't."""
    strong_weight: float = Field(1.0, ge=0)
    """Of the mean over the strong views, in it."""
    feature_weight: float = Field(0.0, ge=0)
    """In it, of the weak view with features dropped between encoder and decoder; 0: there is none."""
    feature_drop: float = Field(0.5, gt=0, lt=1)
    """Share of channels of the encoder's features that are dropped."""
    complementary: bool = False
    """Drop of the features of two strong views what the other keeps, in half of the images (UniMatch V2)."""
    masked: MaskedSpec | None = None
    """A further view with hidden blocks; null: none."""

    @property
    def changes_features(self) -> bool:
        """Whether features are dropped on their way from encoder to decoder."""
        return bool(self.feature_weight) or self.complementary

    @property
    def passes(self) -> Passes:
        """What a step costs for each labelled crop; a pass through the decoder alone counts as half of one."""
        joint = 1.0 + 0.5 if self.feature_weight else 0.0
        own = 2.0 if self.mirrored else 0.0 if joint and self.teacher is None else 1.0
        learned = 1.0 + joint + self.views + (self.masked is not None)
        return Passes(learned + own, learned)

    @model_validator(mode="after")
    def _shows_the_same_pixels(self) -> Self:
        if moving := [spec.kind for spec in self.strong if isinstance(spec, MOVES)]:
            raise ValueError(
                f"strong: {', '.join(moving)} moves pixels, which then no longer have the weak view's labels: "
                "put it into `weak`"
            )
        if self.complementary and self.views != 2:
            raise ValueError(f"complementary: it is about two strong views, and views is {self.views}")
        return self


class FixMatchSpec(ConsistencySpec):
    """A weakly varied view labels a strongly varied one (Sohn et al. 2020)."""

    kind: Literal["fixmatch"] = "fixmatch"


class UniMatchSpec(ConsistencySpec):
    """FixMatch with two strong views, boxes pasted, and features dropped (Yang et al. 2023).

    (Lx + .25 Ls1 + .25 Ls2 + .5 Lfp) / 2. Pasted boxes come from the same batch, which its author says is the same.
    """

    kind: Literal["unimatch"] = "unimatch"
    views: int = Field(2, ge=1, le=8)
    """Strong views of each image."""
    mix: Mix | None = CutMixSpec()
    """What is pasted into strong views."""
    labelled_weight: float = Field(0.5, ge=0)
    """Of what is learned from labels."""
    weight: float = Field(0.5, ge=0)
    """Of all that is learned from images without labels."""
    strong_weight: float = Field(0.5, ge=0)
    """Of the mean over the strong views, in it."""
    feature_weight: float = Field(0.5, ge=0)
    """In it, of the weak view with features dropped between encoder and decoder."""


class UniMatchV2Spec(ConsistencySpec):
    """Two strong views, each with the features that the other drops, learn from a moving average (Yang et al. 2025).

    (Lx + (Ls1 + Ls2) / 2) / 2.
    """

    kind: Literal["unimatch_v2"] = "unimatch_v2"
    views: int = Field(2, ge=1, le=8)
    """Strong views of each image."""
    mix: Mix | None = CutMixSpec()
    """What is pasted into strong views."""
    teacher: TeacherSpec | None = TeacherSpec(momentum=0.996)
    """Who labels: a moving average."""
    labelled_weight: float = Field(0.5, ge=0)
    """Of what is learned from labels."""
    weight: float = Field(0.5, ge=0)
    """Of all that is learned from images without labels."""
    complementary: bool = True
    """Drop of the features of two strong views what the other keeps, in half of the images."""


class MeanTeacherSpec(ConsistencySpec):
    """Probabilities like those of a moving average that sees the image with noise (Tarvainen and Valpola 2017).

    Constants of SSL4MIS, the common implementation for medical images.
    """

    kind: Literal["mean_teacher"] = "mean_teacher"
    strong: tuple[AugmentSpec, ...] = ()
    """What is done besides to the view that is learned from: nothing."""
    noise: float = Field(0.1, ge=0, le=1)
    """Standard deviation of the noise that the teacher's view gets alone, as a share of the value range."""
    teacher: TeacherSpec | None = TeacherSpec(momentum=0.99)
    """Who labels: a moving average."""
    threshold: float = Field(0.0, ge=0, lt=1)
    """Confidence from which on a pixel is learned from: all are."""
    loss: Loss = "mse"
    """Squared difference of the probabilities."""
    weight: float = Field(0.1, ge=0)
    """Of what is learned from images without labels."""
    ramp: RampSpec | None = RampSpec()
    """How this weight rises: over the whole training."""


class DACSSpec(ConsistencySpec):
    """Half of the categories of a labelled crop pasted into each image without labels (Tranheden et al. 2021).

    Constants of EDAPS, which uses it from synthetic to real; the strong view's colours are changed before pasting.
    """

    kind: Literal["dacs"] = "dacs"
    strong: tuple[AugmentSpec, ...] = (
        ColourSpec(probability=0.8, brightness=0.1, contrast=0.2, saturation=0.2, tint=0.2, gamma=0.0),
        BlurSpec(probability=0.5, sigma=(0.15, 1.15)),
    )
    """What is done besides to the view that is learned from."""
    mix: Mix | None = ClassMixSpec(probability=1.0)
    """What is pasted into it."""
    teacher: TeacherSpec | None = TeacherSpec(momentum=0.999)
    """Who labels: a moving average."""
    threshold: float = Field(0.968, ge=0, lt=1)
    """Confidence whose share of an image's pixels is the weight of all of them."""
    weighting: Literal["pixel", "image"] = "image"
    """One weight an image."""


OnlineSpec = FixMatchSpec | UniMatchSpec | UniMatchV2Spec | MeanTeacherSpec | DACSSpec

OURS = FixMatchSpec(
    strong=(ColourSpec(),),
    mix=CutMixSpec(),
    teacher=TeacherSpec(momentum=0.99, ramp="shipping"),
    adaptive=AdaptiveThresholdSpec(),
    loss="soft",
    ramp=RampSpec(shape="linear", until=0.2),
    labelled_share=0.5,
    freeze_norm="auto",
)
"""What `maskwright selftrain` does where nothing says how: from the supervised network on, an average labels a weak
view, by thresholds of each category, softly, as unsure pixels are among those that are kept; the weight rises at first.
Strong views have no other colours than labelled images have by default. A step has as many images as a supervised one,
half of them of the pool; neither half is a batch to take statistics from, and those of the start stay."""

OURS_LENGTH = 0.25
"""Steps of such a round, as a multiple of the supervised training's: while that gets better with every step, a step on
labels is worth more than one on the pool."""

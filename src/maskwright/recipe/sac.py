"""Learning from images of another domain: SAC (source 4), and batch norm that sees both domains."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from maskwright.recipe.augment import (
    AffineSpec,
    AugmentSpec,
    BlurSpec,
    ColourSpec,
    CropSpec,
    FlipSpec,
    GrayscaleSpec,
    OutsideSpec,
    PositiveSpan,
    TurnSpec,
)
from maskwright.recipe.chance import Probability
from maskwright.recipe.mixing import ClassMixSpec
from maskwright.recipe.spec import Spec
from maskwright.recipe.unlabelled import MOVES, MaskedSpec, OnlineMethodSpec, Passes, RampSpec

NOISE: tuple[AugmentSpec, ...] = (
    BlurSpec(probability=1.0, sigma=(0.1, 2.0)),
    ColourSpec(probability=0.5, brightness=0.2, contrast=0.4, saturation=0.4, tint=0.1, gamma=0.0),
    GrayscaleSpec(probability=0.2),
)
"""visinf/da-sac's: blur always, jitter of .4, .4, .4 and .1 (hue there, tint here) for half, gray for a fifth."""

GeometrySpec = Annotated[
    FlipSpec | TurnSpec | AffineSpec | CropSpec | OutsideSpec, Field(discriminator="kind")
]  # fmt: skip

CANVAS: tuple[GeometrySpec, ...] = (
    FlipSpec(horizontal=0.5),
    AffineSpec(probability=1.0, rotate=0.0, scale=(1.0, 1.1), stretch=0.0, shift=0.0),
)
"""visinf/da-sac's: the image enlarged by up to a tenth and mirrored for half."""


_SHORT = 2000
"""Steps of a training in which a teacher with a momentum of .99 would lag behind by a good part of it."""


class SacSpec(OnlineMethodSpec):
    """Self-supervised augmentation consistency (Araslanov and Roth 2021), the method of source 4's thesis.

    Zoomed views of an image of the pool are predicted by a slowly following teacher, averaged, thresholded by category,
    and learned by the network, which sees them with noise. Defaults are the thesis's, else those of the public code
    (visinf/da-sac) with ResNet-101; where they belong to trainings of 100 000 steps, the length of this one decides.
    """

    kind: Literal["sac"] = "sac"
    views: int = Field(4, ge=1, le=16)
    """Views of an image: the whole one, and zoomed crops of it (da-sac: GROUP_SIZE 4)."""
    zoom: PositiveSpan = (0.5, 1.0)
    """Side of a zoomed crop as a share of the whole view's, drawn uniformly (da-sac: RND_ZOOM)."""
    zoom_flip: Probability = 0.5
    """Share of zoomed crops that are mirrored left to right."""
    canvas: tuple[GeometrySpec, ...] = CANVAS
    """How the whole view lies in the image: geometry alone, by which all views move."""
    noise: tuple[AugmentSpec, ...] = NOISE
    """What the network that learns sees besides, drawn for each view: changes of colour alone; the teacher's views are
    clean."""
    teacher_momentum: float | None = Field(None, ge=0, le=1)
    """γ of the teacher (thesis: .99); null: .99, and .95 in trainings of fewer than 2 000 steps."""
    teacher_every: int | None = Field(None, ge=1)
    """Steps from one update of the teacher to the next, counted over the whole training (thesis: T = 100; da-sac counts
    anew in every epoch). null: a two-hundredth of the training, 100 at most, which is reached at 20 000 steps."""
    prior_momentum: float = Field(0.99, ge=0, le=1)
    """γ of the class prior χ (da-sac: STAT_MOMENTUM .99; the thesis doesn't state it)."""
    prior_start: float = Field(1e-3, ge=0, le=1)
    """χ of a category before the teacher first predicts it."""
    prior_padding: bool = False
    """Count pixels beyond the image in χ, too, as da-sac does."""
    upper: float = Field(0.75, ge=0, le=1)
    """ζ: threshold of a frequent category as a share of its largest confidence in the image (da-sac:
    RUN_CONF_UPPER)."""
    beta: float = Field(1e-3, gt=0)
    """β: thresholds of categories rarer than about this share of the pixels are lower (da-sac: THRESHOLD_BETA)."""
    floor: float = Field(0.2, ge=0, lt=1)
    """The lowest threshold (da-sac: RUN_CONF_LOWER; .1 with VGG-16)."""
    focal: float = Field(3.0, ge=0)
    """λ: a category's pixels weigh (1 − χ)^λ (thesis: 3); 0: all the same."""
    confidence: bool = True
    """Weigh each pixel by the teacher's confidence (thesis, equation 7.3)."""
    denominator: Literal["all", "valid", "kept"] = "all"
    """What the sum over pixels is divided by: all of the views (da-sac), those inside the image, or those whose label
    is kept."""
    weight: float = Field(5.0, ge=0)
    """Of what is learned from the pool beside the labelled crops (da-sac: LR_TARGET 5; 2 with VGG-16)."""
    ramp: RampSpec | None = RampSpec(shape="linear", until=0.1)
    """How this weight rises (da-sac: at once; its author's advice is to phase it in); null: it doesn't."""
    pooling: Literal["mean", "min_entropy"] = "mean"
    """How the predictions of the views become one: their mean, or that of the surest view."""
    coverage: float = Field(0.1, ge=0, lt=1)
    """Coverage of a pixel by the views, above which something is known of it."""
    freeze_norm: bool | Literal["auto"] = True
    """As in all methods (da-sac, stage 2: true)."""
    importance: Probability = 0.75
    """Share of the pool's draws by what the starting network predicts: a category is drawn, then an image by its share
    of the pixels predicted as the category; the others are drawn evenly (da-sac: .75)."""
    renormalise: bool = False
    """Standardise the pool's images by their own mean and deviation, labelled ones by theirs (da-sac: RENORM_TARGET,
    RENORM_SOURCE). The network that is shipped then expects the pool's."""
    labelled_share: float | None = Field(None, ge=0, lt=1)
    """As in all methods; source 4: 0, .25, .5, .75 against forgetting."""
    mix: ClassMixSpec | None = None
    """Paste half of the categories of a labelled crop into the noisy views, with their labels (DACS); null: nothing."""
    masked: MaskedSpec | None = None
    """A further pass of the noisy whole view with hidden blocks, which learns the labels of the whole; null: none."""
    adapt_norm: bool = True
    """Before the first step measure the statistics of batch norm anew, on labelled crops and images of the pool alike:
    the network to start from may have seen labelled images alone. false: it is one whose statistics have seen both (the
    public code's, stage 1)."""
    watch_steps: int | None = Field(None, ge=0)
    """First steps in which the loss is watched: where it rises, restarting is advised (the author of da-sac does); 0:
    it isn't watched; null: a tenth of the training, from 20 to 100."""
    watch_rise: float = Field(1.1, gt=0)
    """Factor from the mean loss of the first half of these steps to that of the second, above which it has risen."""

    def at_length(self, steps: int) -> SacSpec:
        """Return the method with what is null decided for a training of so many steps.

        Example:
            >>> found = SacSpec().at_length(1000)
            >>> found.teacher_every, found.teacher_momentum, found.watch_steps
            (5, 0.95, 100)
        """
        chosen = {
            "teacher_momentum": 0.95 if steps < _SHORT else 0.99,
            "teacher_every": min(100, max(1, steps // 200)),
            "watch_steps": min(100, max(20, steps // 10)),
        }
        return self.model_copy(update={key: value for key, value in chosen.items() if getattr(self, key) is None})

    @property
    def passes(self) -> Passes:
        """What a step costs for each labelled crop, where a step has as many images of the pool."""
        more = self.masked is not None
        return Passes(1.0 + 2 * self.views + more, 1.0 + self.views + more)

    @model_validator(mode="after")
    def _warps_back(self) -> Self:
        if moving := [spec.kind for spec in self.noise if isinstance(spec, MOVES)]:
            raise ValueError(f"noise: {', '.join(moving)} moves pixels away from their labels: put it into `canvas`")
        if self.zoom[1] > 1:
            raise ValueError(f"zoom ({list(self.zoom)}): a crop is at most as large as the whole view, 1")
        return self


class NormAdaptationSpec(Spec):
    """Learning from labels alone, while batch norm's statistics see the pool, too (source 4's source-only stage)."""

    kind: Literal["norm_adaptation"] = "norm_adaptation"
    batch: int | None = Field(None, ge=1)
    """Images without labels in a step; null: as many as `train.batch`."""
    weak: tuple[GeometrySpec, ...] | None = None
    """How they are varied; null: the geometry of `augment`."""

    @property
    def passes(self) -> Passes:
        """What a step costs for each labelled crop, where a step has as many images of the pool."""
        return Passes(2.0, 1.0)


AdaptationSpec = Annotated[SacSpec | NormAdaptationSpec, Field(discriminator="kind")]

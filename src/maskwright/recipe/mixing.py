"""How a training crop is mixed with a crop of another image: a list of draws, applied in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from maskwright.recipe.chance import Chance, Probability
from maskwright.recipe.loss import LossSpec
from maskwright.recipe.spec import Spec


class BoxSpec(Spec):
    """A box that is drawn for some of the crops, with the constants of ST++ and UniMatch."""

    probability: Chance = 0.5
    """Share of crops that are changed."""
    area: tuple[float, float] = (0.02, 0.4)
    """Area of the box as a share of the crop's, drawn uniformly."""
    aspect: tuple[float, float] = (0.3, 10 / 3)
    """Height over width of the box in pixels, drawn uniformly; where the box would reach out, the nearest that fits."""

    @field_validator("area", "aspect")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("two values above 0, the smaller one first")
        return value

    @field_validator("area")
    @classmethod
    def _is_a_share(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[1] > 1:
            raise ValueError("a share of the crop: at most 1")
        return value


class CutMixSpec(BoxSpec):
    """Paste a box of the partner: image and label, ignored pixels too (Yun et al. 2019; boxes as in UniMatch)."""

    kind: Literal["cutmix"] = "cutmix"


class CutoutSpec(BoxSpec):
    """Fill a box with noise, and learn nothing there (DeVries and Taylor 2017; as in ST++). No partner is needed."""

    kind: Literal["cutout"] = "cutout"


class ClassMixSpec(Spec):
    """Paste all pixels of half of the partner's own categories, drawn at random (Olsson et al. 2021)."""

    kind: Literal["classmix"] = "classmix"
    probability: Chance = 0.5
    """Share of crops that are changed."""


class CopyPasteSpec(Spec):
    """Paste objects of the partner: its instances, or the connected components of its categories (Ghiasi et al. 2021).

    The partner is an image that holds one of the categories, its crop centred on one of their pixels.
    """

    kind: Literal["copy_paste"] = "copy_paste"
    probability: Chance = 0.5
    """Share of crops that are changed."""
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    """Categories whose objects are pasted; null: things, or where nothing is a thing those that the metric counts."""
    objects: int = Field(5, ge=1)
    """Most objects that are pasted; how many is drawn uniformly from 1 on."""
    flip: Probability = 0.5
    """Probability of swapping left and right of what is pasted."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Zoom of what is pasted, drawn log-uniformly."""
    feather: float = Field(0.0, ge=0, le=32)
    """Standard deviation in pixels of the Gaussian that softens the pasted image's border; the label stays sharp."""

    @field_validator("scale")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("two values above 0, the smaller one first")
        return value


class MixUpSpec(Spec):
    """Blend image and label with the partner's: λ of one, 1 − λ of the other (Zhang et al. 2018). The last of the list.

    Losses then learn from shares of categories instead of one category a pixel.
    """

    kind: Literal["mixup"] = "mixup"
    probability: Chance = 0.5
    """Share of crops that are changed."""
    alpha: float = Field(0.2, ge=0.01)
    """λ is drawn from Beta(alpha, alpha): 1 is uniform, smaller values are nearer to 0 and 1."""


MixSpec = Annotated[CutMixSpec | CutoutSpec | ClassMixSpec | CopyPasteSpec | MixUpSpec, Field(discriminator="kind")]


def check_mix(mix: Sequence[MixSpec], losses: Iterable[LossSpec]) -> None:
    """Raise ValueError where a list of mixtures can't be applied, or not be learned from.

    Args:
        mix: the recipe's list.
        losses: all of the recipe, of every level.
    """
    if any(isinstance(spec, MixUpSpec) for spec in mix[:-1]):
        raise ValueError("mix: mixup must stand last, and once: nothing can be pasted into labels that are blended")
    hard = sorted({term.kind for term in losses if term.hard_only})
    if blends_labels(mix) and hard:
        raise ValueError(
            f"mix: mixup blends labels, and one category a pixel is what {' and '.join(hard)} can learn from: "
            f"use cutmix, classmix or copy_paste, or leave out {' and '.join(hard)}"
        )


def blends_labels(mix: Sequence[MixSpec]) -> bool:
    """Return whether losses learn from shares of categories instead of one category a pixel."""
    return any(isinstance(spec, MixUpSpec) for spec in mix)


def mixed_names(mix: Sequence[MixSpec]) -> list[str]:
    """Return the names of categories that a list of mixtures mentions."""
    return [name for spec in mix if isinstance(spec, CopyPasteSpec) for name in spec.classes or ()]

"""Auto-augmentation: sub-policies of operations, each with its probability and magnitude."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.chance import Chance, Probability
from maskwright.recipe.spec import Spec

Operation = Literal[
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "color",
    "contrast",
    "sharpness",
    "brightness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
    "invert",
]


class OperationSpec(Spec):
    """An operation of a sub-policy."""

    op: Operation
    """What is done; geometry to image and label alike, either way as often as the other."""
    probability: Probability = 1.0
    """Share of the samples of its sub-policy that it is done to."""
    magnitude: int = Field(5, ge=0, le=9)
    """How much, 0..9 in equal steps: shear up to .3, shift up to 150/331 of the side, rotation up to 30 degrees;
    colour, contrast, sharpness and brightness by factors up to 1 ± .9; posterize down to 4 bits, solarize from 256
    down to 0."""


SubPolicy = Annotated[tuple[OperationSpec, ...], Field(min_length=1)]


class AutoAugmentSpec(Spec):
    """One sub-policy, drawn anew for every sample, each as likely as the others: its operations one after the other."""

    kind: Literal["auto_augment"] = "auto_augment"
    probability: Chance = 0.4
    """Share of samples that get a sub-policy."""
    policies: Literal["cifar10"] | Annotated[tuple[SubPolicy, ...], Field(min_length=1)] = "cifar10"
    """cifar10: the 25 sub-policies found for CIFAR-10 (Cubuk et al. 2019); or your own, each a list of operations."""
    fill: float = Field(128, ge=0, le=255)
    """Gray value of pixels that geometry uncovers."""
    label_fill: Annotated[int, Field(ge=0, le=253)] | Literal["ignore"] = "ignore"
    """Label of pixels that geometry uncovers: the position of a category, or ignore."""

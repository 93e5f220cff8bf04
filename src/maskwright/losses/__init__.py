"""Losses: plain functions of logits and labels, one a file, and the weighted sum that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from maskwright.errors import RecipeError, problem
from maskwright.losses.boundary import DistanceMap, kervadec_boundary
from maskwright.losses.cross_entropy import cross_entropy
from maskwright.losses.dice import dice_loss
from maskwright.losses.focal import focal_loss
from maskwright.losses.iou import iou_loss
from maskwright.losses.lovasz import lovasz_softmax
from maskwright.losses.mix import LevelsLoss, Loss, Schedule, Term, WeightedLoss, thin_out
from maskwright.losses.soft import kl_divergence, squared_error
from maskwright.losses.ssim import ssim_loss
from maskwright.losses.step import (
    Number,
    PixelCounts,
    count_labels,
    number_of_images,
    number_of_pixels,
    number_of_regions,
)
from maskwright.losses.tversky import tversky_loss
from maskwright.recipe.loss import (
    CrossEntropySpec,
    DiceSpec,
    FocalSpec,
    IoUSpec,
    KervadecBoundarySpec,
    KLSpec,
    LevelSpec,
    LossSpec,
    LovaszSpec,
    MSESpec,
    PythonLossSpec,
    RegionSpec,
    SSIMSpec,
    TermSpec,
    TverskySpec,
)
from maskwright.recipe.target import import_target
from maskwright.types import Categories

__all__ = [
    "LOSSES",
    "DistanceMap",
    "LevelsLoss",
    "PixelCounts",
    "Term",
    "WeightedLoss",
    "build_levels",
    "build_loss",
    "count_labels",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "iou_loss",
    "kervadec_boundary",
    "kl_divergence",
    "lovasz_softmax",
    "needed_targets",
    "squared_error",
    "ssim_loss",
    "thin_out",
    "tversky_loss",
]


def _build_pixelwise(function: Callable[..., torch.Tensor]) -> Callable[[Any, Categories], Loss]:
    """Return the builder of a loss of single pixels, which learns every category."""

    def build(spec: Any, categories: Categories) -> Loss:
        weights, options = class_weights_of(spec, categories, range(len(categories))), _options(spec)
        if isinstance(alpha := options.get("alpha"), tuple):
            options["alpha"] = torch.tensor(_as_many(alpha, categories, f"alpha of {spec.kind}"))
        return lambda logits, labels, targets: function(logits, labels, class_weights=weights, **options)

    return build


def _build_regional(function: Callable[..., torch.Tensor]) -> Callable[[Any, Categories], Loss]:
    """Return the builder of a loss of regions, which has no term for the categories left out of the metric."""

    def build(spec: Any, categories: Categories) -> Loss:
        weights, options = class_weights_of(spec, categories, categories.evaluated), _options(spec)
        return lambda logits, labels, targets: function(logits, labels, class_weights=weights, **options)

    return build


def _build_boundary(spec: KervadecBoundarySpec, categories: Categories) -> Loss:
    weights, name = class_weights_of(spec, categories, categories.evaluated), DistanceMap(spec.resolution).name
    return lambda logits, labels, targets: kervadec_boundary(logits, labels, targets[name], class_weights=weights)


def _build_python(spec: PythonLossSpec, categories: Categories) -> Loss:
    loss = import_target(spec.target)(categories=categories, **spec.arguments)
    return lambda logits, labels, targets: loss(logits, labels)


LOSSES: dict[type, Callable[[Any, Categories], Loss]] = {
    CrossEntropySpec: _build_pixelwise(cross_entropy),
    FocalSpec: _build_pixelwise(focal_loss),
    KLSpec: _build_pixelwise(kl_divergence),
    MSESpec: _build_pixelwise(squared_error),
    DiceSpec: _build_regional(dice_loss),
    IoUSpec: _build_regional(iou_loss),
    TverskySpec: _build_regional(tversky_loss),
    LovaszSpec: _build_regional(lovasz_softmax),
    KervadecBoundarySpec: _build_boundary,
    SSIMSpec: _build_regional(ssim_loss),
    PythonLossSpec: _build_python,
}


def build_levels(levels: Sequence[LevelSpec], loss: Sequence[LossSpec], categories: Categories) -> LevelsLoss:
    """Return the loss of all supervised outputs of a recipe; `loss` alone for the finest if no level is named."""
    named = levels or (LevelSpec(),)
    return LevelsLoss([(level.weight, build_loss(level.loss or loss, categories)) for level in named])


def build_loss(specs: Sequence[LossSpec], categories: Categories) -> WeightedLoss:
    """Return the weighted loss of a recipe.

    Raises:
        RecipeError: class weights or names that don't fit the categories, or class weights that weren't counted yet.
    """
    terms, seen = [], list[str]()
    for spec in specs:
        name = spec.kind if spec.kind not in seen else f"{spec.kind}_{seen.count(spec.kind) + 1}"
        seen.append(spec.kind)
        number = _number(spec, categories)
        terms.append(Term(name, LOSSES[type(spec)](spec, categories), _schedule(spec), _needs(spec), number))
    return WeightedLoss(terms)


def needed_targets(levels: Sequence[LevelSpec], loss: Sequence[LossSpec]) -> tuple[DistanceMap, ...]:
    """Return what the losses of a recipe need besides images and labels, each once."""
    specs = [spec for level in levels or (LevelSpec(),) for spec in level.loss or loss]
    return tuple(dict.fromkeys(target for spec in specs for target in _needs(spec)))


def class_weights_of(spec: Any, categories: Categories, positions: Sequence[int]) -> torch.Tensor | None:
    """Return the (C,) class weights of a term, 0 outside of the positions that it learns; None where all are 1.

    Args:
        spec: with the fields of `TermSpec`.
        categories: the network's outputs.
        positions: categories that the term learns.

    Raises:
        RecipeError: they don't fit the categories, or are a rule still.
    """
    _known(spec.leave_out, categories)
    if isinstance(spec.class_weights, str) and spec.class_weights != "none":
        raise RecipeError(
            problem(
                "class weights that were counted",
                f"the rule {spec.class_weights}",
                where=f"class_weights of {spec.kind}",
                next_move="replace it with `train.class_weights.with_class_weights`, or give numbers",
            )
        )
    ones = (1.0,) * len(categories)
    given = ones if isinstance(spec.class_weights, str) else spec.class_weights
    weights = list(_as_many(given, categories, f"class_weights of {spec.kind}"))
    for position, name in enumerate(categories.names):
        if name in spec.leave_out or position not in positions:
            weights[position] = 0.0
    return None if tuple(weights) == ones else torch.tensor(weights)


def _known(names: Sequence[str], categories: Categories) -> None:
    if unknown := sorted(set(names) - set(categories.names)):
        raise RecipeError(
            problem(
                f"names among {', '.join(categories.names)}",
                ", ".join(unknown),
                where="leave_out of a loss",
                next_move="use the names above",
            )
        )


def _as_many(numbers: Sequence[float], categories: Categories, where: str) -> Sequence[float]:
    if len(numbers) != len(categories):
        raise RecipeError(
            problem(
                f"{len(categories)} numbers, one for each of {', '.join(categories.names)}",
                f"{len(numbers)}",
                where=where,
                next_move="give one for each category, in this order",
            )
        )
    return numbers


def _options(spec: Any) -> dict[str, Any]:
    """Return what a term's own fields say, by name: those that its function takes."""
    return {
        name: getattr(spec, name) for name in type(spec).model_fields if name not in {*TermSpec.model_fields, "kind"}
    }


def _needs(spec: LossSpec) -> tuple[DistanceMap, ...]:
    return (DistanceMap(spec.resolution),) if isinstance(spec, KervadecBoundarySpec) else ()


def _number(spec: LossSpec, categories: Categories) -> Number | None:
    """Return what a term's mean is divided by, where that is counted in labels image by image."""
    if isinstance(spec, CrossEntropySpec | FocalSpec | KLSpec | MSESpec):
        return number_of_pixels(class_weights_of(spec, categories, range(len(categories))))
    if isinstance(spec, KervadecBoundarySpec) or (isinstance(spec, SSIMSpec) and spec.padding == "zero"):
        return number_of_pixels(None)  # the weights of the categories are the same for all pixels
    if isinstance(spec, LovaszSpec) and spec.per_image and spec.classes == "all":
        return number_of_images
    if isinstance(spec, LovaszSpec) or (isinstance(spec, RegionSpec) and spec.absent == "skip"):
        weights = class_weights_of(spec, categories, categories.evaluated)
        return number_of_regions(weights, whole_images=getattr(spec, "one_ratio", False)) if spec.per_image else None
    return None


def _schedule(spec: LossSpec) -> float | Schedule | None:
    """Return how a term's weight runs over the training; None: learned."""
    if spec.weight == "learned":
        return None
    if not isinstance(spec, KervadecBoundarySpec) or spec.schedule == "fixed":
        return spec.weight
    start, end, floor = spec.weight, spec.end, spec.floor if spec.schedule == "rebalanced" else 1.0

    def rising(progress: float) -> tuple[float, float]:
        weight = start + (end - start) * progress
        return weight, max(floor, 1 - weight)

    return rising

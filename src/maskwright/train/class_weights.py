"""The rules of a recipe for class weights, replaced by numbers that the training labels of the fold give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from maskwright.data.class_weights import LabelCounts, class_weights
from maskwright.recipe import Recipe
from maskwright.recipe.loss import LossSpec, TermSpec
from maskwright.types import Categories, LabelMap


def with_class_weights(recipe: Recipe, labels: Iterable[LabelMap]) -> Recipe:
    """Return the recipe with numbers for class weights; the labels are only looked at where it names a rule.

    Args:
        recipe: its data section is resolved.
        labels: (H, W) uint8 with `IGNORE`: those that the fold learns from, and no others.
    """
    if not any(map(_open, _terms(recipe))):
        return recipe
    categories = recipe.data.to_categories()
    counts = LabelCounts.of(labels, len(categories))

    def closed(specs: tuple[LossSpec, ...] | None) -> Any:
        return None if specs is None else tuple(_closed(spec, counts, categories) for spec in specs)

    levels = tuple(level.model_copy(update={"loss": closed(level.loss)}) for level in recipe.levels)
    return recipe.model_copy(update={"loss": closed(recipe.loss), "levels": levels})


def class_weight_lines(recipe: Recipe) -> list[str]:
    """Return a line for the log for each term of a recipe that has class weights."""
    names = recipe.data.to_categories().names
    return [
        f"class weights of {spec.kind}: "
        + ", ".join(f"{n} {w:.4g}" for n, w in zip(names, spec.class_weights, strict=True))
        for spec in _terms(recipe)
        if isinstance(spec, TermSpec) and not isinstance(spec.class_weights, str)
    ]


def _terms(recipe: Recipe) -> list[LossSpec]:
    return [*recipe.loss, *(spec for level in recipe.levels for spec in level.loss or ())]


def _open(spec: LossSpec) -> bool:
    return isinstance(spec, TermSpec) and isinstance(spec.class_weights, str) and spec.class_weights != "none"


def _closed(spec: LossSpec, counts: LabelCounts, categories: Categories) -> LossSpec:
    if not isinstance(spec, TermSpec) or not isinstance(spec.class_weights, str) or spec.class_weights == "none":
        return spec
    out = [position for position, name in enumerate(categories.names) if name in spec.leave_out]
    weights = class_weights(counts, spec.class_weights, cap=spec.class_weight_cap, leave_out=out)
    return spec.model_copy(update={"class_weights": weights})

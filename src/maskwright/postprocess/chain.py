"""From probabilities to a label map: the steps of a recipe, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from maskwright.errors import RecipeError, problem
from maskwright.postprocess.areas import fill_holes, remove_small
from maskwright.postprocess.thresholds import most_probable, threshold
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, PostprocessStep, ThresholdSpec
from maskwright.types import LabelMap, Probabilities

_LABEL_STEPS: dict[type, Callable[[LabelMap, Any], LabelMap]] = {
    MinimumAreaSpec: lambda label, step: remove_small(label, step.pixels),
    FillHolesSpec: lambda label, step: fill_holes(label, 1, pixels=step.pixels),
}


def apply_chain(probabilities: Probabilities, steps: Sequence[PostprocessStep]) -> LabelMap:
    """Return the (H, W) label map of (C, H, W) probabilities: a threshold or the most probable category, then the rest.

    Raises:
        RecipeError: a step for two categories met more, or a threshold came after another step.
    """
    categories = probabilities.shape[0]
    thresholds = [i for i, step in enumerate(steps) if isinstance(step, ThresholdSpec)]
    if thresholds and (categories != 2 or thresholds != [0]):
        raise RecipeError(
            problem(
                "at most one threshold, as the first step of a two-category chain",
                f"a threshold at place {thresholds[-1] + 1} with {categories} categories",
                where="postprocess.chain",
                next_move="remove it; without one the most probable category is taken",
            )
        )
    first = steps[0] if thresholds else None
    label = threshold(probabilities, first.value) if isinstance(first, ThresholdSpec) else most_probable(probabilities)
    return apply_steps(label, steps[1:] if thresholds else steps, categories=categories)


def apply_steps(label: LabelMap, steps: Sequence[PostprocessStep], *, categories: int) -> LabelMap:
    """Return a label map after the steps that need no probabilities."""
    for step in steps:
        if isinstance(step, FillHolesSpec) and categories != 2:
            raise RecipeError(
                problem(
                    "two categories for fill_holes",
                    f"{categories}",
                    where="postprocess.chain",
                    next_move="use minimum_area, which closes small holes of any category",
                )
            )
        label = _LABEL_STEPS[type(step)](label, step)
    return label

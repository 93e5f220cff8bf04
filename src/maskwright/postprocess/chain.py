"""From probabilities to a label map: the steps of a recipe, in order.

Three kinds of steps: on probabilities (`PROBABILITY_STEPS`, which may look at the image), from probabilities to labels
(`FOREGROUND_STEPS`; without one of them the most probable category is taken), and on labels (`LABEL_STEPS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from maskwright.errors import RecipeError, UsageError, problem
from maskwright.postprocess.areas import fill_holes, remove_small
from maskwright.postprocess.crf import crf
from maskwright.postprocess.morphology import closing, largest_component, opening
from maskwright.postprocess.smoothing import majority, smooth_box, smooth_gaussian
from maskwright.postprocess.staged import select, staged
from maskwright.postprocess.thresholds import most_probable, threshold
from maskwright.postprocess.watershed import cut_touching
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, PostprocessStep, ThresholdSpec
from maskwright.recipe.steps import (
    ClosingSpec,
    CrfSpec,
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
from maskwright.types import Array, LabelMap, Probabilities

Image = Array | Callable[[], Array]
"""An (H, W, channels) image, or what reads it."""

PROBABILITY_STEPS: dict[type, Callable[[Probabilities, Any, Callable[[], Array]], Probabilities]] = {
    SmoothSpec: lambda p, step, image: (
        smooth_box(p, step.size) if step.weights == "box" else smooth_gaussian(p, step.sigma)
    ),
    CrfSpec: lambda p, step, image: crf(p, image(), step),
}
FOREGROUND_STEPS: dict[type, Callable[[Probabilities, Any], LabelMap]] = {
    ThresholdSpec: lambda p, step: threshold(p, step.value),
    SelectSpec: lambda p, step: select(p[1], step),
    StagedSpec: lambda p, step: staged(p[1], step),
}
LABEL_STEPS: dict[type, Callable[[LabelMap, Any], LabelMap]] = {
    MinimumAreaSpec: lambda label, step: remove_small(label, step.pixels),
    MajoritySpec: lambda label, step: majority(label, step.size),
}
CATEGORY_STEPS: dict[type, Callable[[LabelMap, int, Any], LabelMap]] = {
    FillHolesSpec: lambda label, category, step: fill_holes(
        label, category, pixels=step.pixels, edges=step.edges, background=step.background
    ),
    ClosingSpec: lambda label, category, step: closing(label, category, step.size),
    OpeningSpec: lambda label, category, step: opening(label, category, step.size),
    LargestSpec: lambda label, category, step: largest_component(label, category),
    SplitSpec: lambda label, category, step: cut_touching(label, category, step.distance),
}


def apply_chain(
    probabilities: Probabilities,
    steps: Sequence[PostprocessStep],
    *,
    image: Image | None = None,
) -> LabelMap:
    """Return the (H, W) label map of (C, H, W) probabilities.

    First steps on probabilities; then those that decide what is foreground, one of two categories or one for each of
    some, else the most probable category is taken; then the steps on labels.

    Args:
        probabilities: (C, H, W) float in 0..1.
        steps: of the recipe.
        image: that was predicted; read at most once, and only if a step looks at it.

    Raises:
        RecipeError: steps stand in another order, a category isn't there or has two thresholds, or a threshold of no
            category met more than two.
        DataError: a step met probabilities that aren't finite, or outside of 0..1, or an image of another size.
        UsageError: a step looks at the image, and there is none.
    """
    categories = probabilities.shape[0]
    smoothing = next((i for i, step in enumerate(steps) if type(step) not in PROBABILITY_STEPS), len(steps))
    probabilities = apply_probability_steps(probabilities, steps[:smoothing], image=image)
    steps = steps[smoothing:]
    deciding = next((i for i, step in enumerate(steps) if type(step) not in FOREGROUND_STEPS), len(steps))
    _check_deciding(steps, deciding, smoothing, categories)
    return apply_steps(_decided(probabilities, steps[:deciding]), steps[deciding:], categories=categories)


def apply_probability_steps(
    probabilities: Probabilities, steps: Sequence[PostprocessStep], *, image: Image | None = None
) -> Probabilities:
    """Return (C, H, W) probabilities after steps of `PROBABILITY_STEPS`.

    Raises:
        DataError: a step met probabilities that aren't finite, or outside of 0..1, or an image of another size.
        UsageError: a step looks at the image, and there is none.
    """
    source = cache(image) if callable(image) else image
    for step in steps:
        probabilities = PROBABILITY_STEPS[type(step)](probabilities, step, partial(_image, source, step))
    return probabilities


def apply_steps(label: LabelMap, steps: Sequence[PostprocessStep], *, categories: int) -> LabelMap:
    """Return a label map after the steps that need no probabilities.

    Raises:
        RecipeError: a step needs probabilities, needs two categories, or names a category that isn't there.
    """
    for step in steps:
        if isinstance(step, OfCategory):
            for category in _categories(step, categories):
                label = CATEGORY_STEPS[type(step)](label, category, step)
            continue
        _check(step)
        label = LABEL_STEPS[type(step)](label, step)
    return label


def _image(image: Image | None, step: PostprocessStep) -> Array:
    if image is None:
        raise UsageError(
            problem(
                "the image that was predicted",
                f"none for the step {step.kind}",
                where="postprocess.chain",
                next_move="pass image=, or remove the step",
            )
        )
    return image() if callable(image) else image


def _decided(probabilities: Probabilities, steps: Sequence[Any]) -> LabelMap:
    """Return the label map before any step on labels, by steps of `FOREGROUND_STEPS`.

    Categories with a step of their own are where it says, of several that take a pixel the most probable; other pixels
    get the most probable one of the categories without a step.
    """
    if not steps:
        return most_probable(probabilities)
    if steps[0].category is None:
        return FOREGROUND_STEPS[type(steps[0])](probabilities, steps[0])
    label = most_probable(probabilities, never=[step.category for step in steps])
    highest = np.full(label.shape, -1, probabilities.dtype)
    for step in sorted(steps, key=lambda step: step.category):
        own = probabilities[step.category]
        taken = FOREGROUND_STEPS[type(step)](np.stack([1 - own, own]), step).astype(bool) & (own > highest)
        label[taken], highest[taken] = step.category, own[taken]
    return label


def _check_deciding(steps: Sequence[Any], deciding: int, before: int, categories: int) -> None:
    """Raise a RecipeError unless the first `deciding` steps can decide together, and no other one decides."""
    wrong = [i for i, step in enumerate(steps) if i >= deciding and type(step) in FOREGROUND_STEPS]
    stated = [step.category for step in steps[:deciding]]
    if None in stated and (stated, categories) != ([None], 2):
        wrong.append(deciding - 1)
    for step in steps[:deciding]:
        if step.category is not None:
            _categories(step, categories)
    wrong += [i for i, category in enumerate(stated) if category in stated[:i]]
    if wrong or len(stated) == categories:
        raise RecipeError(
            problem(
                "at most one threshold for a category, before all steps on labels, with its `category` where there are "
                "more than two, and a category without one",
                f"a {steps[wrong[0]].kind} at place {before + wrong[0] + 1} with {categories} categories"
                if wrong
                else f"one for each of {categories} categories",
                where="postprocess.chain",
                next_move="remove it (only smooth and crf go before); without one the most probable category is taken",
            )
        )


def _categories(step: OfCategory | OfForeground, categories: int) -> Sequence[int]:
    if step.category is None:
        return range(1, categories)
    if step.category >= categories:
        raise RecipeError(
            problem(
                f"positions 0..{categories - 1}",
                f"category {step.category}",
                where="postprocess.chain",
                next_move="name one of these positions, or null for all but the background",
            )
        )
    return (step.category,)


def _check(step: PostprocessStep) -> None:
    if type(step) not in LABEL_STEPS:
        raise RecipeError(
            problem(
                "steps on labels",
                f"{step.kind}",
                where="postprocess.chain",
                next_move="put it before all steps on labels: it needs the probabilities",
            )
        )

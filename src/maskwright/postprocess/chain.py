"""From probabilities to a label map: the steps of a recipe, in order.

Three kinds of steps: on probabilities (`PROBABILITY_STEPS`, which may look at the image), from probabilities to labels
(`FOREGROUND_STEPS`; without one of them the most probable category is taken), and on labels (`LABEL_STEPS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from maskwright.errors import RecipeError, UsageError, problem
from maskwright.postprocess.areas import fill_holes, remove_small
from maskwright.postprocess.crf import crf
from maskwright.postprocess.morphology import closing, largest_component, opening
from maskwright.postprocess.smoothing import majority, smooth_box, smooth_gaussian
from maskwright.postprocess.staged import select, staged
from maskwright.postprocess.thresholds import favour, most_probable, threshold
from maskwright.postprocess.watershed import cut_touching
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, PostprocessStep, ThresholdSpec
from maskwright.recipe.steps import (
    ClosingSpec,
    CrfSpec,
    FavourSpec,
    LargestSpec,
    MajoritySpec,
    OfCategory,
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
    FavourSpec: lambda p, step, image: favour(p, step.category, step.factor),
}
FOREGROUND_STEPS: dict[type, Callable[[Probabilities, Any], LabelMap]] = {
    ThresholdSpec: lambda p, step: threshold(p, step.value),
    SelectSpec: lambda p, step: select(p[1], step),
    StagedSpec: lambda p, step: staged(p[1], step),
}
LABEL_STEPS: dict[type, Callable[[LabelMap, Any], LabelMap]] = {
    MinimumAreaSpec: lambda label, step: remove_small(label, step.pixels, category=step.category),
    FillHolesSpec: lambda label, step: fill_holes(
        label, 1, pixels=step.pixels, edges=step.edges, background=step.background
    ),
    MajoritySpec: lambda label, step: majority(label, step.size),
}
CATEGORY_STEPS: dict[type, Callable[[LabelMap, int, Any], LabelMap]] = {
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

    First steps on probabilities, then at most one step that decides what is foreground, else the most probable category
    is taken; then the steps on labels.

    Args:
        probabilities: (C, H, W) float in 0..1.
        steps: of the recipe.
        image: that was predicted; read at most once, and only if a step looks at it.

    Raises:
        RecipeError: a step for two categories met more, steps stand in another order, or a category isn't there.
        DataError: a step met probabilities that aren't finite, or outside of 0..1, or an image of another size.
        UsageError: a step looks at the image, and there is none.
    """
    categories = probabilities.shape[0]
    smoothing = next((i for i, step in enumerate(steps) if type(step) not in PROBABILITY_STEPS), len(steps))
    probabilities = apply_probability_steps(probabilities, steps[:smoothing], image=image)
    steps = steps[smoothing:]
    deciding = [i for i, step in enumerate(steps) if type(step) in FOREGROUND_STEPS]
    if deciding and (categories != 2 or deciding != [0]):
        raise RecipeError(
            problem(
                "at most one threshold, as the first step of a two-category chain",
                f"a {steps[deciding[-1]].kind} at place {smoothing + deciding[-1] + 1} with {categories} categories",
                where="postprocess.chain",
                next_move="remove it (only smooth, favour and crf go before); without one the most probable is taken",
            )
        )
    label = FOREGROUND_STEPS[type(steps[0])](probabilities, steps[0]) if deciding else most_probable(probabilities)
    return apply_steps(label, steps[len(deciding) :], categories=categories)


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
        _check(step, categories)
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


def _categories(step: OfCategory | MinimumAreaSpec, categories: int) -> Sequence[int]:
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


def _check(step: PostprocessStep, categories: int) -> None:
    if isinstance(step, MinimumAreaSpec):
        _categories(step, categories)
    if isinstance(step, FillHolesSpec) and categories != 2:
        raise RecipeError(
            problem(
                "two categories for fill_holes",
                f"{categories}",
                where="postprocess.chain",
                next_move="use minimum_area, which closes small holes of any category",
            )
        )
    if type(step) not in LABEL_STEPS:
        raise RecipeError(
            problem(
                "steps on labels",
                f"{step.kind}",
                where="postprocess.chain",
                next_move="put it before all steps on labels: it needs the probabilities",
            )
        )

"""How far the steps of a chain look, so that a large image can be cleaned up window by window."""

from __future__ import annotations

from collections.abc import Sequence

from maskwright.recipe.predict import PostprocessStep, ThresholdSpec
from maskwright.recipe.steps import ClosingSpec, FavourSpec, MajoritySpec, OfCategory, OpeningSpec, SmoothSpec

_WHOLE = -1


def reach(steps: Sequence[PostprocessStep], categories: int) -> tuple[int, int]:
    """Return how many steps at the beginning of a chain look at the surroundings of a pixel alone, and how far.

    Smoothing looks half a window far, a majority too, closing and opening a window less one pixel for each category.
    Components have no bound: whatever comes from the first step on that counts areas, fills holes or splits objects
    needs the whole image.

    Args:
        steps: of a chain.
        categories: C.

    Returns:
        The number of these steps, and the pixels that must be known around a window so that they give it the labels
        that they give it in the whole image.

    Example:
        >>> from maskwright.recipe.predict import MinimumAreaSpec
        >>> reach([SmoothSpec(weights="box", size=5), MajoritySpec(size=3), MinimumAreaSpec(pixels=9)], 2)
        (2, 3)
    """
    far = 0
    for count, step in enumerate(steps):
        if (one := _reach_of(step, categories)) == _WHOLE:
            return count, far
        far += one
    return len(steps), far


def _reach_of(step: PostprocessStep, categories: int) -> int:
    if isinstance(step, SmoothSpec):
        return step.size // 2 if step.weights == "box" else int(4 * step.sigma + 0.5)
    if isinstance(step, ThresholdSpec | FavourSpec):  # pixel by pixel
        return 0
    if isinstance(step, MajoritySpec):
        return step.size // 2
    if isinstance(step, ClosingSpec | OpeningSpec):
        assert isinstance(step, OfCategory)
        return (step.size - 1) * (max(categories - 1, 1) if step.category is None else 1)
    return _WHOLE

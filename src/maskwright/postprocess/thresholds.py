"""From probabilities to label maps: a threshold, or the most probable category."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from maskwright.errors import DataError, UsageError, problem
from maskwright.postprocess.checks import check_probabilities
from maskwright.types import LabelMap, Probabilities


def threshold(probabilities: Probabilities, value: float) -> LabelMap:
    """Foreground where its probability reaches a value.

    Args:
        probabilities: (2, H, W) float in 0..1: background, foreground.
        value: the lowest foreground probability that counts, compared in the precision of `probabilities`.

    Returns:
        (H, W) uint8: 1 where the foreground's probability is at least `value`, else 0.

    Raises:
        DataError: there are not two categories.

    Example:
        >>> threshold(np.float32([[[0.7, 0.6]], [[0.3, 0.4]]]), 0.4).tolist()
        [[0, 1]]
    """
    if probabilities.ndim != 3 or len(probabilities) != 2:
        raise DataError(
            problem(
                "(2, H, W) probabilities",
                f"{probabilities.shape}",
                where="threshold",
                next_move="use most_probable for more than two categories",
            )
        )
    # a Python float takes the array's precision: float32(0.35) >= 0.35 holds, in float64 it would not
    foreground: LabelMap = (probabilities[1] >= float(value)).astype(np.uint8)
    return foreground


def most_probable(probabilities: Probabilities, never: Collection[int] = ()) -> LabelMap:
    """Position of the most probable category; the lowest one of equals.

    Args:
        probabilities: (C, H, W) float in 0..1.
        never: positions that are never predicted.

    Returns:
        (H, W) uint8 positions.

    Raises:
        UsageError: no category is left, or `never` names positions that are not there.
    """
    allowed = [position for position in range(len(probabilities)) if position not in never]
    if not allowed or len(allowed) + len(set(never)) != len(probabilities):
        raise UsageError(
            problem(
                f"some but not all of the positions 0..{len(probabilities) - 1}",
                f"{sorted(never)}",
                where="categories that are never predicted",
                next_move="leave at least one category to predict",
            )
        )
    if len(allowed) < len(probabilities):
        probabilities = probabilities[allowed]
    label: LabelMap = np.array(allowed, np.uint8)[probabilities.argmax(axis=0)]
    return label


def favour(probabilities: Probabilities, category: int, factor: float) -> Probabilities:
    """Multiply the probability of one category, and scale all of a pixel to sum to one again.

    For more than two categories it is what a threshold is for two: the decision under other priors (Saerens 2002, eq.
    4). With two, a threshold t of the foreground afterwards is one of t / (t + factor · (1 − t)) before.

    Args:
        probabilities: (C, H, W) float in 0..1.
        category: position of the category.
        factor: above 0.

    Returns:
        (C, H, W) float32. Pixels whose probabilities are all 0 stay.

    Raises:
        DataError: probabilities that aren't finite, or outside of 0..1.
        UsageError: there is no such category.

    Example:
        >>> favour(np.float32([[[0.75]], [[0.25]]]), 1, 3).ravel().tolist()
        [0.5, 0.5]
    """
    check_probabilities(probabilities)
    if not 0 <= category < len(probabilities):
        next_move = "name one of these positions"
        raise UsageError(
            problem(f"positions 0..{len(probabilities) - 1}", f"{category}", where="favour", next_move=next_move)
        )
    favoured = probabilities.astype(np.float32)
    favoured[category] *= np.float32(factor)
    total = favoured.sum(axis=0)
    return np.asarray(np.divide(favoured, total, out=favoured, where=total > 0), np.float32)

"""How well the instances of an image are told apart: symmetric best Dice and the difference in count (CVPPP)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskwright.metrics.segments import Integers, SegmentOverlaps


def symmetric_best_dice(overlaps: SegmentOverlaps, *, empty: float = float("nan")) -> float:
    """SBD of one image (Scharr 2016, equation 3): of each instance the best Dice on the other side, mean; the lower.

    Args:
        overlaps: of two instance maps.
        empty: the score where neither has an instance.

    Returns:
        0..1; 0 where only one has instances.
    """
    sides = len(overlaps.truth_ids), len(overlaps.prediction_ids)
    if not all(sides):
        return 0.0 if any(sides) else empty
    t, p = overlaps.truth, overlaps.prediction
    dice = 2 * overlaps.pixels / (overlaps.truth_area[t] + overlaps.prediction_area[p])
    return min(_mean_best(dice, t, sides[0]), _mean_best(dice, p, sides[1]))


def count_difference(overlaps: SegmentOverlaps) -> int:
    """DiC of one image: predicted minus true instances; |DiC| is the mean of its absolute values over images."""
    return len(overlaps.prediction_ids) - len(overlaps.truth_ids)


def _mean_best(dice: npt.NDArray[np.float64], owner: Integers, count: int) -> float:
    best = np.zeros(count)
    np.maximum.at(best, owner, dice)
    return float(best.mean())

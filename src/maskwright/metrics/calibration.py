"""How far probabilities can be believed: counts in bins of confidence that add up over images, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, UsageError, problem
from maskwright.metrics.scores import ratio
from maskwright.types import IGNORE, Array, LabelMap, Probabilities


@dataclass(frozen=True, eq=False)
class CalibrationCounts:
    """Pixels by confidence, in equal bins over 0..1. Counts add up over images; scores don't.

    Attributes:
        pixels: (B,) int64.
        right: (B,) int64, those of them that are right.
        confidence: (B,) float64, the sum of their confidences.

    Bin b holds confidences above b / B up to (b + 1) / B; the first one 0, too.
    """

    pixels: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]

    def __add__(self, other: CalibrationCounts) -> CalibrationCounts:
        assert len(self.pixels) == len(other.pixels), "counts in the same bins"
        return CalibrationCounts(
            self.pixels + other.pixels, self.right + other.right, self.confidence + other.confidence
        )


def calibration_counts(
    probabilities: Probabilities, truth: LabelMap, *, bins: int = 15, category: int | None = None
) -> CalibrationCounts:
    """Count the pixels of one image.

    Args:
        probabilities: (C, H, W) float in 0..1.
        truth: (H, W) uint8 map of category positions with `IGNORE`; ignored pixels are not counted.
        bins: how many.
        category: None: the confidence is the highest probability, and right is that its category (the lowest of equal
            ones) is the true one (Guo 2017). A position: the confidence is its probability, and right is that it is
            the true one.

    Returns:
        Counts of `bins` bins, all 0 where every pixel is ignored. Probabilities are compared with the bins' edges in
        their own precision.

    Raises:
        DataError: shapes that don't fit, a truth that isn't uint8 or names no channel, or probabilities that aren't
            finite or outside of 0..1.
        UsageError: no bin, or a category that isn't there.

    Example:
        >>> counts = calibration_counts(np.float32([[[0.9, 0.4]], [[0.1, 0.6]]]), np.uint8([[0, 0]]), bins=2)
        >>> counts.pixels.tolist(), counts.right.tolist()
        ([0, 2], [0, 1])
    """
    _check(probabilities, truth, bins, category)
    valid = truth != IGNORE
    true, chosen = truth[valid], probabilities[:, valid]  # (P,), (C, P)
    _check_values(true, chosen)
    if category is None:
        confidence, right = chosen.max(axis=0), chosen.argmax(axis=0) == true
    else:
        confidence, right = chosen[category], true == category
    edges = (np.arange(1, bins) / bins).astype(confidence.dtype)
    places = np.searchsorted(edges, confidence, side="left")
    return CalibrationCounts(
        np.bincount(places, minlength=bins).astype(np.int64),
        np.bincount(places[right], minlength=bins).astype(np.int64),
        np.bincount(places, weights=confidence, minlength=bins).astype(np.float64),
    )


def expected_calibration_error(counts: CalibrationCounts) -> float:
    """ECE (Guo 2017, eq. 3): |share that is right - mean confidence| of each bin, weighted by its pixels.

    Returns:
        0..1; NaN without a pixel.
    """
    total = int(counts.pixels.sum())
    return float(np.abs(counts.right - counts.confidence).sum() / total) if total else float("nan")


def maximum_calibration_error(counts: CalibrationCounts) -> float:
    """MCE (Guo 2017, eq. 5): the largest |share that is right - mean confidence| of all bins; NaN without a pixel."""
    gaps = np.abs(ratio(counts.right - counts.confidence, counts.pixels))
    return float(np.nanmax(gaps)) if counts.pixels.any() else float("nan")


def reliability_table(counts: CalibrationCounts) -> list[dict[str, Any]]:
    """Return one row a bin: its ends `low` and `high`, its `pixels`, their mean `confidence` and `accuracy`.

    `confidence` and `accuracy` (the share that is right) are NaN in a bin without pixels.
    """
    bins = len(counts.pixels)
    confidence, accuracy = ratio(counts.confidence, counts.pixels), ratio(counts.right, counts.pixels)
    return [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "pixels": int(counts.pixels[b]),
            "confidence": float(confidence[b]),
            "accuracy": float(accuracy[b]),
        }
        for b in range(bins)
    ]


def _check(probabilities: Probabilities, truth: LabelMap, bins: int, category: int | None) -> None:
    if probabilities.ndim != 3 or probabilities.shape[1:] != truth.shape or truth.dtype != np.uint8:
        raise DataError(
            problem(
                "(C, H, W) probabilities and an (H, W) uint8 truth",
                f"{probabilities.shape} and {truth.dtype} {truth.shape}",
                where="calibration",
                next_move="scale the probabilities to the truth's size",
            )
        )
    if bins < 1 or (category is not None and not 0 <= category < len(probabilities)):
        raise UsageError(
            problem(
                f"at least one bin, and a position 0..{len(probabilities) - 1} or none",
                f"{bins} bins, category {category}",
                where="calibration",
                next_move="use 10 or 15 bins, and one of these positions",
            )
        )


def _check_values(true: Array, chosen: Array) -> None:
    if true.size == 0:
        return
    low, high, largest = float(chosen.min()), float(chosen.max()), int(true.max())
    if low >= -1e-6 and high <= 1 + 1e-6 and largest < len(chosen):  # False for NaN
        return
    raise DataError(
        problem(
            f"probabilities in 0..1 and positions 0..{len(chosen) - 1}",
            f"{low:.6g}..{high:.6g} and positions up to {largest}",
            where="calibration",
            next_move="give softmax outputs, one channel a category",
        )
    )

"""How far probabilities can be believed: counts in bins of confidence that add up over images, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from maskwright.errors import DataError, UsageError, problem
from maskwright.metrics.scores import Scores, ratio
from maskwright.types import IGNORE, Array, LabelMap, Probabilities

_ROUNDING = 0.004
"""Apart from 1 up to which a sum is rounding: float16 holds probabilities to 0.0005 of their size, sums to 0.002."""


@dataclass(frozen=True, eq=False)
class CalibrationCounts:
    """Pixels by confidence, in equal bins over 0..1. Counts add up over images; scores don't.

    Attributes:
        pixels: (..., B) int64 (float64 after weighting).
        right: (..., B) int64, those of them that are right.
        confidence: (..., B) float64, the sum of their confidences.

    Bin b holds confidences above b / B up to (b + 1) / B; the first one 0, too.
    """

    pixels: Array
    right: Array
    confidence: Array

    @classmethod
    def stack(cls, items: Sequence[CalibrationCounts]) -> CalibrationCounts:
        """Join the (B,) counts of images into (images, B)."""
        return cls(*(np.stack([getattr(item, f.name) for item in items]) for f in fields(cls)))

    def pooled(self, weights: Array | None = None) -> CalibrationCounts:
        """Return (S, B) counts of resampled data sets.

        Args:
            weights: (S, images) multiplicity of each image in each resample; None: one row of ones.
        """
        if weights is None:
            return CalibrationCounts(*(getattr(self, f.name).sum(axis=0, keepdims=True) for f in fields(self)))
        return CalibrationCounts(*(weights @ getattr(self, f.name) for f in fields(self)))

    def __add__(self, other: CalibrationCounts) -> CalibrationCounts:
        assert self.pixels.shape == other.pixels.shape, "counts in the same bins"
        return CalibrationCounts(
            self.pixels + other.pixels, self.right + other.right, self.confidence + other.confidence
        )


def calibration_counts(
    probabilities: Probabilities,
    truth: LabelMap,
    *,
    bins: int = 15,
    category: int | None = None,
    where: str = "calibration",
) -> CalibrationCounts:
    """Count the pixels of one image.

    Args:
        probabilities: (C, H, W) float in 0..1.
        truth: (H, W) uint8 map of category positions with `IGNORE`; ignored pixels are not counted.
        bins: how many.
        category: None: the confidence is the highest probability, and right is that its category (the lowest of equal
            ones) is the true one (Guo 2017). A position: the confidence is its probability, and right is that it is
            the true one.
        where: the image's name, for error messages.

    Returns:
        Counts of `bins` bins, all 0 where every pixel is ignored. Probabilities are compared with the bins' edges in
        their own precision.

    Raises:
        DataError: shapes that don't fit, a truth that isn't uint8 or names no channel, or probabilities that aren't
            finite, outside of 0..1 or, without a `category`, don't sum to one.
        UsageError: no bin, or a category that isn't there.

    Example:
        >>> counts = calibration_counts(np.float32([[[0.9, 0.4]], [[0.1, 0.6]]]), np.uint8([[0, 0]]), bins=2)
        >>> counts.pixels.tolist(), counts.right.tolist()
        ([0, 2], [0, 1])
    """
    _check(probabilities, truth, bins, category, where)
    valid = truth != IGNORE
    true = truth[valid]
    if category is None:
        confidence, right = _highest(probabilities, truth, valid, where)
    else:
        confidence, right = probabilities[category][valid], true == category
        _check_range(confidence, confidence, where)
    _check_positions(true, len(probabilities), where)
    edges = (np.arange(1, bins) / bins).astype(confidence.dtype)
    places = np.searchsorted(edges, confidence, side="left")
    return CalibrationCounts(
        np.bincount(places, minlength=bins).astype(np.int64),
        np.bincount(places[right], minlength=bins).astype(np.int64),
        np.bincount(places, weights=confidence, minlength=bins).astype(np.float64),
    )


def expected_calibration_error(counts: CalibrationCounts) -> Scores:
    """ECE (Guo 2017, eq. 3): |share that is right - mean confidence| of each bin, weighted by its pixels.

    Returns:
        (...) float64 in 0..1, a 0-d array for one image; NaN without a pixel.
    """
    return ratio(np.abs(counts.right - counts.confidence).sum(axis=-1), counts.pixels.sum(axis=-1))


def maximum_calibration_error(counts: CalibrationCounts) -> Scores:
    """MCE (Guo 2017, eq. 5): the largest |share that is right - mean confidence| of all bins.

    Returns:
        (...) float64 in 0..1, a 0-d array for one image; NaN without a pixel.
    """
    gaps = np.abs(ratio(counts.right - counts.confidence, counts.pixels, empty=0.0))
    return np.where(counts.pixels.any(axis=-1), gaps.max(axis=-1), np.nan)


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


def _check(probabilities: Probabilities, truth: LabelMap, bins: int, category: int | None, where: str) -> None:
    if probabilities.ndim != 3 or probabilities.shape[1:] != truth.shape or truth.dtype != np.uint8:
        raise DataError(
            problem(
                "(C, H, W) probabilities and an (H, W) uint8 truth",
                f"{probabilities.shape} and {truth.dtype} {truth.shape}",
                where=where,
                next_move="scale the probabilities to the truth's size",
            )
        )
    if bins < 1 or (category is not None and not 0 <= category < len(probabilities)):
        raise UsageError(
            problem(
                f"at least one bin, and a position 0..{len(probabilities) - 1} or none",
                f"{bins} bins, category {category}",
                where=where,
                next_move="use 10 or 15 bins, and one of these positions",
            )
        )


def _highest(probabilities: Probabilities, truth: LabelMap, valid: Array, where: str) -> tuple[Array, Array]:
    """Return of each known pixel the highest probability, and whether its category is the true one.

    Channel by channel, so that nothing of the size of all channels is made.
    """
    highest, lowest = probabilities[0].copy(), probabilities[0].copy()
    total, winner = probabilities[0].astype(np.float64), np.zeros(truth.shape, np.uint8)
    for position in range(1, len(probabilities)):
        channel = probabilities[position]
        total += channel
        winner[channel > highest] = position
        np.maximum(highest, channel, out=highest)
        np.minimum(lowest, channel, out=lowest)
    _check_range(lowest[valid], highest[valid], where)
    _check_sums(total[valid], where)
    return highest[valid], (winner == truth)[valid]


def _check_range(lowest: Array, highest: Array, where: str) -> None:
    if lowest.size == 0 or (lowest.min() >= -1e-6 and highest.max() <= 1 + 1e-6):  # False for NaN
        return
    lost = int(np.isnan(highest).sum())
    low, high = (float(f(a)) if lost < a.size else np.nan for f, a in ((np.nanmin, lowest), (np.nanmax, highest)))
    raise DataError(
        problem(
            "probabilities in 0..1",
            f"{low:.6g}..{high:.6g}" + (f", and {lost} pixels with NaN" if lost else ""),
            where=where,
            next_move="give softmax outputs, one channel a category",
        )
    )


def _check_sums(sums: Array, where: str) -> None:
    wrong = int(np.count_nonzero(np.abs(sums - 1) > _ROUNDING))
    if not wrong:
        return
    raise DataError(
        problem(
            "probabilities that sum to one over the categories",
            f"{sums.min():.6g}..{sums.max():.6g}, {wrong} of {len(sums)} pixels apart from 1",
            where=where,
            next_move="give softmax outputs, or score one category at a time with `category`",
        )
    )


def _check_positions(true: Array, n: int, where: str) -> None:
    if true.size == 0 or int(true.max()) < n:
        return
    raise DataError(
        problem(
            f"positions 0..{n - 1} in the truth, one for each channel of probabilities",
            f"{int(true.max())}",
            where=where,
            next_move="give the probabilities of the truth's own categories",
        )
    )

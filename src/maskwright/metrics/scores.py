"""Scores of counts: per image and category, pooled over images, and the summaries that a bootstrap can resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from maskwright.metrics.overlap import Counts
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Array

Scores = npt.NDArray[np.float64]
Absent = Literal["zero", "skip"]

_NAN = float("nan")


@dataclass(frozen=True)
class EmptyCases:
    """What a score is where there is nothing to score.

    Attributes:
        empty: per image and category, where truth and prediction are empty: NaN (left out of means) or 1
            (challenge rules).
        absent: pooled, for a category with predictions but without truth: "zero", or "skip" for NaN, as
            cityscapesScripts leaves out classes without truth.
    """

    empty: float = _NAN
    absent: Absent = "zero"

    @classmethod
    def of(cls, spec: EvaluateSpec) -> EmptyCases:
        """Return the rules that a recipe states."""
        return cls(1.0 if spec.empty == "one" else _NAN, spec.absent)


LEFT_OUT = EmptyCases()
"""The default: what can't be scored is NaN and left out of means."""


class SummaryFunction(Protocol):
    """From the counts of images to one number for each row of image weights."""

    def __call__(
        self, counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
    ) -> Scores:
        """Return (S,) scores.

        Args:
            counts: (images, n).
            positions: the evaluated categories.
            weights: (S, images) multiplicity of each image in each resample; None: one row of ones.
            cases: the rules for empty images and absent categories.
        """
        ...


Function = TypeVar("Function")


@dataclass(frozen=True)
class Summary(Generic[Function]):
    """A number for a whole data set.

    Attributes:
        name: its key in `evaluation.json`.
        definition: what it is, in one sentence.
        function: computes it, a `SummaryFunction` from counts of pixels or a `PanopticFunction` from those of segments.
    """

    name: str
    definition: str
    function: Function


def dice(counts: Counts, *, empty: float = _NAN) -> Scores:
    """Dice coefficient 2 TP / (2 TP + FP + FN), elementwise.

    Args:
        counts: (..., n).
        empty: the score where truth and prediction are both empty.

    Returns:
        (..., n) float64 in 0..1; 0 where only one of truth and prediction is empty.

    Example:
        >>> dice(Counts(np.array([3, 0]), np.array([1, 0]), np.array([1, 0]))).tolist()
        [0.75, nan]
    """
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, empty=empty)


def iou(counts: Counts, *, empty: float = _NAN) -> Scores:
    """Intersection over union TP / (TP + FP + FN), elementwise.

    Args:
        counts: (..., n).
        empty: the score where truth and prediction are both empty.

    Returns:
        (..., n) float64 in 0..1; 0 where only one of truth and prediction is empty.
    """
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn, empty=empty)


def precision(counts: Counts, *, empty: float = _NAN) -> Scores:
    """Share of the predicted pixels that are right, TP / (TP + FP), elementwise.

    Args:
        counts: (..., n).
        empty: the score where truth and prediction are both empty.

    Returns:
        (..., n) float64 in 0..1; 0 where only one of truth and prediction is empty, so also without a prediction.
    """
    return _unless_both_empty(ratio(counts.tp, counts.tp + counts.fp, empty=0.0), counts, empty)


def recall(counts: Counts, *, empty: float = _NAN) -> Scores:
    """Share of the true pixels that are found, TP / (TP + FN), elementwise.

    Args:
        counts: (..., n).
        empty: the score where truth and prediction are both empty.

    Returns:
        (..., n) float64 in 0..1; 0 where only one of truth and prediction is empty, so also without truth.
    """
    return _unless_both_empty(ratio(counts.tp, counts.tp + counts.fn, empty=0.0), counts, empty)


def pooled_iou(counts: Counts, *, absent: Absent = "zero") -> Scores:
    """IoU of counts that were summed over images, as the Cityscapes benchmark defines it.

    Args:
        counts: (..., n), already summed.
        absent: a category with predictions but without truth: "zero" scores 0, "skip" NaN.

    Returns:
        (..., n) float64 in 0..1; NaN where the category is in no truth and no prediction.
    """
    return _unless_absent(iou(counts), counts, absent)


def pooled_dice(counts: Counts, *, absent: Absent = "zero") -> Scores:
    """Dice coefficient of counts that were summed over images.

    Args:
        counts: (..., n), already summed.
        absent: a category with predictions but without truth: "zero" scores 0, "skip" NaN.

    Returns:
        (..., n) float64 in 0..1; NaN where the category is in no truth and no prediction.
    """
    return _unless_absent(dice(counts), counts, absent)


def pooled_precision(counts: Counts, *, absent: Absent = "zero") -> Scores:
    """Precision of counts that were summed over images; see `pooled_iou`."""
    return _unless_absent(precision(counts), counts, absent)


def pooled_recall(counts: Counts, *, absent: Absent = "zero") -> Scores:
    """Recall of counts that were summed over images; see `pooled_iou`."""
    return _unless_absent(recall(counts), counts, absent)


def mean_over(values: Array, positions: Sequence[int], *, axis: int = -1) -> Scores:
    """Mean over the evaluated categories that have a value.

    Args:
        values: float array with categories along `axis`; NaN is left out.
        positions: the evaluated categories.
        axis: the axis of the categories.

    Returns:
        float64 without that axis (a 0-d array for one row); NaN, silently, where no value is left.
    """
    chosen = np.take(values, np.asarray(positions, np.intp), axis=axis)
    known = ~np.isnan(chosen)
    return ratio(np.where(known, chosen, 0.0).sum(axis=axis), known.sum(axis=axis))


def ratio(numerator: Array, denominator: Array, *, empty: float = _NAN) -> Scores:
    """Divide elementwise, with the value `empty` where the denominator is 0; float64 of the same shape."""
    quotient = np.full(np.shape(numerator), empty, np.float64)
    return np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)


def mean_dice(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Dice of each image and category, mean over categories, then mean over images; see `SummaryFunction`."""
    return image_mean(dice(counts, empty=cases.empty), positions, weights)


def mean_iou(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """IoU of each image and category, mean over categories, then mean over images; see `SummaryFunction`."""
    return image_mean(iou(counts, empty=cases.empty), positions, weights)


def mean_precision(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Precision of each image and category, mean over categories, then mean over images; see `SummaryFunction`."""
    return image_mean(precision(counts, empty=cases.empty), positions, weights)


def mean_recall(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Recall of each image and category, mean over categories, then mean over images; see `SummaryFunction`."""
    return image_mean(recall(counts, empty=cases.empty), positions, weights)


def pooled_miou(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """IoU of each category from the pixels of all images, mean over categories; see `SummaryFunction`."""
    return mean_over(pooled_iou(counts.pooled(weights), absent=cases.absent), positions)


def pooled_mdice(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Dice of each category from the pixels of all images, mean over categories; see `SummaryFunction`."""
    return mean_over(pooled_dice(counts.pooled(weights), absent=cases.absent), positions)


def pooled_mprecision(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Precision of each category from the pixels of all images, mean over categories; see `SummaryFunction`."""
    return mean_over(pooled_precision(counts.pooled(weights), absent=cases.absent), positions)


def pooled_mrecall(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Recall of each category from the pixels of all images, mean over categories; see `SummaryFunction`."""
    return mean_over(pooled_recall(counts.pooled(weights), absent=cases.absent), positions)


def pixel_accuracy(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Share of right pixels of all images and of all categories, left-out ones as well; see `SummaryFunction`."""
    pooled = counts.pooled(weights)
    return ratio(pooled.tp.sum(axis=-1), (pooled.tp + pooled.fn).sum(axis=-1))


def mean_pixel_accuracy(
    counts: Counts, positions: Sequence[int], weights: Array | None = None, cases: EmptyCases = LEFT_OUT
) -> Scores:
    """Share of right pixels of all categories in each image, mean over images; see `SummaryFunction`."""
    share = ratio(counts.tp.sum(axis=-1), (counts.tp + counts.fn).sum(axis=-1))
    return image_mean(share[:, None], [0], weights)


def keras_miou(
    counts: Counts, positions: Sequence[int], wrong_on_left_out: Array, weights: Array | None = None
) -> Scores:
    """Mean IoU of Keras' `MeanIoU(ignore_class=…)` where the left-out categories are the ignored classes.

    Pixels whose truth is a left-out category don't count at all, but the category itself stays in the mean: where it
    is predicted on any other pixel, its IoU there is 0. A category without truth and prediction is left out.

    Args:
        counts: (images, n).
        positions: the categories that aren't left out.
        wrong_on_left_out: (images, n) pixels among `counts.fp` whose truth is a left-out category.
        weights: as in `SummaryFunction`.

    Returns:
        (S,) scores.
    """
    kept = np.zeros(counts.tp.shape[-1], bool)
    kept[list(positions)] = True
    seen = Counts(counts.tp * kept, counts.fp - wrong_on_left_out, counts.fn * kept).pooled(weights)
    return mean_over(iou(seen), range(len(kept)))


def image_mean(scores: Scores, positions: Sequence[int], weights: Array | None) -> Scores:
    """Mean over the evaluated categories of each image, then over images; what is NaN is left out of both.

    Args:
        scores: (images, n) float64.
        positions: the evaluated categories.
        weights: (S, images) multiplicity of each image in each resample; None: one row of ones.

    Returns:
        (S,) float64.
    """
    of_images = mean_over(scores, positions)  # (images,)
    return weighted_mean(of_images[:, None], weights)[:, 0]


def weighted_mean(scores: Scores, weights: Array | None) -> Scores:
    """Mean of each column over the images that have a value.

    Args:
        scores: (images, k) float64.
        weights: as in `image_mean`.

    Returns:
        (S, k) float64; NaN where no image has a value.
    """
    rows = np.ones((1, len(scores))) if weights is None else weights
    known = ~np.isnan(scores)
    return ratio(rows @ np.where(known, scores, 0.0), rows @ known.astype(np.float64))


def _unless_both_empty(scores: Scores, counts: Counts, empty: float) -> Scores:
    return np.where(counts.tp + counts.fp + counts.fn == 0, empty, scores)


def _unless_absent(scores: Scores, counts: Counts, absent: Absent) -> Scores:
    return scores if absent == "zero" else np.where(counts.tp + counts.fn == 0, _NAN, scores)

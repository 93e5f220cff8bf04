"""Panoptic quality: segments matched, missed and wrong, counted per image and category; scores of what was summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.metrics.scores import Scores, mean_over, ratio
from maskwright.metrics.segments import Integers, SegmentOverlaps, Segments, listed
from maskwright.types import Array

Crowd = Literal["panopticapi", "all"]
Zero = Literal["void", "background"]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PanopticCounts:
    """What PQ is made of, for each category. Counts add up over images; scores don't.

    Attributes:
        iou: (..., n) float64 sum of the IoU of matched pairs.
        tp: (..., n) int64 matched pairs (float64 after weighting).
        fp: (..., n) int64 predicted segments without match that are not left out.
        fn: (..., n) int64 true segments without match.
        overlap_iou: (..., n) float64 sum of the IoU of all pairs of one category that share a pixel, however small:
            what PQ† takes for stuff.
    """

    iou: Array
    tp: Array
    fp: Array
    fn: Array
    overlap_iou: Array

    def __post_init__(self) -> None:
        assert len({getattr(self, f.name).shape for f in fields(self)}) == 1, "counts of one shape"

    @classmethod
    def stack(cls, items: Sequence[PanopticCounts]) -> PanopticCounts:
        """Join the (n,) counts of images into (images, n)."""
        return cls(*(np.stack([getattr(item, f.name) for item in items]) for f in fields(cls)))

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def pooled(self, weights: Array | None = None) -> PanopticCounts:
        """Return (S, n) counts of resampled data sets.

        Args:
            weights: (S, images) multiplicity of each image in each resample; None: one row of ones.
        """
        if weights is None:
            return PanopticCounts(*(getattr(self, f.name).sum(axis=0, keepdims=True) for f in fields(self)))
        return PanopticCounts(*(weights @ getattr(self, f.name) for f in fields(self)))


def panoptic_counts(
    overlaps: SegmentOverlaps,
    truth: Segments,
    prediction: Segments,
    n: int,
    *,
    crowd: Crowd = "panopticapi",
    zero: Zero = "void",
    where: str = "panoptic_counts",
) -> PanopticCounts:
    """Match the segments of one image as panopticapi `evaluation.py` and cityscapesScripts' `evalPanoptic…` do.

    A true segment that is no crowd and a predicted one of its category match where their IoU is above .5; void pixels
    of the truth are taken out of the union, void pixels of the prediction aren't. A predicted segment without match is
    left out where more than half of it is void or crowd of its own category. True segments that are listed but have
    no pixel are missed.

    Args:
        overlaps: of the image, from `segment_overlaps`.
        truth: the true segments.
        prediction: the predicted ones; each has pixels.
        n: number of categories.
        crowd: "panopticapi": of several crowds of a category in an image only the one listed last leaves predictions
            out, as the official tools have it; "all": each does, together.
        zero: what 0 means in the truth: "void" as in panoptic maps, or "background", as in instance maps, where a
            prediction on it is wrong. Pixels said to be void when the overlaps were counted are void in both.
        where: the image's name, for error messages.

    Returns:
        (n,) counts; all 0 where there is no segment.

    Raises:
        DataError: ids that aren't listed, predicted segments without pixels, or categories outside 0..n - 1.
    """
    of_truth = listed(overlaps.truth_ids, truth, n, side="truth", where=where)
    of_prediction = listed(overlaps.prediction_ids, prediction, n, side="prediction", where=where)
    _check_pixels(overlaps, prediction, where)
    true_category, category = truth.categories[of_truth], prediction.categories[of_prediction]
    void = overlaps.on_void + (overlaps.on_zero if zero == "void" else 0)

    same = true_category[overlaps.truth] == category[overlaps.prediction]
    pair = same & ~truth.crowd[of_truth][overlaps.truth]
    t, p, pixels = overlaps.truth[pair], overlaps.prediction[pair], overlaps.pixels[pair]
    iou = pixels / (overlaps.truth_area[t] + overlaps.prediction_area[p] - pixels - void[p])
    match = iou > 0.5
    found, right = np.zeros(len(truth), bool), np.zeros(len(category), bool)
    found[of_truth[t[match]]] = True
    right[p[match]] = True

    counted = _counted_crowds(truth, crowd)[of_truth][overlaps.truth] & same
    left_out = void.astype(np.int64)
    np.add.at(left_out, overlaps.prediction[counted], overlaps.pixels[counted])
    wrong = ~right & (2 * left_out <= overlaps.prediction_area)
    return PanopticCounts(
        iou=np.bincount(category[p[match]], iou[match], n).astype(np.float64),
        tp=_per_category(category[p[match]], n),
        fp=_per_category(category[wrong], n),
        fn=_per_category(truth.categories[~found & ~truth.crowd], n),
        overlap_iou=np.bincount(category[p], iou, n).astype(np.float64),
    )


def panoptic_quality(counts: PanopticCounts) -> Scores:
    """PQ, sum of the IoU of matches / (TP + FP / 2 + FN / 2) (Kirillov 2019, equation 1), elementwise.

    Returns:
        (..., n) float64 in 0..1; NaN where a category has neither TP, FP nor FN.
    """
    return ratio(counts.iou, counts.tp + 0.5 * counts.fp + 0.5 * counts.fn)


def segmentation_quality(counts: PanopticCounts) -> Scores:
    """SQ, the mean IoU of matches, elementwise.

    Returns:
        (..., n) float64, above .5 or 0 where nothing matches; NaN where a category has neither TP, FP nor FN.
    """
    return np.where(_absent(counts), np.nan, ratio(counts.iou, counts.tp, empty=0.0))


def recognition_quality(counts: PanopticCounts) -> Scores:
    """RQ, the F1 of segments: TP / (TP + FP / 2 + FN / 2), elementwise.

    Returns:
        (..., n) float64 in 0..1; NaN where a category has neither TP, FP nor FN.
    """
    return ratio(counts.tp, counts.tp + 0.5 * counts.fp + 0.5 * counts.fn)


def panoptic_quality_dagger(counts: PanopticCounts, things: Sequence[int]) -> Scores:
    """PQ† (Porzi 2019, section 4): for stuff the sum of IoU over the images that show it, without threshold.

    A stuff category: sum of the IoU of true and predicted segments that share a pixel / number of true segments.
    Predictions in images that do not show the category cost nothing. Things: PQ. The IoU is that of
    `panoptic_counts`, without void.

    Args:
        counts: (..., n).
        things: positions of the categories that are things.

    Returns:
        (..., n) float64 in 0..1; NaN for stuff without truth and for things without TP, FP and FN.
    """
    scores = ratio(counts.overlap_iou, counts.tp + counts.fn)
    chosen = np.asarray(things, np.intp)
    scores[..., chosen] = panoptic_quality(counts)[..., chosen]
    return scores


def precision_at_iou_50(counts: PanopticCounts) -> Scores:
    """Share of the predicted segments that match at IoU .5, TP / (TP + FP), elementwise.

    It has neither recall nor ranking: it is not AP, though it has been printed as "mAP". For instance maps count with
    `zero="background"`.

    Returns:
        (..., n) float64 in 0..1; 0 where there is truth but no prediction, NaN where there is neither.
    """
    return np.where(_absent(counts), np.nan, ratio(counts.tp, counts.tp + counts.fp, empty=0.0))


class PanopticFunction(Protocol):
    """From the counts of images to one number for each row of image weights."""

    def __call__(
        self, counts: PanopticCounts, positions: Sequence[int], things: Sequence[int], weights: Array | None = None
    ) -> Scores:
        """Return (S,) scores.

        Args:
            counts: (images, n).
            positions: the categories of the mean: all, the things or the stuff.
            things: which categories are things; only PQ† asks.
            weights: (S, images) multiplicity of each image in each resample; None: one row of ones.
        """
        ...


def mean_pq(
    counts: PanopticCounts, positions: Sequence[int], things: Sequence[int], weights: Array | None = None
) -> Scores:
    """PQ of the segments of all images, mean over the categories that have any; see `PanopticFunction`."""
    return mean_over(panoptic_quality(counts.pooled(weights)), positions)


def mean_sq(
    counts: PanopticCounts, positions: Sequence[int], things: Sequence[int], weights: Array | None = None
) -> Scores:
    """SQ of the segments of all images, mean over the categories that have any; see `PanopticFunction`."""
    return mean_over(segmentation_quality(counts.pooled(weights)), positions)


def mean_rq(
    counts: PanopticCounts, positions: Sequence[int], things: Sequence[int], weights: Array | None = None
) -> Scores:
    """RQ of the segments of all images, mean over the categories that have any; see `PanopticFunction`."""
    return mean_over(recognition_quality(counts.pooled(weights)), positions)


def mean_pq_dagger(
    counts: PanopticCounts, positions: Sequence[int], things: Sequence[int], weights: Array | None = None
) -> Scores:
    """PQ† of the segments of all images, mean over the categories that have any; see `PanopticFunction`."""
    return mean_over(panoptic_quality_dagger(counts.pooled(weights), things), positions)


def mean_precision_at_iou_50(
    counts: PanopticCounts, positions: Sequence[int], things: Sequence[int], weights: Array | None = None
) -> Scores:
    """Precision at IoU .5 of the segments of all images, mean over categories; see `PanopticFunction`."""
    return mean_over(precision_at_iou_50(counts.pooled(weights)), positions)


def _per_category(categories: Integers, n: int) -> Integers:
    return np.bincount(categories, minlength=n).astype(np.int64)


def _absent(counts: PanopticCounts) -> Flags:
    return np.asarray(counts.tp + counts.fp + counts.fn == 0)


def _counted_crowds(truth: Segments, crowd: Crowd) -> Flags:
    """Return (K,) bool: the crowds that leave predictions out."""
    if crowd == "all":
        return truth.crowd
    rows = np.flatnonzero(truth.crowd)
    last = dict(zip(truth.categories[rows].tolist(), rows.tolist(), strict=True))
    counted = np.zeros(len(truth), bool)
    counted[list(last.values())] = True
    return counted


def _check_pixels(overlaps: SegmentOverlaps, prediction: Segments, where: str) -> None:
    if len(overlaps.prediction_ids) == len(prediction):  # each of the ids in the map is listed
        return
    raise DataError(
        problem(
            "every predicted segment to have pixels",
            f"none for {np.setdiff1d(prediction.ids, overlaps.prediction_ids)[:10].tolist()}",
            where=where,
            next_move="list only segments that are in the map",
        )
    )

"""Which predicted instances are right at which IoU, by COCO's or Cityscapes' rules: small arrays of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.metrics.segments import Integers, SegmentOverlaps, Segments, listed
from maskwright.types import Array

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

COCO_IOUS: Floats = np.linspace(0.5, 0.95, 10)
"""Thresholds as pycocotools computes them."""
CITYSCAPES_IOUS: Floats = np.arange(0.5, 1.0, 0.05)
"""Thresholds as cityscapesScripts computes them."""
ANY_AREA = (0.0, 1e10)

_REACHED: Floats = np.minimum(COCO_IOUS, 1 - 1e-10)


@dataclass(frozen=True, eq=False)
class Detections:
    """Predicted instances with their verdicts, and how many true ones there are.

    Attributes:
        image: (D,) int64 position of the image.
        category: (D,) int64 category position.
        score: (D,) float64 confidence.
        matched: (D, t) bool: right at each IoU threshold.
        ignored: (D, t) bool: neither right nor wrong, on crowd, void or an instance of another size.
        truths: (images, n) int64 true instances that count.
    """

    image: Integers
    category: Integers
    score: Floats
    matched: Flags
    ignored: Flags
    truths: Integers

    @classmethod
    def join(cls, items: Sequence[Detections]) -> Detections:
        """Join the detections of images, in their order, which decides between equal scores."""
        starts = np.cumsum([0, *(len(item.truths) for item in items)])
        return cls(
            np.concatenate([item.image + start for item, start in zip(items, starts, strict=False)]),
            *(
                np.concatenate([getattr(item, name) for item in items])
                for name in ("category", "score", "matched", "ignored", "truths")
            ),
        )


def coco_detections(
    overlaps: SegmentOverlaps,
    truth: Segments,
    prediction: Segments,
    n: int,
    *,
    area: tuple[float, float] = ANY_AREA,
    max_detections: int | None = 100,
    where: str = "coco_detections",
) -> Detections:
    """Match the instances of one image as pycocotools `COCOeval.evaluateImg` does for masks.

    In the order of their scores, predictions take the free true instance of their category with the largest IoU that
    reaches the threshold, else a crowd or an instance outside the area range; there they are ignored, as are those
    without match that are themselves outside. The IoU with a crowd is the share of the prediction that is on it.

    Args:
        overlaps: of the image. 0 is background.
        truth: true instances.
        prediction: predicted instances with scores.
        n: number of categories.
        area: smallest and largest area in pixels of instances that count; COCO's small, medium and large are split at
            32² and 96².
        max_detections: of each category, the ones with the highest scores; None: all.
        where: the image's name, for error messages.

    Returns:
        The detections of one image, rising by category and falling by score.

    Raises:
        DataError: ids that are not listed, categories outside 0..n - 1, or a score that is NaN.
    """
    of_truth, of_prediction, (t, p, pixels) = _pairs(overlaps, truth, prediction, n, where)
    crowd = truth.crowd[of_truth]
    outside = crowd | (overlaps.truth_area < area[0]) | (overlaps.truth_area > area[1])
    own = overlaps.prediction_area
    iou = pixels / np.where(crowd[t], own[p], overlaps.truth_area[t] + own[p] - pixels)
    reach = iou >= COCO_IOUS[0]
    t, p, iou = t[reach], p[reach], iou[reach]

    category, score = prediction.categories[of_prediction], prediction.scores[of_prediction]
    kept = _best(category, score, of_prediction, max_detections)
    order = np.lexsort((of_truth[t], p))
    matched, ignored = _given((t[order], p[order], iou[order]), kept, len(own), crowd, outside)
    off = (own < area[0]) | (own > area[1])
    ignored |= off[:, None] & ~matched & ~ignored
    areas = np.zeros(len(truth))  # of what is listed, with pixels or without
    areas[of_truth] = overlaps.truth_area
    counted = truth.categories[~truth.crowd & (areas >= area[0]) & (areas <= area[1])]
    return _detections(kept, category, score, matched, ignored, np.bincount(counted, minlength=n))


def cityscapes_detections(
    overlaps: SegmentOverlaps,
    truth: Segments,
    prediction: Segments,
    n: int,
    *,
    smallest: int = 100,
    where: str = "cityscapes_detections",
) -> Detections:
    """Match the instances of one image as cityscapesScripts `evalInstanceLevelSemanticLabeling` does.

    A prediction is right where its IoU with a true instance of its category is above the threshold and no other such
    prediction has a higher score. One that reaches nothing is ignored where the share of its pixels on void, crowd and
    small instances of its category is above the same threshold (a small crowd counts twice there). One on a crowd
    above the threshold is ignored. Predictions without pixels don't exist.

    Args:
        overlaps: of the image, with its void pixels; true instances do not overlap. 0 is background.
        truth: true instances, groups as crowd.
        prediction: predicted instances with scores.
        n: number of categories.
        smallest: pixels below which a true instance does not count.
        where: the image's name, for error messages.

    Returns:
        The detections of one image, rising by category and falling by score.

    Raises:
        DataError: ids that are not listed, categories outside 0..n - 1, or a score that is NaN.
    """
    of_truth, of_prediction, (t, p, pixels) = _pairs(overlaps, truth, prediction, n, where)
    crowd, small = truth.crowd[of_truth], overlaps.truth_area < smallest
    own = overlaps.prediction_area
    category, score = prediction.categories[of_prediction], prediction.scores[of_prediction]
    iou = pixels / (overlaps.truth_area[t] + own[p] - pixels)
    unseen = overlaps.on_void.astype(np.float64)
    np.add.at(unseen, p, pixels * (crowd[t].astype(np.int64) + small[t]))
    share = np.divide(unseen, own, out=np.zeros(len(own)), where=own > 0)

    reach = iou[:, None] > CITYSCAPES_IOUS  # (pairs, t)
    matched, reached = np.zeros((2, len(own), len(CITYSCAPES_IOUS)), bool)
    np.logical_or.at(reached, p, reach)
    counts = ~(crowd | small)
    order = np.lexsort((-score[p], t))  # of each true instance the best score first
    for step in range(len(CITYSCAPES_IOUS)):
        above = order[reach[order, step] & counts[t[order]]]
        _, first = np.unique(t[above], return_index=True)
        matched[p[above[first]], step] = True
    # of predictions that reach something, those on a counted instance are wrong if not the best
    on_counted = np.zeros_like(reached)
    np.logical_or.at(on_counted, p, reach & counts[t][:, None])
    ignored = ~matched & np.where(reached, ~on_counted, share[:, None] > CITYSCAPES_IOUS)
    kept = _best(category, score, of_prediction, None)
    truths = np.bincount(truth.categories[of_truth[counts]], minlength=n)
    return _detections(kept[own[kept] > 0], category, score, matched, ignored, truths)


def _pairs(
    overlaps: SegmentOverlaps, truth: Segments, prediction: Segments, n: int, where: str
) -> tuple[Integers, Integers, tuple[Integers, Integers, Integers]]:
    """Return the listed row of each true and predicted id, and the pairs of one category."""
    if np.isnan(prediction.scores).any():
        raise DataError(
            problem(
                "a score for every predicted instance, by which AP ranks them",
                f"none for {int(np.isnan(prediction.scores).sum())} of {len(prediction)}",
                where=where,
                next_move="pass scores, or use PQ or precision_at_iou_50, which rank nothing",
            )
        )
    of_truth = listed(overlaps.truth_ids, truth, n, side="truth", where=where)
    of_prediction = listed(overlaps.prediction_ids, prediction, n, side="prediction", where=where)
    same = truth.categories[of_truth][overlaps.truth] == prediction.categories[of_prediction][overlaps.prediction]
    return of_truth, of_prediction, (overlaps.truth[same], overlaps.prediction[same], overlaps.pixels[same])


def _best(category: Integers, score: Floats, row: Integers, most: int | None) -> Integers:
    """Return the predictions by category and falling score, equal scores as listed; of each category the first."""
    order = np.lexsort((row, -score, category))
    starts = np.searchsorted(category[order], category[order])
    return order if most is None else order[np.arange(len(order)) - starts < most]


def _given(
    pairs: tuple[Integers, Integers, Floats], kept: Integers, count: int, crowd: Flags, outside: Flags
) -> tuple[Flags, Flags]:
    """Give the `kept` of `count` predictions, in their order, true instances; (count, t) bool each: right, ignored."""
    t, p, iou = pairs
    matched, ignored = np.zeros((2, count, len(COCO_IOUS)), bool)
    alone = (np.bincount(t)[t] == 1) & (np.bincount(p)[p] == 1)  # pairs that nothing else competes with
    reach = iou[alone, None] >= _REACHED
    matched[p[alone]] = reach & ~outside[t[alone], None]
    ignored[p[alone]] = reach & outside[t[alone], None]
    t, p, iou = t[~alone], p[~alone], iou[~alone]
    taken = np.zeros((len(COCO_IOUS), len(crowd)), bool)
    for one, start, end in zip(kept, np.searchsorted(p, kept), np.searchsorted(p, kept, side="right"), strict=True):
        if start < end:
            matched[one], ignored[one] = _take(t[start:end], iou[start:end], taken, crowd, outside)
    return matched, ignored


def _take(t: Integers, iou: Floats, taken: Flags, crowd: Flags, outside: Flags) -> tuple[Flags, Flags]:
    """Give one prediction its true instance at each threshold; marks it in `taken` (thresholds, T).

    Args:
        t: (c,) true instances that it reaches, as they are listed.
        iou: (c,) with them.
        taken: what earlier predictions took.
        crowd: (T,) can be taken again.
        outside: (T,) do not count.

    Returns:
        (thresholds,) bool each: right, ignored.
    """
    free = (iou >= _REACHED[:, None]) & (~taken[:, t] | crowd[t])  # (thresholds, c)
    regular = free & ~outside[t]
    allowed = np.where(regular.any(axis=1, keepdims=True), regular, free)
    last = len(t) - 1 - np.where(allowed, iou, -1.0)[:, ::-1].argmax(axis=1)  # of equal ones the last
    found = allowed.any(axis=1)
    taken[found, t[last[found]]] = True
    return found & ~outside[t[last]], found & outside[t[last]]


def _detections(
    kept: Integers, category: Integers, score: Floats, matched: Flags, ignored: Flags, truths: Array
) -> Detections:
    return Detections(
        image=np.zeros(len(kept), np.int64),
        category=category[kept],
        score=score[kept],
        matched=matched[kept],
        ignored=ignored[kept],
        truths=truths[None].astype(np.int64),
    )

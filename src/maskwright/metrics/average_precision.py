"""AP: the area under precision and recall of ranked instances, as COCO and as Cityscapes integrate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from maskwright.metrics.detections import Detections
from maskwright.metrics.scores import Absent, Scores, ratio
from maskwright.types import Array

Floats = npt.NDArray[np.float64]

_RECALLS: Floats = np.linspace(0.0, 1.0, 101)


def coco_ap(detections: Detections, *, weights: Array | None = None, absent: Absent = "zero") -> Scores:
    """AP as pycocotools `COCOeval.accumulate` has it: the envelope of precision, mean over 101 recalls.

    Args:
        detections: of all images, from `coco_detections`.
        weights: (S, images) multiplicity of each image in each resample; None: one row of ones. Equal scores of
            repeated images follow each other.
        absent: a category with wrong predictions but without truth: "zero" scores 0, "skip" NaN, as the official
            tools leave it out.

    Returns:
        (S, n, t) float64 in 0..1; NaN where a category has neither truth nor predictions that count.
    """
    return _each(detections, weights, absent, _coco_area)


def cityscapes_ap(detections: Detections, *, weights: Array | None = None, absent: Absent = "zero") -> Scores:
    """AP as cityscapesScripts `evaluateMatches` has it: step-wise integration with the middle of neighbouring recalls.

    Args:
        detections: of all images, from `cityscapes_detections`.
        weights: as in `coco_ap`.
        absent: as in `coco_ap`.

    Returns:
        (S, n, t) float64; NaN where a category has neither truth nor predictions that count.
    """
    return _each(detections, weights, absent, _cityscapes_area)


def mean_ap(ap: Scores, positions: Sequence[int]) -> Scores:
    """Mean over categories and thresholds of what is known.

    Args:
        ap: (S, n, t) as `coco_ap` or `cityscapes_ap` return it; of `ap[..., :1]` it is AP50.
        positions: the categories of the mean.

    Returns:
        (S,) float64; NaN where nothing is known.
    """
    chosen = ap[:, np.asarray(positions, np.intp)].reshape(len(ap), -1)
    known = ~np.isnan(chosen)
    return ratio(np.where(known, chosen, 0.0).sum(axis=1), known.sum(axis=1))


_Area = Callable[[Floats, Floats, Floats, Floats], float]
"""From scores (D,), weights of right and of wrong detections (D,) in falling order of score, and the truths."""


def _each(detections: Detections, weights: Array | None, absent: Absent, area: _Area) -> Scores:
    images, n = detections.truths.shape
    thresholds = detections.matched.shape[1]
    rows = np.ones((1, images)) if weights is None else np.asarray(weights, np.float64)
    truths = rows @ detections.truths  # (S, n)
    scores = np.full((len(rows), n, thresholds), np.nan)
    order = np.lexsort((-detections.score, detections.category))  # stable: equal scores in the order of the images
    bounds = np.searchsorted(detections.category[order], np.arange(n + 1))
    for category in range(n):
        chosen = order[bounds[category] : bounds[category + 1]]
        score, image = detections.score[chosen], detections.image[chosen]
        matched = detections.matched[chosen]
        wrong = ~matched & ~detections.ignored[chosen]
        for s, row in enumerate(rows):
            for t in range(thresholds):
                right_weight, wrong_weight = row[image] * matched[:, t], row[image] * wrong[:, t]
                if truths[s, category] > 0:
                    scores[s, category, t] = area(score, right_weight, wrong_weight, truths[s, category])
                elif absent == "zero" and wrong_weight.any():
                    scores[s, category, t] = 0.0
    return scores


def _coco_area(score: Floats, right: Floats, wrong: Floats, truths: Floats) -> float:
    tp, fp = np.cumsum(right), np.cumsum(wrong)
    precision = ratio(tp, tp + fp, empty=0.0)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(tp / truths, _RECALLS)].mean())


def _cityscapes_area(score: Floats, right: Floats, wrong: Floats, truths: Floats) -> float:
    counted = right + wrong > 0
    if not counted.any():
        return 0.0
    score, tp, fp = score[counted], np.cumsum(right[counted]), np.cumsum(wrong[counted])
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # of equal scores all at once
    recall = np.concatenate([[0.0, 0.0], tp[last] / truths, [tp[-1] / truths]])
    precision = np.concatenate([[1.0], ratio(tp[last], (tp + fp)[last])])
    return float(precision @ (recall[2:] - recall[:-2]) / 2)

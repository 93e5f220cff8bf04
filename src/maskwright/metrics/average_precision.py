"""AP: the area under precision and recall of ranked instances, as COCO and as Cityscapes integrate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from maskwright.metrics.detections import Detections
from maskwright.metrics.scores import Absent, Scores, ratio
from maskwright.metrics.segments import Integers
from maskwright.types import Array

Floats = npt.NDArray[np.float64]

_RECALLS: Floats = np.linspace(0.0, 1.0, 101)
_BLOCK = 1 << 20
"""Weights of detections at once: bounds memory for any number of resamples."""


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


_Area = Callable[[Floats, Floats, Floats, Floats], Floats]
"""From scores (D,), weights of right and of wrong detections (S, D) in falling order of score, and the truths (S,)."""


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
        for start in range(0, len(rows), block := max(1, _BLOCK // max(1, len(chosen)))):
            part = slice(start, start + block)
            own = rows[part][:, detections.image[chosen]]  # (S, D)
            scores[part, category] = _of_category(detections, chosen, own, truths[part, category], absent, area)
    return scores


def _of_category(
    detections: Detections, chosen: Integers, own: Floats, truths: Floats, absent: Absent, area: _Area
) -> Scores:
    """Return the (S, t) AP of one category's detections, in falling order of score, with their weights (S, D)."""
    score, matched = detections.score[chosen], detections.matched[chosen]
    wrong = ~matched & ~detections.ignored[chosen]
    known = truths > 0
    scores = np.full((len(own), matched.shape[1]), np.nan)
    for t in range(matched.shape[1]):
        scores[known, t] = area(score, own[known] * matched[:, t], own[known] * wrong[:, t], truths[known])
        if absent == "zero":
            scores[~known & (own * wrong[:, t]).any(axis=1), t] = 0.0
    return scores


def _coco_area(score: Floats, right: Floats, wrong: Floats, truths: Floats) -> Floats:
    tp, fp = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
    precision = ratio(tp, tp + fp, empty=0.0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((len(right), 1))], axis=1)
    recall = tp / truths[:, None]
    places = [np.searchsorted(row, _RECALLS) for row in recall]
    return np.array([row[place].mean() for row, place in zip(envelope, places, strict=True)])


def _cityscapes_area(score: Floats, right: Floats, wrong: Floats, truths: Floats) -> Floats:
    if not len(score):
        return np.zeros(len(right))
    # detections without weight repeat the point before them, which changes no area
    tp, fp = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # of equal scores all at once
    start, recall = np.zeros((len(right), 2)), tp / truths[:, None]
    recall = np.concatenate([start, recall[:, last], recall[:, -1:]], axis=1)
    precision = np.concatenate([start[:, :1] + 1, ratio(tp[:, last], (tp + fp)[:, last], empty=1.0)], axis=1)
    areas = (precision * (recall[:, 2:] - recall[:, :-2])).sum(axis=1) / 2
    return np.where((tp + fp)[:, -1] > 0, areas, 0.0)

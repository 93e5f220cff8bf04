"""Which pixels and images of a pool are relied on: thresholds, regions, and rankings of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.labels import components
from maskwright.metrics import overlap_table
from maskwright.recipe.selftrain import (
    AllPixelsSpec,
    ClassAdaptiveSpec,
    ClassShareSpec,
    ConfidentSpec,
    PixelSpec,
    RegionsSpec,
)
from maskwright.types import IGNORE, Array, LabelMap, Probabilities

_BINS = 4096
"""Of confidence from 0 to 1: twice as fine as float16 near 1."""

Floats = npt.NDArray[np.float64]


@dataclass
class PoolCounts:
    """What thresholds are computed from, added up image by image: memory doesn't grow with the pool.

    Attributes:
        confidences: (C, bins) pixels predicted to be of a category, by their confidence.
        mass: (C,) sum of the probabilities over all pixels.
        pixels: number of them.
    """

    confidences: npt.NDArray[np.int64]
    mass: Floats
    pixels: int = 0

    @classmethod
    def of(cls, categories: int) -> PoolCounts:
        """Return the counts of nothing."""
        return cls(np.zeros((categories, _BINS), np.int64), np.zeros(categories))

    def add(self, probabilities: Probabilities) -> None:
        """Count the (C, H, W) probabilities of an image."""
        label, confidence = probabilities.argmax(0), probabilities.max(0)
        bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
        self.confidences += np.bincount((label * _BINS + bins).ravel(), minlength=self.confidences.size).reshape(
            self.confidences.shape
        )
        self.mass += probabilities.sum(axis=(1, 2), dtype=np.float64)
        self.pixels += label.size


def class_thresholds(spec: PixelSpec, counts: PoolCounts) -> Floats:
    """Return the (C,) confidences from which on pixels of a category are kept, as far as the pool decides them.

    all: 0. threshold: its value. class_share: the confidence that the share of the category's pixels reaches, at most
    `enough`; NaN for a category that is never predicted. class_adaptive: upper · (1 − exp(−χ / beta)), which is
    multiplied by each image's largest confidence (`keep_pixels`).
    """
    categories = len(counts.mass)
    if isinstance(spec, AllPixelsSpec):
        return np.zeros(categories)
    if isinstance(spec, ConfidentSpec):
        return np.full(categories, spec.value)
    if isinstance(spec, ClassShareSpec):
        return np.array([_share_threshold(row, spec) for row in counts.confidences])
    prior = counts.mass / max(counts.pixels, 1)
    return np.asarray(spec.upper * (1 - np.exp(-prior / spec.beta)))


def _share_threshold(row: npt.NDArray[np.int64], spec: ClassShareSpec) -> float:
    total = int(row.sum())
    if total == 0:
        return math.nan
    from_above = np.cumsum(row[::-1])[::-1]  # pixels at least as sure as the lower end of each bin
    reached = np.flatnonzero(from_above >= spec.share * total)
    return min(float(reached[-1]) / _BINS, spec.enough)


def keep_pixels(spec: PixelSpec, thresholds: Floats, probabilities: Probabilities) -> tuple[LabelMap, Array, Floats]:
    """Return the label of an image with `IGNORE` where it isn't relied on.

    Args:
        spec: the recipe's section.
        thresholds: (C,), see `class_thresholds`.
        probabilities: (C, H, W).

    Returns:
        (H, W) uint8 label, (H, W) float32 confidence, and the (C,) thresholds of this image.
    """
    label, confidence = probabilities.argmax(0).astype(np.uint8), probabilities.max(0)
    if isinstance(spec, ClassAdaptiveSpec):
        surest = np.zeros(len(probabilities))
        np.maximum.at(surest, label.ravel(), confidence.ravel())
        thresholds = np.maximum(thresholds * surest, spec.floor)
        kept = confidence > thresholds[label]
    else:
        kept = confidence >= thresholds[label]
    return np.where(kept, label, np.uint8(IGNORE)), confidence, thresholds


def suspect_regions(label: LabelMap, confidence: Array, spec: RegionsSpec) -> npt.NDArray[np.bool_]:
    """Return which pixels lie in a connected region of one label that is too small, or unsure on average.

    Args:
        label: (H, W) uint8 categories; ignored pixels belong to no region.
        confidence: (H, W) probability of the label.
        spec: the recipe's section.
    """
    suspect = np.zeros(label.shape, bool)
    if not spec.confidence and not spec.pixels:
        return suspect
    for category in np.unique(label[label != IGNORE]).tolist():
        regions, count = components(label == category)
        area = np.bincount(regions.ravel(), minlength=count + 1)
        mean = np.bincount(regions.ravel(), confidence.ravel(), count + 1) / np.maximum(area, 1)
        wrong = (area < spec.pixels) | (mean < spec.confidence)
        wrong[0] = False
        suspect |= wrong[regions]
    return suspect


def agreement(labels: Sequence[LabelMap], last: LabelMap, categories: int) -> float:
    """Return the mean over label maps of their mean IoU with `last` (ST++, Yang et al. 2022).

    A category that neither of two maps holds is left out of their mean; 1.0 where both hold the same one alone.

    Example:
        >>> a, b = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
        >>> agreement([a, b], b, 3)  # of a: (1/2 + 0) / 2; of b: 1
        0.625
    """
    return float(np.mean([_mean_iou(label, last, categories) for label in labels]))


def _mean_iou(one: LabelMap, other: LabelMap, categories: int) -> float:
    table = overlap_table(other, one, categories)[:, :categories]
    hit = np.diag(table)
    union = table.sum(0) + table.sum(1) - hit
    return float((hit[union > 0] / union[union > 0]).mean())


def estimated_iou(probabilities: Probabilities) -> float:
    """Return the IoU of the most probable labels that the probabilities let expect, averaged over these labels.

    Of category c with its pixels P: the sum of p_c over P, divided by the size of P and the sum of p_c elsewhere. As
    good as the probabilities are calibrated.

    Example:
        >>> estimated_iou(np.array([[[0.75, 0.5]], [[0.25, 0.5]]]))  # all category 0: 1.25 of 2 pixels
        0.625
    """
    label = probabilities.argmax(0)
    expected = probabilities.sum(axis=(1, 2), dtype=np.float64)
    found = []
    for category in np.unique(label).tolist():
        here = label == category
        inside = float(probabilities[category][here].sum(dtype=np.float64))
        found.append(inside / (int(here.sum()) + expected[category] - inside))
    return float(np.mean(found))


def highest(scores: Mapping[str, float], share: float) -> list[str]:
    """Return the names with the highest scores, a share of them rounded down but at least one; ties by name."""
    order = sorted(scores, key=lambda name: (-scores[name], name))
    return order[: max(1, int(share * len(order) + 1e-9))] if order else []


def needs_pool(spec: PixelSpec) -> bool:
    """Return whether the thresholds depend on the whole pool."""
    return isinstance(spec, ClassShareSpec | ClassAdaptiveSpec)


def image_score(kind: str, probabilities: Probabilities, labels: Sequence[LabelMap]) -> float:
    """Return the score by which an image is ranked.

    Args:
        kind: of `selftrain.method.images`.
        probabilities: (C, H, W) that its label is made from.
        labels: what other networks, or earlier checkpoints, say.
    """
    if kind == "estimated_iou":
        return estimated_iou(probabilities)
    if kind == "all":
        return math.nan
    return agreement(labels, probabilities.argmax(0).astype(np.uint8), len(probabilities))

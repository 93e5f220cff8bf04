"""One image measured: its overlap table, and what else the families of the recipe ask for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from maskwright.metrics import (
    CalibrationCounts,
    Counts,
    Detections,
    EmptyCases,
    boundary_f,
    boundary_iou,
    calibration_counts,
    category_masks,
    dental_mix,
    dice,
    hausdorff,
    hd95,
    iou,
    overlap_table,
    surface_dice,
    surface_distances,
)
from maskwright.metrics.evidence import LEFT_OUT
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Array, Categories, LabelMap, Probabilities

_DISTANCES = ("hausdorff", "hd95")
_SHARES = ("boundary_iou", "boundary_f", "nsd")
_SMALLEST_TOLERANCE, _TOLERANCE, _WIDTH = 1.0, 0.0075, 0.02


@dataclass(frozen=True, eq=False)
class Measured:
    """What is known of one image once its pixels are gone.

    Attributes:
        table: (n, n + 1) overlap table.
        columns: name → (n,) of the families that were computed.
        calibration: where there are probabilities.
        detections: where there are instances with scores.
    """

    table: Array
    columns: dict[str, Array] = field(default_factory=dict)
    calibration: CalibrationCounts | None = None
    detections: Detections | None = None


def measure(
    truth: LabelMap,
    prediction: LabelMap,
    categories: Categories,
    spec: EvaluateSpec,
    *,
    probabilities: Probabilities | None = None,
    where: str,
) -> Measured:
    """Measure one image.

    Args:
        truth: (H, W) uint8 category positions with `IGNORE`.
        prediction: the same for the prediction.
        categories: what the positions are.
        spec: which families, and their definitions.
        probabilities: (n, H, W) that the prediction was made from, for calibration; None: none is measured.
        where: the image's name, for error messages.

    Raises:
        DataError: maps of other shapes or with other values, or probabilities that are none.
    """
    table = overlap_table(truth, prediction, len(categories), where=where)
    columns = columns_of(table, truth, prediction, categories, spec)
    bins = None
    if probabilities is not None and "calibration" in spec.families:
        bins = calibration_counts(probabilities, truth, bins=spec.bins, where=where)
    return Measured(table, columns, bins)


def columns_of(
    table: Array, truth: LabelMap, prediction: LabelMap, categories: Categories, spec: EvaluateSpec
) -> dict[str, Array]:
    """Return name → (n,) of the families that label maps allow, from their overlap table and their pixels."""
    columns = {}
    if "keras" in spec.families:
        columns[LEFT_OUT] = wrong_on_left_out(table, categories)
    if {"boundary", "dental"} & set(spec.families):
        found = boundary_columns(truth, prediction, Counts.from_table(table), categories, spec)
        columns |= {name: found[name] for name in (*_SHARES, *_DISTANCES)} if "boundary" in spec.families else {}
        columns |= {"dental_score": found["dental_score"]} if "dental" in spec.families else {}
    return columns


def wrong_on_left_out(table: Array, categories: Categories) -> Array:
    """Return (n,) pixels of each predicted category whose truth is another category, one that is left out of means."""
    n = len(categories)
    left = [p for p in range(n) if p not in categories.evaluated]
    wrong = table[left, :n].sum(axis=0)
    wrong[left] -= table[left, left]
    return np.asarray(wrong)


def boundary_columns(
    truth: LabelMap, prediction: LabelMap, counts: Counts, categories: Categories, spec: EvaluateSpec
) -> dict[str, Array]:
    """Return name → (n,) scores of the boundaries of the evaluated categories; NaN for the others.

    Masks are cut to the box that holds both, which changes no number: beyond it both are empty, as beyond the image.
    """
    empty = EmptyCases.of(spec).empty
    diagonal = float(np.hypot(*truth.shape))
    known = bool((counts.tp + counts.fn).any())
    columns = {name: np.full(len(categories), np.nan) for name in (*_SHARES, *_DISTANCES, "dental_score")}
    dices, ious = dice(counts, empty=empty), iou(counts, empty=empty)
    for p in categories.evaluated:
        true, found = counts.tp[p] + counts.fn[p] > 0, counts.tp[p] + counts.fp[p] > 0
        if true and found:
            row = _scores(truth, prediction, p, diagonal, spec)
        else:
            share, distance = (empty, 0.0 if known else np.nan) if true == found else (0.0, diagonal)
            row = dict.fromkeys(_SHARES, share) | dict.fromkeys(_DISTANCES, distance)
        row["dental_score"] = dental_mix(float(dices[p]), float(ious[p]), row["hausdorff"], diagonal)
        for name, value in row.items():
            columns[name][p] = value
    return columns


def _scores(
    truth: LabelMap, prediction: LabelMap, category: int, diagonal: float, spec: EvaluateSpec
) -> dict[str, float]:
    masks = category_masks(truth, prediction, category)
    left, top, width, height = cv2.boundingRect((masks[0] | masks[1]).view(np.uint8))
    one, two = (mask[top : top + height, left : left + width] for mask in masks)
    distances = replace(surface_distances(one, two), diagonal=diagonal)
    within = max(_SMALLEST_TOLERANCE, _TOLERANCE * diagonal) if spec.tolerance is None else spec.tolerance
    rim = max(1, round(_WIDTH * diagonal)) if spec.boundary_width is None else spec.boundary_width
    return {
        "boundary_iou": boundary_iou(one, two, width=rim),
        "boundary_f": boundary_f(distances, within),
        "nsd": surface_dice(distances, within),
        "hausdorff": hausdorff(distances),
        "hd95": hd95(distances),
    }

"""Numbers about label maps: count first (`overlap`), score second (`scores`). Counts add up over images, scores don't.

`SUMMARIES` is the one table of the numbers that describe a whole data set. Each entry computes S values for S rows of
image weights, so that a bootstrap resamples images with one matrix product.
"""

from __future__ import annotations

from maskwright.metrics.boundary import (
    SurfaceDistances,
    boundary_f,
    boundary_iou,
    category_masks,
    dental_score,
    hausdorff,
    hausdorff_percentile,
    hd95,
    surface_dice,
    surface_distances,
)
from maskwright.metrics.calibration import (
    CalibrationCounts,
    calibration_counts,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_table,
)
from maskwright.metrics.overlap import Counts, overlap_table
from maskwright.metrics.scores import (
    EmptyCases,
    Summary,
    SummaryFunction,
    dice,
    iou,
    mean_dice,
    mean_iou,
    mean_over,
    mean_precision,
    mean_recall,
    pooled_dice,
    pooled_iou,
    pooled_mdice,
    pooled_miou,
    precision,
    recall,
)

SUMMARIES: dict[str, Summary] = {
    "mean_dice": Summary(
        "mean_dice",
        "Dice of every evaluated category in each image, averaged over the categories that are in its truth or its "
        "prediction, then over images.",
        mean_dice,
    ),
    "mean_iou": Summary(
        "mean_iou",
        "IoU of every evaluated category in each image, averaged over the categories that are in its truth or its "
        "prediction, then over images.",
        mean_iou,
    ),
    "pooled_miou": Summary(
        "pooled_miou",
        "IoU of every evaluated category from the pixels of all images together, averaged over categories.",
        pooled_miou,
    ),
    "pooled_mdice": Summary(
        "pooled_mdice",
        "Dice of every evaluated category from the pixels of all images together, averaged over categories.",
        pooled_mdice,
    ),
    "mean_precision": Summary(
        "mean_precision",
        "Share of the predicted pixels of every evaluated category that are right in each image (0 where it is missed "
        "altogether), averaged over the categories that are in its truth or its prediction, then over images.",
        mean_precision,
    ),
    "mean_recall": Summary(
        "mean_recall",
        "Share of the true pixels of every evaluated category that are found in each image (0 where it is predicted "
        "without being there), averaged over the categories that are in its truth or its prediction, then over images.",
        mean_recall,
    ),
}
"""Every summary metric by its name."""

__all__ = [
    "SUMMARIES",
    "CalibrationCounts",
    "Counts",
    "EmptyCases",
    "Summary",
    "SummaryFunction",
    "SurfaceDistances",
    "boundary_f",
    "boundary_iou",
    "calibration_counts",
    "category_masks",
    "dental_score",
    "dice",
    "expected_calibration_error",
    "hausdorff",
    "hausdorff_percentile",
    "hd95",
    "iou",
    "maximum_calibration_error",
    "mean_over",
    "overlap_table",
    "pooled_dice",
    "pooled_iou",
    "precision",
    "recall",
    "reliability_table",
    "surface_dice",
    "surface_distances",
]

"""Numbers about label maps: count first (`overlap`), score second (`scores`). Counts add up over images, scores don't.

Numbers about segments come from one sparse table (`segments`): PQ (`panoptic`), AP (`detections`, `average_precision`)
and best Dice (`best_dice`).

`SUMMARIES` and `PANOPTIC_SUMMARIES` are the tables of the numbers that describe a whole data set. Each entry computes
S values for S rows of image weights, so that a bootstrap resamples images with one matrix product.
"""

from __future__ import annotations

from maskwright.metrics.average_precision import cityscapes_ap, coco_ap, mean_ap
from maskwright.metrics.best_dice import count_difference, symmetric_best_dice
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
from maskwright.metrics.detections import (
    ANY_AREA,
    CITYSCAPES_IOUS,
    COCO_IOUS,
    Detections,
    cityscapes_detections,
    coco_detections,
)
from maskwright.metrics.overlap import Counts, overlap_table
from maskwright.metrics.panoptic import (
    PanopticCounts,
    PanopticFunction,
    PanopticSummary,
    mean_pq,
    mean_pq_dagger,
    mean_precision_at_iou_50,
    mean_rq,
    mean_sq,
    panoptic_counts,
    panoptic_quality,
    panoptic_quality_dagger,
    precision_at_iou_50,
    recognition_quality,
    segmentation_quality,
)
from maskwright.metrics.panoptic_maps import panoptic_map
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
from maskwright.metrics.segments import SegmentOverlaps, Segments, mask_overlaps, segment_overlaps

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

PANOPTIC_SUMMARIES: dict[str, PanopticSummary] = {
    "pq": PanopticSummary(
        "pq",
        "Panoptic quality of every evaluated category from the segments of all images together, averaged over the "
        "categories that have any.",
        mean_pq,
    ),
    "sq": PanopticSummary(
        "sq",
        "Mean IoU of the matched segments of every evaluated category in all images together (0 where none is), "
        "averaged over the categories that have segments.",
        mean_sq,
    ),
    "rq": PanopticSummary(
        "rq",
        "F1 of the segments of every evaluated category in all images together, matched where the IoU is above .5, "
        "averaged over the categories that have segments.",
        mean_rq,
    ),
    "pq_dagger": PanopticSummary(
        "pq_dagger",
        "Panoptic quality with, for stuff, the IoU in the images that show the category instead of matches (Porzi "
        "2019), averaged over the categories that have segments.",
        mean_pq_dagger,
    ),
    "precision_at_iou_50": PanopticSummary(
        "precision_at_iou_50",
        "Share of the predicted segments of every evaluated category that match at IoU .5 in all images together, "
        "without recall or ranking (it is not AP), averaged over the categories that have segments.",
        mean_precision_at_iou_50,
    ),
}
"""Every summary metric of panoptic counts by its name."""

__all__ = [
    "ANY_AREA",
    "CITYSCAPES_IOUS",
    "COCO_IOUS",
    "PANOPTIC_SUMMARIES",
    "SUMMARIES",
    "CalibrationCounts",
    "Counts",
    "Detections",
    "EmptyCases",
    "PanopticCounts",
    "PanopticFunction",
    "PanopticSummary",
    "SegmentOverlaps",
    "Segments",
    "Summary",
    "SummaryFunction",
    "SurfaceDistances",
    "boundary_f",
    "boundary_iou",
    "calibration_counts",
    "category_masks",
    "cityscapes_ap",
    "cityscapes_detections",
    "coco_ap",
    "coco_detections",
    "count_difference",
    "dental_score",
    "dice",
    "expected_calibration_error",
    "hausdorff",
    "hausdorff_percentile",
    "hd95",
    "iou",
    "mask_overlaps",
    "maximum_calibration_error",
    "mean_ap",
    "mean_over",
    "overlap_table",
    "panoptic_counts",
    "panoptic_map",
    "panoptic_quality",
    "panoptic_quality_dagger",
    "pooled_dice",
    "pooled_iou",
    "precision",
    "precision_at_iou_50",
    "recall",
    "recognition_quality",
    "reliability_table",
    "segment_overlaps",
    "segmentation_quality",
    "surface_dice",
    "surface_distances",
    "symmetric_best_dice",
]

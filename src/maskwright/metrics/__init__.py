"""Numbers about label maps: count first (`overlap`), score second (`scores`). Counts add up over images, scores don't.

Numbers about segments come from one sparse table (`segments`): PQ (`panoptic`), AP (`detections`, `average_precision`)
and best Dice (`best_dice`).

`SUMMARIES`, `PANOPTIC_SUMMARIES` and `MEASURES` are the tables of the numbers that describe a whole data set. Each
computes S values for S rows of image weights, so that a bootstrap resamples images with one matrix product; `figures`
gives all that the `Evidence` of some images allows.
"""

from __future__ import annotations

from maskwright.metrics.average_precision import cityscapes_ap, coco_ap, mean_ap
from maskwright.metrics.best_dice import count_difference, symmetric_best_dice
from maskwright.metrics.boundary import (
    SurfaceDistances,
    boundary_f,
    boundary_iou,
    category_masks,
    dental_mix,
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
from maskwright.metrics.evidence import Evidence
from maskwright.metrics.figures import Figures, figures
from maskwright.metrics.overlap import Counts, overlap_table
from maskwright.metrics.panoptic import (
    PanopticCounts,
    PanopticFunction,
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
    keras_miou,
    mean_over,
    pooled_dice,
    pooled_iou,
    precision,
    recall,
)
from maskwright.metrics.segments import SegmentOverlaps, Segments, mask_overlaps, segment_overlaps
from maskwright.metrics.summaries import MEASURES, PANOPTIC_SUMMARIES, SUMMARIES, Measure

__all__ = [
    "ANY_AREA",
    "CITYSCAPES_IOUS",
    "COCO_IOUS",
    "MEASURES",
    "PANOPTIC_SUMMARIES",
    "SUMMARIES",
    "CalibrationCounts",
    "Counts",
    "Detections",
    "EmptyCases",
    "Evidence",
    "Figures",
    "Measure",
    "PanopticCounts",
    "PanopticFunction",
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
    "dental_mix",
    "dental_score",
    "dice",
    "expected_calibration_error",
    "figures",
    "hausdorff",
    "hausdorff_percentile",
    "hd95",
    "iou",
    "keras_miou",
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

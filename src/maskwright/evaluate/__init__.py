"""Evaluation: predictions against truth, from one overlap table an image to scores with intervals."""

from maskwright.evaluate.folders import Evaluation, evaluate_folders
from maskwright.evaluate.paired import counts_and_groups, evidence_of, statistic_of, statistics_of
from maskwright.evaluate.scores import (
    CALIBRATION_SCHEMA,
    PER_IMAGE_SCHEMA,
    Overlaps,
    calibration_table,
    gains,
    per_image_table,
    summarise,
    summarise_by,
)

__all__ = [
    "CALIBRATION_SCHEMA",
    "PER_IMAGE_SCHEMA",
    "Evaluation",
    "Overlaps",
    "calibration_table",
    "counts_and_groups",
    "evaluate_folders",
    "evidence_of",
    "gains",
    "per_image_table",
    "statistic_of",
    "statistics_of",
    "summarise",
    "summarise_by",
]

"""Evaluation: predictions against truth, from one overlap table an image to scores with intervals."""

from maskwright.evaluate.folders import Evaluation, evaluate_folders
from maskwright.evaluate.paired import counts_and_groups, statistic_of
from maskwright.evaluate.scores import PER_IMAGE_SCHEMA, Overlaps, per_image_table, summarise, summarise_by

__all__ = [
    "PER_IMAGE_SCHEMA",
    "Evaluation",
    "Overlaps",
    "counts_and_groups",
    "evaluate_folders",
    "per_image_table",
    "statistic_of",
    "summarise",
    "summarise_by",
]

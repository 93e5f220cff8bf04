"""Rounds of learning from images without labels: what is kept of what networks say of them, and whether it pays."""

from maskwright.selftrain.adopt import Gain, weigh
from maskwright.selftrain.hard import hard_table, kept_apart
from maskwright.selftrain.ledger import LEDGER_SCHEMA, PrecisionTable, ledger_rows
from maskwright.selftrain.pool import blocked_images, pool_images, relatives
from maskwright.selftrain.selection import (
    PoolCounts,
    agreement,
    class_thresholds,
    estimated_iou,
    highest,
    keep_pixels,
    suspect_regions,
)
from maskwright.selftrain.track_record import said_of_choices
from maskwright.selftrain.training import image_weights, scaled_steps, split_steps, training_index

__all__ = [
    "LEDGER_SCHEMA",
    "Gain",
    "PoolCounts",
    "PrecisionTable",
    "agreement",
    "blocked_images",
    "class_thresholds",
    "estimated_iou",
    "hard_table",
    "highest",
    "image_weights",
    "keep_pixels",
    "kept_apart",
    "ledger_rows",
    "pool_images",
    "relatives",
    "said_of_choices",
    "scaled_steps",
    "split_steps",
    "suspect_regions",
    "training_index",
    "weigh",
]

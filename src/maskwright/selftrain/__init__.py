"""Rounds of learning from images without labels: what is kept of what networks say of them, and whether it pays."""

from maskwright.selftrain.adopt import Gain, weigh
from maskwright.selftrain.ledger import LEDGER_SCHEMA, PrecisionTable, ledger_rows
from maskwright.selftrain.pool import blocked_images, pool_images
from maskwright.selftrain.selection import (
    PoolCounts,
    agreement,
    class_thresholds,
    estimated_iou,
    keep_pixels,
    most_reliable,
    suspect_regions,
)
from maskwright.selftrain.training import image_weights, split_steps, training_index

__all__ = [
    "LEDGER_SCHEMA",
    "Gain",
    "PoolCounts",
    "PrecisionTable",
    "agreement",
    "blocked_images",
    "class_thresholds",
    "estimated_iou",
    "image_weights",
    "keep_pixels",
    "ledger_rows",
    "most_reliable",
    "pool_images",
    "split_steps",
    "suspect_regions",
    "training_index",
    "weigh",
]

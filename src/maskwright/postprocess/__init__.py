"""What is done to predictions after the network: thresholds, small components, holes. Plain functions on arrays."""

from __future__ import annotations

from maskwright.postprocess.areas import enclosed, fill_holes, minimum_area, remove_small
from maskwright.postprocess.chain import Image, apply_chain, apply_probability_steps, apply_steps
from maskwright.postprocess.crf import crf
from maskwright.postprocess.instances import erode_then_dilate, fill_instances, remove_small_parts
from maskwright.postprocess.morphology import closing, largest_component, opening
from maskwright.postprocess.reach import reach
from maskwright.postprocess.smoothing import majority, smooth_box, smooth_gaussian
from maskwright.postprocess.staged import select, staged
from maskwright.postprocess.thresholds import favour, most_probable, threshold
from maskwright.postprocess.watershed import cut_touching, split_touching

__all__ = [
    "Image",
    "apply_chain",
    "apply_probability_steps",
    "apply_steps",
    "closing",
    "crf",
    "cut_touching",
    "enclosed",
    "erode_then_dilate",
    "favour",
    "fill_holes",
    "fill_instances",
    "largest_component",
    "majority",
    "minimum_area",
    "most_probable",
    "opening",
    "reach",
    "remove_small",
    "remove_small_parts",
    "select",
    "smooth_box",
    "smooth_gaussian",
    "split_touching",
    "staged",
    "threshold",
]

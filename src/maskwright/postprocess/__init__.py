"""What is done to predictions after the network: thresholds, small components, holes. Plain functions on arrays."""

from __future__ import annotations

from maskwright.postprocess.areas import enclosed, fill_holes, minimum_area, remove_small
from maskwright.postprocess.chain import apply_chain, apply_probability_steps, apply_steps
from maskwright.postprocess.crf import crf
from maskwright.postprocess.morphology import closing, largest_component, opening
from maskwright.postprocess.smoothing import majority, smooth_box, smooth_gaussian
from maskwright.postprocess.staged import select, staged
from maskwright.postprocess.thresholds import most_probable, threshold
from maskwright.postprocess.watershed import cut_touching, split_touching

__all__ = [
    "apply_chain",
    "apply_probability_steps",
    "apply_steps",
    "closing",
    "crf",
    "cut_touching",
    "enclosed",
    "fill_holes",
    "largest_component",
    "majority",
    "minimum_area",
    "most_probable",
    "opening",
    "remove_small",
    "select",
    "smooth_box",
    "smooth_gaussian",
    "split_touching",
    "staged",
    "threshold",
]

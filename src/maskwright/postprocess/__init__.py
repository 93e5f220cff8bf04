"""What is done to predictions after the network: thresholds, small components, holes. Plain functions on arrays."""

from __future__ import annotations

from maskwright.postprocess.areas import fill_holes, minimum_area, remove_small
from maskwright.postprocess.chain import apply_chain, apply_steps
from maskwright.postprocess.thresholds import most_probable, threshold

__all__ = ["apply_chain", "apply_steps", "fill_holes", "minimum_area", "most_probable", "remove_small", "threshold"]

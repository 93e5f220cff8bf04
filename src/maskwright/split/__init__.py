"""Folds that keep groups whole and their contents alike, a held-out part, subsets, and a certificate of all that."""

from maskwright.split.certificate import certify
from maskwright.split.cut import Split, split_images
from maskwright.split.features import measure
from maskwright.split.groups import HELD_OUT, POOL, TRAINING, Stated, join_groups

__all__ = ["HELD_OUT", "POOL", "TRAINING", "Split", "Stated", "certify", "join_groups", "measure", "split_images"]

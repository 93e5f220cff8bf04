"""One map of what is where and which one: instances merged into a semantic map, votes between the two, files."""

from maskwright.panoptic.files import cityscapes_ids, write_cityscapes, write_coco_panoptic
from maskwright.panoptic.map import PanopticMap
from maskwright.panoptic.merge import merge
from maskwright.panoptic.votes import Votes, count_votes, vote_labels

__all__ = [
    "PanopticMap",
    "Votes",
    "cityscapes_ids",
    "count_votes",
    "merge",
    "vote_labels",
    "write_cityscapes",
    "write_coco_panoptic",
]

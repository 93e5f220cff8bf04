"""How instances and a semantic map become one panoptic map."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskwright.recipe.spec import Spec


class MergeSpec(Spec):
    """Rule C of the panoptic literature (Panoptic-DeepLab, EDAPS) unless changed; `RULE_A` is panopticapi's."""

    score_threshold: float = Field(0.5, ge=0, le=1)
    """Instances with a lower score are dropped; those without a score stay."""
    overlap: float = Field(0.5, ge=0, le=1)
    """An instance is dropped if more than this share of it is in instances that were taken before it."""
    within: Literal["mask", "things"] = "things"
    """Pixels that an instance takes: all of its mask, or those that the semantic map calls a thing."""
    class_from: Literal["vote", "instance"] = "vote"
    """Category of an instance: the thing that most of its pixels have in the semantic map, or the one it came with."""
    stuff_min_area: float = Field(2048 / (1024 * 2048), ge=0, le=1)
    """Smallest area of a category of stuff, as a share of the image; smaller ones are void."""
    thing_min_area: float = Field(0.0, ge=0, le=1)
    """Smallest area of an instance that is left to it, as a share of the image."""
    thing_leftover: Literal["void", "nearest", "components"] = "void"
    """Pixels of things that no instance took: void, the nearest instance of that category, or instances of their own,
    one for each connected component."""


RULE_A = MergeSpec(within="mask", class_from="instance", stuff_min_area=64 * 64 / (480 * 640))
"""panopticapi `combine_semantic_and_instance_predictions.py`; its 4096 pixels are meant for images of 480 × 640."""

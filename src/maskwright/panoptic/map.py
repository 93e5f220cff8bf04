"""The value: which segment each pixel is of, and what the segments are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.labels import InstanceMap
from maskwright.metrics.segments import Segments
from maskwright.types import IGNORE, LabelMap


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """A panoptic map as `metrics.panoptic_counts` compares them.

    Attributes:
        ids: (H, W) int32; 0 is void, which no segment has.
        segments: ids 1..K, each with pixels; categories are positions; scores are NaN where there is none.
    """

    ids: InstanceMap
    segments: Segments

    def __post_init__(self) -> None:
        assert self.ids.dtype == np.int32 and self.ids.ndim == 2, "(H, W) int32 ids"
        count = len(self.segments)
        assert np.array_equal(self.segments.ids, np.arange(1, count + 1)), "ids from 1 on, without gaps"
        areas = np.bincount(self.ids.ravel(), minlength=count + 1)
        assert len(areas) == count + 1 and areas[1:].all(), "every id of the map listed, and no other"
        assert not count or 0 <= self.segments.categories.min() <= self.segments.categories.max() < IGNORE, "positions"

    @property
    def label(self) -> LabelMap:
        """(H, W) uint8 category positions, `IGNORE` where void."""
        table = np.append(IGNORE, self.segments.categories).astype(np.uint8)
        return table[self.ids]

    def instances(self, things: Sequence[int]) -> InstanceMap:
        """Return the (H, W) int32 ids of the segments whose category is one of `things`; 0 elsewhere."""
        counted = np.append(False, np.isin(self.segments.categories, list(things)))
        return np.where(counted[self.ids], self.ids, np.int32(0))

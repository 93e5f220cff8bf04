"""What all scores of a set of images are made of: small numbers of each image that a bootstrap can weigh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from maskwright.metrics.calibration import CalibrationCounts
from maskwright.metrics.detections import Detections
from maskwright.metrics.overlap import Counts
from maskwright.metrics.panoptic import PanopticCounts
from maskwright.types import Array

PIXELS = ("tp", "fp", "fn")
LEFT_OUT = "fp_left_out"
"""Column of the false positives whose truth is a category that is left out of means: what Keras' mean IoU drops."""
SEGMENTS = tuple(f"segments_{field.name}" for field in fields(PanopticCounts))
"""Columns of panoptic counts."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Numbers of images and categories, from which every score follows.

    Attributes:
        columns: name → (images, n); `tp`, `fp` and `fn` always, others where their family was computed.
        calibration: (images, bins) each, or None.
        detections: of instances, their images by position, or None.
    """

    columns: Mapping[str, Array]
    calibration: CalibrationCounts | None = None
    detections: Detections | None = None

    def __post_init__(self) -> None:
        assert set(PIXELS) <= self.columns.keys(), "pixels are counted"
        assert len({column.shape for column in self.columns.values()}) == 1, "columns of one shape"

    @property
    def counts(self) -> Counts:
        """Counts of pixels, (images, n)."""
        return Counts(*(self.columns[name] for name in PIXELS))

    @property
    def segments(self) -> PanopticCounts | None:
        """Counts of segments, (images, n), or None."""
        return PanopticCounts(*(self.columns[name] for name in SEGMENTS)) if SEGMENTS[0] in self.columns else None

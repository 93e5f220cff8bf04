"""Where masks are doubted: how much of a border is an annotator's tolerance, and how much is kept."""

from __future__ import annotations

from pydantic import Field

from maskwright.recipe.spec import Spec


class SuspectSpec(Spec):
    """Masks against out-of-fold predictions (only with two folds or more)."""

    tolerance: float = Field(0.005, ge=0, le=0.1)
    """Distance from a border of the mask at which a disagreement counts in full, as a share of the image's diagonal;
    nearer ones count less, down to nothing on the border itself."""
    minimum_area: float = Field(0.0001, ge=0, le=1)
    """Smallest region, as a share of the image's pixels."""
    largest_shift: float = Field(0.1, ge=0, le=0.5)
    """How far a mask may be displaced against its image, as a share of each side; 0: not looked for."""
    shift_gain: float = Field(0.2, gt=0, lt=1)
    """Share of the mask's log loss that moving it, by more than twice the tolerance, must take away for it to be called
    shifted."""
    regions: int = Field(20, ge=1)
    """Regions kept of one image, the highest scores first."""
    listed: int = Field(50, ge=0)
    """Regions that become findings, of all images together; suspects.parquet has all that are kept."""

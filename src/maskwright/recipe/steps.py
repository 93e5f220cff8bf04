"""The steps of post-processing that a chain can hold beside thresholds, minimum areas and holes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from maskwright.recipe.spec import Spec

Edges = Literal["none", "each", "first"]
"""Which edges of the image close a hole: none; each one that the foreground touches; the first of left, right, top and
bottom that it touches."""


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"an odd number of pixels is expected, so that a window has a middle; {size} is even")
    return size


Window = Annotated[int, Field(ge=1), AfterValidator(_odd)]


class SmoothSpec(Spec):
    """Probabilities averaged over their surroundings; before any other step but a CRF."""

    kind: Literal["smooth"] = "smooth"
    weights: Literal["gaussian", "box"] = "gaussian"
    """gaussian: falling with the distance; box: all of the window alike."""
    sigma: float = Field(1.0, gt=0, le=100)
    """Standard deviation of the Gaussian in pixels; its window ends at 4 of them."""
    size: Window = 3
    """Side of the box in pixels."""


class CrfSpec(Spec):
    """Pixels that are near and of like colour agree on a category: a fully connected CRF; before any other step but
    smoothing. It reads the image."""

    kind: Literal["crf"] = "crf"
    iterations: int = Field(5, ge=1, le=100)
    """Rounds of mean field."""
    gaussian_weight: float = Field(3.0, ge=0)
    """Of the kernel of places alone, which removes specks."""
    gaussian_sigma: float = Field(3.0, ge=0.1)
    """Its standard deviation in pixels of the image."""
    bilateral_weight: float = Field(10.0, ge=0)
    """Of the kernel of places and colours, which moves borders to edges of the image."""
    bilateral_sigma: float = Field(80.0, ge=0.1)
    """Its standard deviation in pixels of an image whose shorter side is `reference`."""
    reference: int | None = Field(500, ge=1)
    """Shorter side in pixels that `bilateral_sigma` is stated for; null: pixels of the image itself."""
    color_sigma: float = Field(13.0, ge=0.1)
    """Standard deviation of each channel, in 8-bit levels; deeper images are stretched to 0..255 first."""
    exact_pixels: int = Field(8192, ge=0, le=20_000)
    """Images with at most so many pixels get exact sums, in 4 bytes for each pair of pixels (8192: 268 MB, a second);
    larger ones are filtered on a lattice, which is near. 0: the lattice for all."""


class OfForeground(Spec):
    """What decides which pixels are foreground."""

    category: int | None = Field(None, ge=0)
    """Position of the category that it decides on; null: the foreground of a task of two. Several categories may have
    a step each; what none of them takes goes to the most probable of the other categories."""


class StageSpec(Spec):
    """Four thresholds: which components of likely pixels are kept, and which of their pixels."""

    drop: float = Field(..., ge=0, lt=1)
    """Pixels below are in no component."""
    high: float = Field(..., ge=0, lt=1)
    """A component is kept only if a probability in it is above."""
    lower: float = Field(..., ge=0, lt=1)
    """In a component that is kept, pixels above are foreground."""
    ratio: float = Field(0.0, ge=0, le=1)
    """A component is kept only if at least this share of it is above 0.9 × high."""


class SelectSpec(OfForeground, StageSpec):
    """Foreground by drop, high and lower thresholds on 8-connected components."""

    kind: Literal["select"] = "select"


class StagedSpec(OfForeground):
    """Select, close, fill and drop small areas, and loosen the thresholds while little is found."""

    kind: Literal["staged"] = "staged"
    stages: tuple[StageSpec, ...] = Field(
        (
            StageSpec(drop=0.10, high=0.35, lower=0.25, ratio=0.40),
            StageSpec(drop=0.10, high=0.30, lower=0.10, ratio=0.20),
            StageSpec(drop=0.05, high=0.20, lower=0.05, ratio=0.20),
            StageSpec(drop=0.01, high=0.10, lower=0.01, ratio=0.20),
        ),
        min_length=1,
    )
    """Thresholds, the strictest first."""
    closing: Window = 9
    """Side of the square in pixels; 1: no closing."""
    edges: Edges = "each"
    """Edges of the image that close a hole: each one touched (the report), the first one touched (its code), none."""
    pixels: int = Field(250, ge=1)
    """8-connected areas with fewer pixels are dropped: 250 in the report, 150 in its code."""
    order: Literal["fill_first", "drop_first"] = "fill_first"
    """Holes filled before small areas are dropped (the code), or after (the report)."""
    enough: int = Field(1000, ge=0)
    """The next stage is tried while there are fewer foreground pixels."""
    most: float = Field(0.5, gt=0, le=1)
    """Nothing is foreground if the first stage selects more than this share of the image."""


class MajoritySpec(Spec):
    """Each pixel takes the most frequent label of the window around it."""

    kind: Literal["majority"] = "majority"
    size: Window = 3
    """Side of the window in pixels."""


class OfCategory(Spec):
    """What is done to one category, or to all but the background."""

    category: int | None = Field(None, ge=0)
    """Position of the category; null: every one but position 0, in order."""


class ClosingSpec(OfCategory):
    """Gaps that a square does not fit into are filled."""

    kind: Literal["closing"] = "closing"
    size: Window = 9
    """Side of the square in pixels."""


class OpeningSpec(OfCategory):
    """Parts that a square does not fit into become background."""

    kind: Literal["opening"] = "opening"
    size: Window = 3
    """Side of the square in pixels."""


class LargestSpec(OfCategory):
    """Only the largest 8-connected component stays; the others become background."""

    kind: Literal["largest"] = "largest"


class SplitSpec(OfCategory):
    """Touching objects are cut apart: a watershed on the distance to their border; the cuts become background."""

    kind: Literal["split"] = "split"
    distance: int = Field(10, ge=1)
    """Middles of objects are at least this far apart, in pixels along rows or columns."""

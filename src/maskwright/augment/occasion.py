"""What the draws of one view know: the crop, the time, the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from maskwright.augment.stain import StainFit
from maskwright.recipe.chance import Chance, chance_at
from maskwright.types import LabelMap


@dataclass(frozen=True)
class Source:
    """What is known of the whole image that a view is drawn of, besides its size.

    Attributes:
        label: (H, W) category positions, None if there are none.
        names: of the categories, by position.
        stain: returns the stains fitted to the whole image, None if it shows too little stain; called only if needed.
        centre: (y, x) of the pixel that the crop is moved over; None: it lies where it is drawn.
    """

    label: LabelMap | None = None
    names: Sequence[str] = ()
    stain: Callable[[], StainFit | None] = lambda: None
    centre: tuple[int, int] | None = None


@dataclass(frozen=True)
class Occasion:
    """What a step is drawn for.

    Attributes:
        crop: (h, w) of the view.
        channels: of the image.
        progress: of the training, from 0 to 1.
        source: the whole image.
    """

    crop: tuple[int, int]
    channels: int
    progress: float = 0.0
    source: Source = field(default_factory=Source)

    def happens(self, chance: Chance, rng: np.random.Generator) -> bool:
        """Draw whether something of a chance happens now."""
        return bool(rng.random() < chance_at(chance, self.progress))

"""A view of an image: everything that is drawn for it at once, then applied to image and label alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.augment.colour import Colour, draw_colour
from maskwright.augment.geometry import Geometry, draw_geometry
from maskwright.recipe.augment import AugmentSpec
from maskwright.types import Array, LabelMap


@dataclass(frozen=True)
class View:
    """What was drawn for one image.

    Attributes:
        geometry: crop, flips and affine changes in one.
        colour: of the image alone.
    """

    geometry: Geometry
    colour: Colour

    def apply_to_image(self, image: Array) -> Array:
        """Return the (h, w, C) view of the (H, W, C) image in 0..255."""
        return self.colour.apply(self.geometry.apply_to_image(image))

    def apply_to_label(self, label: LabelMap) -> LabelMap:
        """Return the (h, w) view of the label map."""
        return self.geometry.apply_to_label(label)


def draw_view(
    specs: Sequence[AugmentSpec],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    crop: tuple[int, int],
    channels: int,
    progress: float = 0.0,
) -> View:
    """Draw a view.

    Args:
        specs: the recipe's list.
        rng: generator.
        size: (H, W) of the image.
        crop: (h, w) of the view.
        channels: of the image.
        progress: of the training, from 0 to 1.
    """
    return View(draw_geometry(specs, rng, size=size, crop=crop), draw_colour(specs, rng, channels=channels))

"""Augmentation as draw → apply: parameters are drawn as plain matrices, then applied to image and label alike."""

from maskwright.augment.colour import Colour, draw_colour
from maskwright.augment.geometry import Geometry, draw_geometry
from maskwright.augment.mixing import MIXTURES, Blend, Crop, Pasting, draw_mixture
from maskwright.augment.view import View, draw_view

__all__ = [
    "MIXTURES",
    "Blend",
    "Colour",
    "Crop",
    "Geometry",
    "Pasting",
    "View",
    "draw_colour",
    "draw_geometry",
    "draw_mixture",
    "draw_view",
]

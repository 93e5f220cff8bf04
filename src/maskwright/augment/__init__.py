"""Augmentation as draw → apply: parameters are drawn as plain matrices, then applied to image and label alike."""

from maskwright.augment.colour import Colour, draw_colour
from maskwright.augment.geometry import Geometry, draw_geometry

__all__ = ["Colour", "Geometry", "draw_colour", "draw_geometry"]

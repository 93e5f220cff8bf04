"""Augmentation as draw → apply: parameters are drawn as plain matrices, then applied to image and label alike."""

from maskwright.augment.colour import Colour, draw_colour
from maskwright.augment.geometry import Geometry, draw_geometry
from maskwright.augment.view import View, draw_view

__all__ = ["Colour", "Geometry", "View", "draw_colour", "draw_geometry", "draw_view"]

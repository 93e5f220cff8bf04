"""Augmentation as draw → apply: parameters are drawn as plain values, then applied to image and label alike."""

from maskwright.augment.colour import Colour, draw_colour
from maskwright.augment.geometry import Geometry, Outside, draw_geometry
from maskwright.augment.occasion import Source
from maskwright.augment.stain import StainFit, fit_stains, restain
from maskwright.augment.view import View, draw_view

__all__ = [
    "Colour",
    "Geometry",
    "Outside",
    "Source",
    "StainFit",
    "View",
    "draw_colour",
    "draw_geometry",
    "draw_view",
    "fit_stains",
    "restain",
]

"""Augmentation as draw → apply: parameters are drawn as plain values, then applied to image and label alike."""

from maskwright.augment.colour import Colour, draw_colour
from maskwright.augment.geometry import Geometry, Outside, draw_geometry
from maskwright.augment.mixing import MIXTURES, Blend, Crop, Pasting, draw_mixture
from maskwright.augment.occasion import Source
from maskwright.augment.stain import StainFit, fit_stains, restain
from maskwright.augment.view import View, draw_view

__all__ = [
    "MIXTURES",
    "Blend",
    "Colour",
    "Crop",
    "Geometry",
    "Outside",
    "Pasting",
    "Source",
    "StainFit",
    "View",
    "draw_colour",
    "draw_geometry",
    "draw_mixture",
    "draw_view",
    "fit_stains",
    "restain",
]

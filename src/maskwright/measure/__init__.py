"""What label maps measure: areas, counts, lengths and outlines of objects, in pixels or millimetres. Needs no torch."""

from maskwright.measure.folders import Measured, measure_folder
from maskwright.measure.shapes import Shape, feret, measure_objects, perimeter

__all__ = ["Measured", "Shape", "feret", "measure_folder", "measure_objects", "perimeter"]

"""Pictures for people: images and label maps as pictures, charts as SVG text, colours."""

from maskwright.pictures.charts import (
    bars,
    boxes,
    confusion,
    curves,
    histogram,
    points,
    points_png,
    quantiles,
    reliability,
)
from maskwright.pictures.colors import OKABE_ITO, category_colors
from maskwright.pictures.images import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    data_uri,
    encode,
    error_map,
    fit,
    framed,
    overlay,
    side_by_side,
    to_rgb8,
)
from maskwright.pictures.maps import thumbnail_map

__all__ = [
    "FALSE_NEGATIVE",
    "FALSE_POSITIVE",
    "OKABE_ITO",
    "bars",
    "boxes",
    "category_colors",
    "confusion",
    "curves",
    "data_uri",
    "encode",
    "error_map",
    "fit",
    "framed",
    "histogram",
    "overlay",
    "points",
    "points_png",
    "quantiles",
    "reliability",
    "side_by_side",
    "thumbnail_map",
    "to_rgb8",
]

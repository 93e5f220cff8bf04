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
from maskwright.pictures.embeddings import Basis, ball_picture, embedding_picture
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
from maskwright.pictures.instances import (
    TRUE_POSITIVE,
    anchor_picture,
    color_numbers,
    instance_picture,
    judged_picture,
    panoptic_beside,
    panoptic_picture,
)
from maskwright.pictures.maps import thumbnail_map

__all__ = [
    "FALSE_NEGATIVE",
    "FALSE_POSITIVE",
    "OKABE_ITO",
    "TRUE_POSITIVE",
    "Basis",
    "anchor_picture",
    "ball_picture",
    "bars",
    "boxes",
    "category_colors",
    "color_numbers",
    "confusion",
    "curves",
    "data_uri",
    "embedding_picture",
    "encode",
    "error_map",
    "fit",
    "framed",
    "histogram",
    "instance_picture",
    "judged_picture",
    "overlay",
    "panoptic_beside",
    "panoptic_picture",
    "points",
    "points_png",
    "quantiles",
    "reliability",
    "side_by_side",
    "thumbnail_map",
    "to_rgb8",
]

"""A label map as an answer: index PNG, COCO's run lengths, or COCO panoptic. Imports without torch."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from maskwright.data.categories import to_ids
from maskwright.data.formats.coco_panoptic import segments_of
from maskwright.data.formats.rows import Record
from maskwright.data.formats.runlength import counts_to_text, mask_to_counts
from maskwright.types import IGNORE, Array, Categories, LabelMap

_EIGHT = np.ones((3, 3), bool)


class Answer(NamedTuple):
    """A body and its media type."""

    media_type: str
    body: bytes


def as_png(label: LabelMap, categories: Categories) -> Answer:
    """Return a gray PNG whose values are category ids, as `predict` writes it."""
    return Answer("image/png", _png(to_ids(label, categories)))


def as_coco(label: LabelMap, categories: Categories) -> Answer:
    """Return JSON: `size`, `categories`, and in `annotations` each category's pixels as a compressed COCO RLE.

    One annotation a category that is there, the background as well; boxes are (x, y, width, height) in pixels.
    """
    annotations = list[dict[str, Any]]()
    for position, category in enumerate(categories.items):
        mask = label == position
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        top, left = int(rows[0]), int(columns[0])
        segmentation = {"size": list(label.shape), "counts": counts_to_text(mask_to_counts(mask))}
        annotations.append(
            {
                "id": len(annotations) + 1,
                "category_id": category.id,
                "segmentation": segmentation,
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 0,
            }
        )
    return _json({"size": list(label.shape), "categories": _listed(categories), "annotations": annotations})


def as_panoptic(label: LabelMap, categories: Categories) -> Answer:
    """Return JSON: `segments_info`, `categories`, and in `png` the base64 of a PNG with ids R + 256 G + 65536 B.

    Stuff is one segment a category. Of things, each group of pixels that share an edge or a corner is one: the
    networks tell categories apart, not objects that touch.
    """
    colors, segments = segments_of(Record("answer", label, label.shape, label, _objects(label, categories)), categories)
    found = {"size": list(label.shape), "categories": _listed(categories), "segments_info": segments}
    return _json(found | {"png": base64.b64encode(_png(colors)).decode()})


ANSWERS: dict[str, Callable[[LabelMap, Categories], Answer]] = {
    "png": as_png,
    "coco": as_coco,
    "panoptic": as_panoptic,
}
"""Every form by its name in `?format=`."""


def _objects(label: LabelMap, categories: Categories) -> Array:
    """Return (H, W) int32: a number for each connected piece of a thing, 0 elsewhere."""
    objects, known = np.zeros(label.shape, np.int32), 0
    for position, category in enumerate(categories.items):
        if category.isthing:
            pieces, count = ndimage.label(label == position, _EIGHT)
            objects[pieces > 0] = pieces[pieces > 0] + known
            known += count
    objects[label == IGNORE] = 0
    return objects


def _png(array: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _listed(categories: Categories) -> list[dict[str, Any]]:
    return [{"id": c.id, "name": c.name, "color": list(c.color), "isthing": int(c.isthing)} for c in categories.items]


def _json(value: dict[str, Any]) -> Answer:
    return Answer("application/json", json.dumps(value).encode())

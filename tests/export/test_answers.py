"""What the service answers, decoded by other tools."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from maskwright.export.answers import ANSWERS, as_coco, as_panoptic, as_png
from maskwright.types import Categories, Category

CATEGORIES = Categories(
    (
        Category(0, "ground", (0, 0, 0), False, (0,)),
        Category(7, "stone", (255, 0, 0), True, (7,)),
        Category(300, "sky", (0, 0, 255), False, (300,)),
        Category(9, "absent", (0, 9, 0), True, (9,)),
    )
)
LABEL = np.array(
    [
        [2, 2, 2, 2, 2, 2],
        [0, 1, 0, 0, 1, 1],
        [0, 0, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ],
    np.uint8,
)
"""Two stones: two pixels that share a corner, and three that share edges."""


def test_png_holds_ids():
    answer = as_png(LABEL, CATEGORIES)
    assert answer.media_type == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.body))), np.array([0, 7, 300, 9])[LABEL])


def test_coco_run_lengths_are_the_masks():
    tree = json.loads(as_coco(LABEL, CATEGORIES).body)
    assert tree["size"] == [4, 6]
    assert [a["category_id"] for a in tree["annotations"]] == [0, 7, 300]
    for annotation, position in zip(tree["annotations"], (0, 1, 2), strict=True):
        mask = coco.decode(annotation["segmentation"])
        assert np.array_equal(mask, position == LABEL)
        assert annotation["area"] == int(coco.area(annotation["segmentation"]))
        assert annotation["bbox"] == coco.toBbox(annotation["segmentation"]).tolist()
    assert [(c["id"], c["isthing"]) for c in tree["categories"]] == [(0, 0), (7, 1), (300, 0), (9, 1)]


def test_panoptic_has_a_segment_for_each_piece_of_a_thing_and_for_each_stuff():
    tree = json.loads(as_panoptic(LABEL, CATEGORIES).body)
    colors = np.asarray(Image.open(io.BytesIO(base64.b64decode(tree["png"])))).astype(int)
    ids = colors @ [1, 256, 65536]
    found = {s["id"]: s for s in tree["segments_info"]}
    assert set(np.unique(ids)) == set(found)
    assert sorted((s["category_id"], s["area"]) for s in found.values()) == [(0, 13), (7, 2), (7, 3), (300, 6)]
    for number, segment in found.items():
        rows, columns = np.nonzero(ids == number)
        assert segment["area"] == len(rows)
        left, top, width, height = segment["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert ids[1, 1] == ids[2, 2] != ids[1, 4] == ids[1, 5] == ids[2, 5]


@pytest.mark.parametrize("form", ANSWERS)
def test_one_pixel(form):
    assert ANSWERS[form](np.zeros((1, 1), np.uint8), CATEGORIES).body

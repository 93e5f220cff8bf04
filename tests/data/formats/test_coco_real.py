"""COCO files that tools wrote: against pycocotools, and what their own counts say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")


@real
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "file", "images"),
    [("coco_instances_nuts", "trainval.json", 18), ("labelme/instance_voc2011", "coco_annotations.json", 3)],
)
def test_real_polygons_as_pycocotools_draws_them(name, file, images):
    api = pytest.importorskip("pycocotools.coco").COCO(str(DATA / "fixtures" / name / file))
    rows = {Path(row.image).name: row for row in read_source(DATA / "fixtures" / name, "coco").rows}
    assert len(rows) == images
    for image in api.loadImgs(api.getImgIds()):
        expected = np.zeros((image["height"], image["width"]), int)
        found = [(api.annToMask(a) > 0, a["category_id"]) for a in api.loadAnns(api.getAnnIds([image["id"]]))]
        for mask, category in sorted(found, key=lambda pair: -int(pair[0].sum())):
            expected[mask] = category
        content = rows[Path(image["file_name"]).name].render()
        assert np.array_equal(content.mask, expected)
        assert len(np.unique(content.instances)) - 1 == len(found)


@real
@pytest.mark.realdata
def test_real_export_of_cvat(tmp_path):
    folder = DATA / "fixtures/multiformat_2label"
    assert {"coco", "labelme", "labelme_xml", "via"} <= set(recognised(folder))
    with pytest.raises(DataError, match=r"more than one reading: .*coco.*labelme, labelme_xml, via"):
        read_source(folder)
    row = next(row for row in read_source(folder, "coco").rows if row.image == "images/shapes.jpg")
    mask = row.render().mask
    tree = json.loads((folder / "coco1.0/instances_default.json").read_text())
    stated = {a["category_id"]: [] for a in tree["annotations"] if a["image_id"] == 3}
    for item in (a for a in tree["annotations"] if a["image_id"] == 3):
        stated[item["category_id"]].append(item["area"])
    # two masks (marked as crowds) and a polygon; the box around the rectangle has no outline: ignored
    assert {i: int((mask == i).sum()) for i in (2, 4)} == {i: sum(stated[i]) for i in (2, 4)}
    assert set(np.unique(mask)) == {0, 2, 4, 255}


@real
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("coco_instances", [{0: 47, 255: 3}, {0: 30, 1: 2, 2: 18}]),
        ("coco_person_keypoints", [{0: 47, 255: 3}, {0: 30, 1: 2, 2: 18}]),
        ("coco_roboflow", [{0: 47, 255: 3}, {0: 30, 1: 2, 2: 18}]),
        ("mmdet_coco", [{0: 47, 255: 3}, {0: 30, 1: 2, 2: 18}]),
        ("coco_stuff", [{0: 30, 1: 20}, {0: 30, 2: 20}]),
        ("coco_captions", None),
        ("coco_image_info", None),
        ("coco_labels", None),
    ],
)
def test_real_layouts_of_coco(name, values):
    folder = DATA / "fixtures/datumaro_mini/coco_dataset" / name
    assert recognised(folder) == ["coco"]
    if values is None:
        with pytest.raises(DataError, match="boxes, captions, key points or tags alone"):
            read_source(folder)
        return
    rows = read_source(folder).rows
    assert [row.part for row in rows] == ["train", "val"]
    found = [dict(zip(*np.unique(row.render().mask, return_counts=True), strict=True)) for row in rows]
    assert found == values

"""The same four images in eight forms: what each tool's form says of them, against CVAT's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from maskwright.data.formats import FORMATS, read_source
from maskwright.errors import DataError

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="MASKWRIGHT_DATA names no folder")


@pytest.fixture(scope="module")
def forms():
    """Return a function: format → {(image, category): (H, W) bool}; what was read is kept."""
    kept: dict[str, dict[tuple[str, str], np.ndarray]] = {}

    def read(name: str) -> dict[tuple[str, str], np.ndarray]:
        if name not in kept:
            source = read_source(FIXTURES / "multiformat_2label", name)
            masks = {Path(r.image).stem: r.render().mask for r in source.rows if r.render is not None}
            kept[name] = {(i, c.name): m == c.id for i, m in masks.items() if m is not None for c in source.categories}
        return kept[name]

    return read


# coco: CVAT's own export, which leaves out boxes and lines · labelme_xml: CVAT's own as well; LabelMe's rule adds the
# outline, half a pixel around each shape · labelme, via: the same things, outlined by hand a second and third time
@real
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("form", "image", "category", "least"),
    [
        ("coco", "birds", "bird", 1),
        ("coco", "shapes", "triangle", 1),
        ("coco", "shapes", "ellipse", 1),
        ("labelme_xml", "birds", "bird", 0.99),
        ("labelme_xml", "shapes", "triangle", 0.99),
        ("labelme_xml", "shapes", "ellipse", 1),
        ("labelme_xml", "shapes", "rectangle", 0.98),
        ("labelme_xml", "strawberry", "strawberry", 0.95),
        ("labelme", "birds", "bird", 0.96),
        ("labelme", "shapes", "triangle", 0.99),
        ("labelme", "shapes", "rectangle", 0.97),
        ("via", "birds", "bird", 0.95),
        ("via", "shapes", "triangle", 0.97),
        ("via", "shapes", "rectangle", 0.98),
    ],
)
def test_forms_agree_with_cvats(forms, form, image, category, least):
    ours, other = forms("cvat")[image, category], forms(form)[image, category]
    assert (ours & other).sum() / (ours | other).sum() >= least


@real
@pytest.mark.realdata
def test_the_whole_folder_has_many_readings_and_its_boxes_none():
    root = FIXTURES / "multiformat_2label"
    with pytest.raises(DataError, match=r"more than one reading: coco, .*cvat, voc, .*yolo"):
        read_source(root)
    with pytest.raises(DataError, match="boxes alone"):
        read_source(root, "yolo")


@real
@pytest.mark.realdata
def test_each_tools_folder_is_recognised_as_its_own_alone():
    expected = {
        "cvat_duckietown": ["cvat"],
        "datumaro_mini/cvat_dataset/for_images/export_project": ["cvat"],
        "datumaro_mini/voc_dataset/voc_dataset1": ["voc"],
        "datumaro_mini/roboflow_dataset/voc": ["voc"],
        "datumaro_mini/roboflow_dataset/coco": ["coco"],
        "datumaro_mini/roboflow_dataset/yolo": ["yolo"],
        "imagescope_xml": ["imagescope"],
        "label_studio/export_mixed": ["label_studio"],
        "label_studio/polygons": ["label_studio"],
        "multiformat_2label/cvat1.1": ["cvat"],
        "multiformat_2label/createml": [],
        "multiformat_2label/voc1.1": ["voc"],
        "multiformat_2label/yolo": ["yolo"],
        "roboflow_yolo_boxes": ["yolo"],
        "unity_solo": [],
    }
    ours = {"cvat", "voc", "label_studio", "geojson", "imagescope", "yolo", "coco"}
    found = {p: [n for n in FORMATS if n in ours and FORMATS[n].recognise(FIXTURES / p)] for p in expected}
    assert found == expected

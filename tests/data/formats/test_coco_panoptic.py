"""COCO panoptic: segments by hand, files that are refused, and the real examples with the areas that they state."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.written import write_array
from maskwright.errors import DataError

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
CATEGORIES = [{"id": 4, "name": "fig", "isthing": 1}, {"id": 9, "name": "soil", "isthing": 0}]
# 65793 = 1 + 256 + 65536 is stored as the colour (1, 1, 1), 258 = 2 + 256 as (2, 1, 0)
NUMBERS = np.array([[0, 258, 258], [65793, 65793, 7], [7, 3, 3]])
SEGMENTS = [
    {"id": 258, "category_id": 4},
    {"id": 65793, "category_id": 4},
    {"id": 7, "category_id": 9},
    {"id": 3, "category_id": 4, "iscrowd": 1},
]
IMAGE = {"id": 1, "file_name": "a.png", "height": 3, "width": 3}
ANNOTATION = {"image_id": 1, "file_name": "a.png", "segments_info": SEGMENTS}


def colors(numbers):
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], 2).astype(np.uint8)


def write(root: Path, annotations=(ANNOTATION,), images=(IMAGE,), categories=CATEGORIES, numbers=NUMBERS) -> Path:
    path = root / "annotations" / "panoptic_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": list(images), "annotations": list(annotations), "categories": categories}))
    if numbers is not None:
        write_array(path.with_suffix("") / "a.png", colors(numbers))
    return path


@pytest.fixture
def root(tmp_path):
    make.gray_png(tmp_path / "val2017", "a", 3, 3)
    return tmp_path


def test_segments_by_hand(root):
    write(root)
    assert recognised(root) == ["coco_panoptic"]
    source = read_source(root)
    assert [(c.id, c.name, c.isthing) for c in source.categories] == [(4, "fig", True), (9, "soil", False)]
    assert [(row.image, row.part) for row in source.rows] == [("val2017/a.png", "val")]
    content = source.rows[0].render()
    # 0 is ignored; a crowd keeps its category and is no object; stuff is none either
    assert content.mask.tolist() == [[255, 4, 4], [4, 4, 9], [9, 4, 4]]
    found = content.instances
    assert (found > 0).tolist() == [[False, True, True], [True, True, False], [False, False, False]]
    assert found[0, 1] == found[0, 2] != found[1, 0] == found[1, 1]


def test_numbers_that_fit_a_gray_png(root):
    path = write(root, numbers=None, annotations=[ANNOTATION | {"segments_info": SEGMENTS[2:]}])
    Image.fromarray(np.array([[7, 3, 0]], np.uint8)).save(_made(path.with_suffix("")) / "a.png")
    assert read_source(root).rows[0].render().mask.tolist() == [[9, 4, 255]]


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_the_form_of_two_channels(root):
    path = write(root, annotations=[], numbers=None)
    pairs = np.array([[[0, 0], [4, 0], [4, 1]], [[4, 255], [9, 0], [9, 0]]], np.uint8)
    write_array(root / "pairs" / "a.png", np.dstack([pairs, np.zeros((2, 3), np.uint8)]))
    assert path.is_file()
    content = read_source(root, "coco_panoptic").rows[0].render()
    assert content.mask.tolist() == [[255, 4, 4], [4, 9, 9]]
    assert content.instances.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_images_that_are_not_listed_are_unlabelled_and_png_labels_are_no_images(root):
    write(root)
    make.gray_png(root / "val2017", "b", 3, 3)
    rows = read_source(root).rows
    assert [(row.image, row.mask) for row in rows] == [
        ("val2017/a.png", "@/masks/val2017/a.png"),
        ("val2017/b.png", None),
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"annotations": [ANNOTATION | {"image_id": 2}]}, ("image 2", "not listed")),
        ({"annotations": [{"image_id": 1, "segments_info": SEGMENTS}]}, ("image 1", "file_name")),
        ({"annotations": [ANNOTATION | {"segments_info": [SEGMENTS[0]] * 2}]}, ("segment 258", "twice")),
        ({"annotations": [ANNOTATION | {"segments_info": [{"id": 0, "category_id": 4}]}]}, ("segment 0",)),
        ({"annotations": [ANNOTATION | {"segments_info": [{"id": 1, "category_id": 5}]}]}, ("segment 1", "category 5")),
        ({"annotations": [ANNOTATION, ANNOTATION]}, ("val2017/a.png", "twice")),
        ({"images": [IMAGE, IMAGE]}, ("image id 1", "twice")),
        ({"annotations": [ANNOTATION | {"file_name": "b.png"}]}, ("b.png", "nothing of that name")),
        ({"annotations": [ANNOTATION | {"file_name": "../a.png"}]}, ("../a.png", "inside the data folder")),
        ({"images": [IMAGE | {"file_name": "z.png"}]}, ("z.png", "nowhere")),
    ],
)
def test_files_that_are_refused(root, fields, words):
    path = write(root, **fields)
    with pytest.raises(DataError) as caught:
        read_source(root)
    assert all(word in str(caught.value) for word in (*words, path.name)), str(caught.value)


def test_numbers_that_are_not_listed(root):
    write(root, numbers=NUMBERS + (NUMBERS == 7) * 100)
    with pytest.raises(DataError, match=r"segments 107(.|\n)*a\.png"):
        read_source(root).rows[0].render()


@real
@pytest.mark.realdata
def test_real_examples_have_the_areas_that_they_state():
    folder = DATA / "fixtures/coco_panoptic"
    tree = json.loads((folder / "panoptic_examples.json").read_text())
    with pytest.raises(DataError, match="more than one reading: coco, coco_panoptic"):
        read_source(folder)
    source = read_source(folder, "coco_panoptic")
    rows = {Path(row.image).stem: row for row in source.rows}
    things = {c["id"] for c in tree["categories"] if c["isthing"]}
    assert [(c.id, c.name, c.isthing) for c in source.categories] == [
        (c["id"], c["name"], bool(c["isthing"])) for c in tree["categories"]
    ]
    assert [len(item["segments_info"]) for item in tree["annotations"]] == [18, 32]
    for item in tree["annotations"]:
        content = rows[Path(item["file_name"]).stem].render()
        areas: dict[int, int] = {}
        for segment in item["segments_info"]:
            areas[segment["category_id"]] = areas.get(segment["category_id"], 0) + segment["area"]
        assert {i: int((content.mask == i).sum()) for i in areas} == areas
        assert (content.mask == 255).sum() == content.mask.size - sum(areas.values())
        objects = [s["area"] for s in item["segments_info"] if s["category_id"] in things and not s["iscrowd"]]
        assert sorted(np.bincount(content.instances.ravel())[1:]) == sorted(objects)


@real
@pytest.mark.realdata
def test_both_real_forms_say_the_same(tmp_path):
    folder = DATA / "fixtures/coco_panoptic"
    for name in ("images_info_examples.json", "input_images", "panoptic_examples_2ch_format"):
        (tmp_path / name).symlink_to(folder / name)
    first = {row.image: row for row in read_source(folder, "coco_panoptic").rows}
    # the links lead out of the folder, where they are not followed: a copy of the labels alone
    with pytest.raises(DataError, match="inside the data folder"):
        read_source(tmp_path, "coco_panoptic")
    for name in ("images_info_examples.json", "input_images", "panoptic_examples_2ch_format"):
        (tmp_path / name).unlink()
        for source in [folder / name] if (folder / name).is_file() else sorted((folder / name).iterdir()):
            target = tmp_path / source.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(source.read_bytes())
    for row in read_source(tmp_path, "coco_panoptic").rows:
        pairs, segments = row.render(), first[row.image].render()
        assert np.array_equal(pairs.mask, segments.mask)
        joint = np.unique(np.stack([pairs.instances.ravel(), segments.instances.ravel()]), axis=1).shape[1]
        assert joint == len(np.unique(pairs.instances)) == len(np.unique(segments.instances))


@real
@pytest.mark.realdata
def test_real_segments_of_bdd100k(tmp_path):
    # the fixture is one annotation without its file: no list of images or categories, and no image
    folder = DATA / "fixtures/bdd100k/panseg_coco"
    item = json.loads((folder / "panseg_coco.json").read_text())
    categories = [{"id": i, "name": f"c{i}", "isthing": 1} for i in {s["category_id"] for s in item["segments_info"]}]
    make.gray_png(tmp_path / "images", "x", 720, 1280)
    image = IMAGE | {"id": item["image_id"], "file_name": "x.png", "height": 720, "width": 1280}
    path = write(tmp_path, [item], [image], categories, None)
    (_made(path.with_suffix("")) / "panseg_mask.png").write_bytes((folder / "panseg_mask.png").read_bytes())
    content = read_source(tmp_path).rows[0].render()
    areas = sorted(s["area"] for s in item["segments_info"] if not s["iscrowd"])
    assert sorted(np.bincount(content.instances.ravel())[1:]) == areas

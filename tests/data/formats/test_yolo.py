"""YOLO's segments: layouts, names, parts, the trainer's own way of drawing, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.yolo import polygon
from maskwright.errors import DataError

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="MASKWRIGHT_DATA names no folder")

SQUARE = "0.0 0.0 0.25 0.0 0.25 0.25 0.0 0.25"  # corners 0, 0 and 4, 3 of 16 × 12


def write(root: Path, text: str, *, labels: str = "labels", images: str = "images", name: str = "a") -> Path:
    path = root / labels / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    make.gray_png(root / images, name)
    return root


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [cat, dog]", ["cat", "dog"]),
        ("names:\n  0: cat\n  2: dog", ["cat", "class_1", "dog"]),
        ("train: ../train/images\nnc: 2", ["class_0", "class_1"]),
        (None, ["class_0", "class_1"]),
    ],
)
def test_classes_are_numbered_after_the_background(tmp_path, names, expected):
    write(tmp_path, f"1 {SQUARE}\n")
    if names is not None:
        (tmp_path / "data.yaml").write_text(names)
    assert recognised(tmp_path) == ["yolo"]
    source = read_source(tmp_path)
    assert [(c.id, c.name) for c in source.categories] == [*enumerate(["background", *expected])]
    content = source.rows[0].render()
    # corners at whole pixels belong to the outline, which the trainer fills too: 5 × 4 pixels
    assert (content.mask == 2)[:4, :5].all()
    assert (content.mask == 2).sum() == 20


def test_classes_txt_beside_the_text_files(tmp_path):
    write(tmp_path, f"0 {SQUARE}\n", labels="yolo")
    (tmp_path / "yolo/classes.txt").write_text("bird\n\ncrack\n")
    assert recognised(tmp_path) == ["yolo"]
    assert [c.name for c in read_source(tmp_path).categories] == ["background", "bird", "crack"]


@pytest.mark.parametrize("layout", [("labels/{}", "images/{}"), ("{}/labels", "{}/images")])
def test_parts_from_folders(tmp_path, layout):
    for part in ("train", "valid"):
        write(tmp_path, f"0 {SQUARE}", labels=layout[0].format(part), images=layout[1].format(part))
    found = [(row.image, row.part, row.render is not None) for row in read_source(tmp_path).rows]
    assert found == [(f"{layout[1].format(part)}/a.png", part, True) for part in ("train", "valid")]


def test_empty_files_missing_files_and_files_without_image(tmp_path):
    write(tmp_path, f"0 {SQUARE}")
    write(tmp_path, "\n", name="b")
    make.gray_png(tmp_path / "images", "c")
    (tmp_path / "labels/z.txt").write_text(f"0 {SQUARE}")
    source = read_source(tmp_path)
    assert [(row.image, row.render is not None) for row in source.rows] == [
        ("images/a.png", True),
        ("images/b.png", True),
        ("images/c.png", False),
    ]
    assert not source.rows[1].render().mask.any()
    assert source.leftovers == ["labels/z.txt"]


def test_the_smaller_lies_on_top(tmp_path):
    small, large = "0.0 0.0 0.1 0.0 0.1 0.2 0.0 0.2", "0 0 1 0 1 1 0 1"
    write(tmp_path, f"1 {small}\n0 {large}\n0 {large}")
    content = read_source(tmp_path).rows[0].render()
    assert (content.mask[0, 0], content.mask[-1, -1]) == (2, 1)


def test_polygons_are_filled_as_the_trainer_does():
    rng = np.random.default_rng(2)
    for _ in range(30):
        points = rng.uniform(-20, 70, (rng.integers(3, 12), 2))
        whole = np.zeros((50, 60), np.uint8)
        cv2.fillPoly(whole, points.astype(np.int32)[None], 1)
        drawn = polygon(points, (50, 60))
        found = np.zeros((50, 60), bool)
        height, width = drawn.pixels.shape
        found[drawn.top : drawn.top + height, drawn.left : drawn.left + width] = drawn.pixels
        assert np.array_equal(found, whole > 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1", r"boxes alone \(5 columns\)"),
        (f"0 {SQUARE}\nx 1 2 3 4 5 6", r"pairs of numbers, got 'x 1 2 3 4 5 6'\n.*a\.txt, line 2"),
        (f"0 {SQUARE} 0.5", "a class and pairs of numbers"),
        (f"-1 {SQUARE}", "a class and pairs of numbers"),
        (f"0.5 {SQUARE}", "a class and pairs of numbers"),
        ("0 0.1 0.1 nan 0.2 0.3 0.3", "a class and pairs of numbers"),
    ],
)
def test_what_is_refused_when_the_folder_is_read(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_source(write(tmp_path, text), "yolo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"0 {SQUARE}\n0 0.5 0.5 0.1 0.1", r"3 points, got a box\n.*a\.txt, object 2"),
        (f"7 {SQUARE}", "classes 0 to 1, got 7"),
        ("0 2 2 3 2 3 3", "inside the image of 16×12 pixels"),
    ],
)
def test_what_is_refused_when_a_label_is_drawn(tmp_path, text, message):
    write(tmp_path, text)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]")
    row = read_source(tmp_path, "yolo").rows[0]
    with pytest.raises(DataError, match=message):
        row.render()


def test_no_image_and_yaml_that_is_none(tmp_path):
    write(tmp_path, f"0 {SQUARE}")
    (tmp_path / "images/a.png").rename(tmp_path / "images/b.png")
    with pytest.raises(DataError, match="1 that are nowhere in the folder: a"):
        read_source(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [")
    with pytest.raises(DataError, match=r"YAML, got .*\n.*data\.yaml"):
        read_source(tmp_path)


def test_other_text_is_none_of_yolos(tmp_path):
    write(tmp_path, "a photo of a cat")
    assert recognised(tmp_path) == ["folder"]


@real
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("roboflow_yolo_boxes", "boxes alone"),
        ("datumaro_mini/roboflow_dataset/yolo", "boxes alone"),
        ("datumaro_mini/roboflow_dataset/yolo_obb", "oriented boxes"),
    ],
)
def test_real_boxes_are_refused(folder, message):
    with pytest.raises(DataError, match=message):
        read_source(FIXTURES / folder)

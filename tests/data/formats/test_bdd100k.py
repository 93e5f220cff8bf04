"""BDD100K's bitmasks: category, object, crowd and ignored pixels; which of the three kinds of masks is read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from reading import read_all
from real import FIXTURES, real

from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.bdd100k import PANOPTIC, read_bitmask
from maskwright.errors import DataError

# R category, G attributes (8 truncated, 4 occluded, 2 crowd, 1 ignored), B * 256 + A object
CAR, ROAD = 35, 7
BITMASK = np.array([[[CAR, 12, 1, 2], [CAR, 2, 0, 9], [CAR, 1, 0, 8], [ROAD, 0, 0, 7], [0, 0, 0, 0]]], np.uint8)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def make(root, **labels):
    save(root / "images/10k/train/x.jpg", np.zeros((1, 5, 3), np.uint8))
    save(root / "images/100k/train/x.jpg", np.zeros((1, 5, 3), np.uint8))
    save(root / "images/10k/val/y.jpg", np.zeros((1, 5, 3), np.uint8))
    for kind, values in labels.items():
        save(root / "labels" / kind / ("masks" if kind == "sem_seg" else "bitmasks") / "train/x.png", values)


def test_a_panoptic_bitmask(tmp_path):
    make(tmp_path / "data", pan_seg=BITMASK)
    assert recognised(tmp_path / "data") == ["bdd100k"]
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert {name: (f.names is None, f.part) for name, f in found.items()} == {
        "10k/train/x": (False, "train"),
        "100k/train/x": (True, "train"),
        "10k/val/y": (True, "val"),
    }
    assert found["10k/train/x"].names == [["car", "car", None, "road", None]]
    assert found["10k/train/x"].ids.tolist() == [[258, 0, 0, 0, 0]]  # a crowd is no object, a road is none


def test_masks_and_objects_of_two_kinds_of_files(tmp_path):
    objects = BITMASK.copy()
    objects[..., 0] = [[3, 3, 3, 0, 0]]
    make(tmp_path / "data", sem_seg=np.array([[13, 13, 255, 0, 18]], np.uint8), ins_seg=objects)
    found = read_all(tmp_path / "data", tmp_path / "scratch")["10k/train/x"]
    assert found.names == [["car", "car", None, "road", "bicycle"]]
    assert found.ids.tolist() == [[258, 0, 0, 0, 0]]
    (tmp_path / "data/labels/sem_seg/masks/train/x.png").unlink()
    alone = read_all(tmp_path / "data", tmp_path / "scratch")["10k/train/x"]
    assert alone.names == [["car", "car", None, "background", "background"]]


@pytest.mark.parametrize("content", [b"", b"cut off"])
def test_a_broken_bitmask_is_named(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        read_bitmask(tmp_path / "a.png")


def test_a_mask_without_an_image_is_left_over(tmp_path):
    make(tmp_path, pan_seg=BITMASK)
    save(tmp_path / "labels/pan_seg/bitmasks/val/z.png", BITMASK)
    assert read_source(tmp_path).leftovers == ["labels/pan_seg/bitmasks/val/z.png"]


@real
def test_real_bitmask_is_what_the_tool_converts_to_coco():
    found = read_bitmask(FIXTURES / "bdd100k/panseg_bdd100k/panseg_mask.png")
    stated = json.loads((FIXTURES / "bdd100k/panseg_coco/panseg_coco.json").read_text())["segments_info"]
    areas: dict[int, int] = {}
    for segment in stated:
        areas[segment["category_id"]] = areas.get(segment["category_id"], 0) + segment["area"]
    values, counts = np.unique(found.mask, return_counts=True)
    assert dict(zip(values[1:].tolist(), counts[1:].tolist(), strict=True)) == areas
    with Image.open(FIXTURES / "bdd100k/panseg_coco/panseg_mask.png") as file:
        coded = np.asarray(file).astype(np.int32) @ [1, 256, 65536]
    cars = [segment["id"] for segment in stated if segment["category_id"] == PANOPTIC.index("car")]
    assert len(cars) == 2
    for number in cars:
        assert len(np.unique(found.instances[coded == number])) == 1


@real
def test_real_object_bitmasks():
    found = read_bitmask(FIXTURES / "bdd100k/ins_seg/gt/a.png")
    assert set(np.unique(found.mask)) <= set(range(9)) and len(np.unique(found.instances)) > 5


@real
def test_real_semantic_masks_hold_train_ids(tmp_path):
    with Image.open(FIXTURES / "bdd100k/semseg_mask.png") as file:
        mask = np.asarray(file)
    save(tmp_path / "data/labels/sem_seg/masks/val/x.png", mask)
    save(tmp_path / "data/images/10k/val/x.png", np.zeros(mask.shape, np.uint8))
    found = read_all(tmp_path / "data", tmp_path / "scratch")["10k/val/x"]
    assert (np.array(found.names) == "car").sum() == (mask == 13).sum() > 0

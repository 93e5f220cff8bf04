"""KITTI, Mapillary Vistas, MOTS, ADE20K, Open Images and Unity's SOLO, on folders in their exact layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from reading import read_all
from real import FIXTURES, MINI, real

from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values)
    Image.fromarray(array.astype(np.uint16 if array.max() > 255 else np.uint8)).save(path)


@pytest.mark.parametrize("semantic", [True, False])
def test_kitti(semantic, tmp_path):
    ids = np.array([[26 * 256 + 1, 26 * 256, 7 * 256, 0]])  # a car, cars without a number, road, unlabeled
    for folder in ("training", "testing"):
        save(tmp_path / "data" / folder / "image_2/a.png", np.zeros((1, 4)))
    save(tmp_path / "data/training/instance/a.png", ids)
    if semantic:
        save(tmp_path / "data/training/semantic/a.png", ids // 256)
    assert recognised(tmp_path / "data") == ["kitti"]
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert found["training/image_2/a"].names == [["car", "car", "road", None]]
    assert found["training/image_2/a"].ids.tolist() == [[26 * 256 + 1, 0, 0, 0]]
    assert (found["testing/image_2/a"].names, found["testing/image_2/a"].part) == (None, "test")


def test_mots_regions_to_ignore(tmp_path):
    save(tmp_path / "data/train/images/a.png", np.zeros((1, 4)))
    save(tmp_path / "data/train/instances/a.png", [[1001, 2001, 10000, 0]])
    (tmp_path / "data/train/instances/labels.txt").write_text("car\npedestrian\n")
    assert recognised(tmp_path / "data") == ["mots"]
    (found,) = read_all(tmp_path / "data", tmp_path / "scratch").values()
    assert found.names == [["car", "pedestrian", None, "background"]]
    assert found.ids.tolist() == [[1001, 2001, 0, 0]]


def test_mots_parts_of_other_categories_are_refused(tmp_path):
    for part, text in (("train", "a b"), ("val", "b a")):
        save(tmp_path / part / "images/a.png", np.zeros((1, 1)))
        save(tmp_path / part / "instances/a.png", np.zeros((1, 1)))
        (tmp_path / part / "instances/labels.txt").write_text(text)
    with pytest.raises(DataError, match="train: a, b; val: b, a"):
        read_source(tmp_path)


def test_mapillary_labels_that_are_not_evaluated_are_ignored(tmp_path):
    labels = [
        {"name": "car", "color": [0, 0, 1], "instances": True, "evaluate": True},
        {"name": "sky", "color": [0, 0, 2], "instances": False, "evaluate": True},
        {"name": "void", "color": [0, 0, 0], "instances": False, "evaluate": False},
    ]
    root = tmp_path / "data"
    save(root / "training/images/a.png", np.zeros((1, 4)))
    save(root / "training/labels/a.png", [[0, 0, 1, 2]])
    save(root / "training/instances/a.png", [[0, 1, 256, 512]])
    (root / "config.json").write_text(json.dumps({"labels": labels}))
    assert recognised(root) == ["mapillary"]
    (found,) = read_all(root, tmp_path / "scratch").values()
    assert (found.names, found.ids.tolist()) == ([["car", "car", "sky", None]], [[1, 2, 0, 0]])
    (root / "config.json").write_text('{"labels": [{"name": "car"}]}')
    with pytest.raises(DataError, match=r"config\.json"):
        read_source(root)


@pytest.mark.parametrize(("mask", "words"), [("none.png", "none.png"), ("../../x.png", r"\.\./x\.png")])
def test_open_images_masks_that_are_not_there(mask, words, tmp_path):
    save(tmp_path / "images/train/a.png", np.zeros((1, 4)))
    (tmp_path / "annotations").mkdir()
    table = f"MaskPath,ImageID,LabelName\n{mask},a,/m/0\n"
    (tmp_path / "annotations/train-annotations-object-segmentation.csv").write_text(table)
    with pytest.raises(DataError, match=words):
        read_source(tmp_path)


@pytest.mark.parametrize("text", ["{", '{"captures": [{}]}', "[]", '{"captures": [{"filename": "../../x.png"}]}'])
def test_unity_frames_that_can_not_be_read_are_named(text, tmp_path):
    (tmp_path / "sequence.0").mkdir()
    (tmp_path / "sequence.0/step0.frame_data.json").write_text(text)
    with pytest.raises(DataError, match=r"step0\.frame_data\.json"):
        read_source(tmp_path)


@real
def test_real_kitti(tmp_path):
    found = read_all(MINI / "kitti_segmentation", tmp_path)
    # 768 = 3·256 void, 6913 = 27·256 + 1 truck, 7937 = 31·256 + 1 train, 3073 = 12·256 + 1 wall
    assert [f.names for f in found.values()] == [
        [[None, None, "truck", "truck", "truck"]],
        [["train", "train", "wall", None, None]],
    ]
    assert [f.ids.tolist() for f in found.values()] == [[[0, 0, 6913, 6914, 6914]], [[7937, 7937, 0, 0, 0]]]


@real
def test_real_mots(tmp_path):
    found = read_all(MINI / "mots_dataset", tmp_path)
    assert {name: f.names for name, f in found.items()} == {
        "train/images/1": [["d", "d", "c", "d", "background"]],
        "train/images/2": [["d"] + ["background"] * 4],
        "val/images/3": [["background", "a"] + ["background"] * 3],
    }
    assert found["train/images/1"].ids.tolist() == [[4003, 4003, 3002, 4001, 0]]


@real
def test_real_mapillary(tmp_path):
    root = MINI / "mapillary_vistas_dataset"
    assert recognised(root) == ["mapillary"]
    found = read_all(root, tmp_path)
    bird, separator, bicycle = "animal--bird", "construction--barrier--separator", "object--vehicle--bicycle"
    assert found["val/images/0"].names == [[bird] * 3 + [separator] * 2] * 5
    assert found["val/images/1"].names == [[bicycle, bicycle, separator, bicycle, bicycle]] * 5
    assert found["val/images/1"].ids.tolist() == [[513, 513, 257, 514, 514]] * 5
    # its own panoptic PNG has three segments of the same pixels
    with Image.open(root / "val/v2.0/panoptic/1.png") as file:
        segments = np.asarray(file)[..., 0]
    assert len(set(zip(segments.ravel(), found["val/images/1"].ids.ravel(), strict=True))) == 3


@real
def test_real_ade20k(tmp_path):
    root = MINI / "ade20k2020_dataset/dataset"
    assert recognised(root) == ["ade20k"]
    found = read_all(root, tmp_path)
    # (15, 145, 2): 15 // 10 · 256 + 145 = 401, car; (71, 39, 1): 7 · 256 + 39 = 1831, person
    assert found["training/street/1"].names == [[None, "person", "car", "car", "car"]] * 5
    assert found["training/street/1"].ids.tolist() == [[0, 1, 2, 2, 2]] * 5
    assert (found["training/street/1"].meta, list(found)) == (
        {"scene": "outdoor/urban/street"},
        ["training/street/1", "validation/2"],
    )


@real
def test_real_open_images(tmp_path):
    root = MINI / "open_images_dataset/v6"
    assert recognised(root) == ["open_images"]
    found = read_all(root, tmp_path)
    label, none = "Generic label #0", "background"
    assert found["train/b"].names == [[label, label] + [none] * 6] * 2
    assert [f.names is None for f in found.values()] == [True, True, False, True]


@real
def test_real_unity_frames(tmp_path):
    root = FIXTURES / "unity_solo"
    assert recognised(root) == ["unity_solo"]
    first, second = read_all(root, tmp_path).values()
    assert second.names is None  # its JSON states no segmentation
    names = np.array(first.names)
    with Image.open(root / "sequence.0/step0.camera.semantic segmentation.png") as file:
        assert np.array_equal(names == "Crate", (np.asarray(file)[..., :3] == (0, 255, 43)).all(-1))
    with Image.open(root / "sequence.0/step0.camera.instance segmentation.png") as file:
        colours = np.asarray(file)[..., :3]
    for number, colour in ((3, (149, 255, 0)), (1, (255, 0, 0)), (2, (0, 74, 255))):
        assert np.array_equal(first.ids == number, (colours == colour).all(-1))
    assert set(names[np.isin(first.ids, (2, 3))]) == {"Crate"}

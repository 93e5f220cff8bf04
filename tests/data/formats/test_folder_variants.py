"""Relatives of the plain folder: masks named after images, beside them, one a class; colours of classes.json."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from reading import read_all
from real import FIXTURES, MINI, real

from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError

BINARY = np.array([[0, 255, 255, 0]], np.uint8)
NAMES = [["background", "foreground", "foreground", "background"]]


def save(path, values=BINARY):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a", "a"),
        ("a", "a_mask"),
        ("a", "a_masks"),
        ("a", "a-label"),
        ("a", "a_seg"),
        ("a", "a.gt"),
        ("a", "mask_a"),
        ("a.b", "a.b_mask"),
        ("image_7", "gt_7"),
        ("img7", "mask7"),
        ("a_image", "a_mask"),
        ("train/a", "train/a_mask"),
    ],
)
def test_names_by_which_masks_belong_to_images(image, mask, tmp_path):
    save(tmp_path / "data/images" / f"{image}.png")
    save(tmp_path / "data/masks" / f"{mask}.png")
    assert recognised(tmp_path / "data") == ["folder"]
    assert read_all(tmp_path / "data", tmp_path / "scratch")[image].names == NAMES
    assert read_source(tmp_path / "data").leftovers == []


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        (("a",), ("a", "a_mask"), r"a\.png and masks/a_mask\.png"),
        (("a_image", "image_a"), ("a_mask",), "for a_image, image_a"),
    ],
)
def test_two_readings_of_names_are_refused(images, masks, words, tmp_path):
    for folder, names in (("images", images), ("masks", masks)):
        for name in names:
            save(tmp_path / folder / f"{name}.png")
    with pytest.raises(DataError, match=words):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("image", "mask"), [("a", "a_mask"), ("img2d", "mask2d"), ("p1/a", "p1/a_seg"), ("a", "a_label")]
)
def test_masks_beside_their_images(image, mask, tmp_path):
    save(tmp_path / "data" / f"{image}.png")
    save(tmp_path / "data" / f"{mask}.png")
    assert recognised(tmp_path / "data") == ["pairs"]
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert {name: f.names for name, f in found.items()} == {image: NAMES}


def test_an_image_beside_pairs_is_unlabelled_and_two_masks_are_refused(tmp_path):
    for name in ("a", "a_mask", "b"):
        save(tmp_path / f"{name}.png")
    assert [(row.image, row.mask) for row in read_source(tmp_path).rows] == [("a.png", "a_mask.png"), ("b.png", None)]
    save(tmp_path / "a_seg.png")
    with pytest.raises(DataError, match=r"a_mask\.png and a_seg\.png"):
        read_source(tmp_path)


@pytest.mark.parametrize("names", [("a", "b"), ("a_mask", "b_mask"), ("a", "b_mask")])
def test_images_alone_are_no_pairs(names, tmp_path):
    for name in names:
        save(tmp_path / f"{name}.png")
    assert recognised(tmp_path) == []


RGB = np.array([[[255, 0, 0], [0, 0, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
CLASSES = [
    {"id": 0, "name": "none", "color": [0, 0, 0]},
    {"id": 4, "name": "red", "color": [255, 0, 0]},
    {"id": 5, "name": "blue", "color": [0, 0, 255]},
]


@pytest.mark.parametrize("mask", [RGB, np.array([[4, 5, 0, 4]], np.uint8)], ids=["colours", "ids"])
def test_rgb_masks_are_read_by_the_colours_of_classes_json(mask, tmp_path):
    save(tmp_path / "data/images/a.png")
    save(tmp_path / "data/masks/a.png", mask)
    (tmp_path / "data/classes.json").write_text(json.dumps({"categories": CLASSES}))
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert found["a"].names == [["red", "blue", "none", "red"]]


def test_values_that_are_stated_go_before_colours(tmp_path):
    save(tmp_path / "images/a.png")
    save(tmp_path / "masks/a.png", RGB)
    stated = [
        {**item, "values": [value]} for item, value in zip(CLASSES, ("#000000", "#0000ff", "#ff0000"), strict=True)
    ]
    (tmp_path / "classes.json").write_text(json.dumps({"categories": stated}))
    found = read_all(tmp_path, tmp_path / "scratch")
    assert found["a"].names == [["blue", "red", "none", "blue"]]


@pytest.mark.parametrize("form", ["files", "pages", "ome"])
def test_one_mask_a_class(form, tmp_path):
    root = tmp_path / "data"
    save(root / "images/a.png")
    save(root / "images/b.png")
    layers = np.array([[[0, 9, 9, 0]], [[0, 0, 9, 9]]], np.uint32)  # the first keeps what both claim
    (root / "masks").mkdir()
    if form == "files":
        for name, layer in zip(("11", "12"), layers, strict=True):
            tifffile.imwrite(root / "masks" / f"a_{name}.ome.tif", layer)
    elif form == "pages":
        tifffile.imwrite(root / "masks/a.tif", layers, photometric="minisblack")
    else:
        tifffile.imwrite(
            root / "masks/a.ome.tif",
            layers,
            photometric="minisblack",
            metadata={"axes": "CYX", "Channel": {"Name": ["11", "12"]}},
        )
    assert recognised(root) == ["layers"]
    found = read_all(root, tmp_path / "scratch")
    first, second = ("1", "2") if form == "pages" else ("11", "12")
    assert found["a"].names == [["background", first, first, second]]
    assert found["a"].ids.tolist() == [[0, 1, 1, 2]]
    assert found["b"].names is None


def test_layers_of_two_sizes_are_named(tmp_path):
    save(tmp_path / "data/images/a.png")
    save(tmp_path / "data/masks/a_1.png")
    save(tmp_path / "data/masks/a_2.png", BINARY[:, :3])
    with pytest.raises(DataError, match=r"a_2\.png"):
        read_all(tmp_path / "data", tmp_path / "scratch")


@real
def test_real_teeth_one_file_a_tooth(tmp_path):
    root = FIXTURES / "ufba_native_ometiff"
    assert recognised(root) == ["layers"]
    (found,) = read_all(root, tmp_path).values()
    names = np.array(found.names)
    assert set(names.ravel()) == {"background", "11", "12", "13", "14"}
    for number, tooth in enumerate(("11", "12", "13", "14"), 1):
        with Image.open(root / "labels" / f"cate1-00002_{tooth}.ome.tiff") as file:  # Pillow alone
            wanted = np.asarray(file) > 0
        assert wanted.any() and np.array_equal(found.ids == number, wanted) and (names[wanted] == tooth).all()


@real
def test_real_16_bit_tiffs_beside_each_other(tmp_path):
    root = FIXTURES / "stardist_tiff"
    assert recognised(root) == ["pairs"]
    (found,) = read_all(root, tmp_path, classes="binary").values()
    with Image.open(root / "mask2d.tif") as file:
        wanted = np.asarray(file)
    assert np.array_equal(np.array(found.names) == "foreground", wanted > 0)
    assert found.image.dtype == np.uint16


@real
@pytest.mark.parametrize("folder", ["dataset", "non_standard_dataset"])
def test_datumaro_images_and_colour_masks(folder, tmp_path):
    root = MINI / "common_semantic_segmentation_dataset" / folder
    assert recognised(root) == ["folder"]
    first, second = read_all(root, tmp_path).values()
    assert first.names == [["Bicyclist", "Bicyclist", "Road", "Bicyclist", "Bicyclist"]]
    assert second.names == [
        ["Animal", "Animal", "Animal", "Child", "Child"]
        if folder == "dataset"
        else ["Animal", "Animal", "Road", "SignSymbol", "SignSymbol"]
    ]

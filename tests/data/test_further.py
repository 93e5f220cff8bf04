"""Folders besides the main one: labels arrive in the main folder's categories, by name."""

import json

import cv2
import numpy as np
import polars as pl
import pytest

from maskwright.data.categories import read_label
from maskwright.data.images import read_image
from maskwright.data.index import build_index, load_index
from maskwright.errors import DataError, RecipeError
from maskwright.recipe.data import DataSpec


def folder(root, values, classes, *, names=("a",), masks=True):
    """Write images whose masks hold the values as columns of 4 pixels, and their classes.json."""
    for name in names:
        mask = np.repeat(np.repeat(np.array([values]), 8, 0), 4, 1).astype(np.uint8)
        for part, array in (("images", mask * 3 + len(name)), ("masks", mask)):
            if part == "images" or masks:
                (root / part).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(root / part / f"{name}.png"), array)
    if classes is not None:
        (root / "classes.json").write_text(json.dumps(classes))
    return root


REAL = {"categories": [{"id": 0, "name": "sky"}, {"id": 7, "name": "rock", "values": [4, 5]}], "ignore": 9}


def test_labels_follow_names_whatever_their_values(tmp_path):
    real = folder(tmp_path / "real", [0, 4, 5, 9], REAL)
    twin = folder(tmp_path / "twin", [1, 2, 3], {"1": "rock", "2": "sky", "3": "truck"}, names=("a", "b"))
    spec = DataSpec.model_validate(
        {
            "root": str(real),
            "further": [
                {"root": str(twin), "domain": "synthetic", "map": {"rock": "rock", "sky": "sky", "truck": None}}
            ],
        }
    )
    index, resolved, _ = build_index(spec, tmp_path / "imported")
    assert index.images == ["images/a.png", "@/images/further-1/a.png", "@/images/further-1/b.png"]
    assert index.table["domain"].to_list() == [None, "synthetic", "synthetic"]
    # rock is position 1, sky 0; the truck is ignored
    assert read_label(index.path(index.table["mask"][1]), index.categories)[0].tolist() == [1] * 4 + [0] * 4 + [255] * 4
    assert np.array_equal(read_image(index.path(index.images[2])), read_image(twin / "images" / "b.png"))
    index.table.write_parquet(tmp_path / "index.parquet")
    again = load_index(tmp_path / "index.parquet", resolved)
    assert np.array_equal(again.read(1).label, index.read(1).label)


def test_a_category_that_one_folder_alone_has_must_be_mapped(tmp_path):
    real = folder(tmp_path / "real", [0, 4, 5, 9], REAL)
    twin = folder(tmp_path / "twin", [1, 2, 3], {"1": "rock", "2": "sky", "3": "truck"})
    spec = DataSpec.model_validate({"root": str(real), "further": [{"root": str(twin)}]})
    with pytest.raises(DataError, match="truck"):
        build_index(spec, tmp_path / "imported")


def test_colours_and_instances_of_a_binary_task(tmp_path):
    real, twin = tmp_path / "real", folder(tmp_path / "twin", [0, 2, 3], None, names=("c",))
    (twin / "masks").rename(twin / "instances")
    folder(real, [0, 1], None, names=("u",))
    (real / "masks").rename(real / "instances")
    spec = DataSpec.model_validate({"root": str(real), "classes": "binary", "further": [{"root": str(twin)}]})
    index, _, _ = build_index(spec, tmp_path / "imported")
    assert index.target == "instances"
    assert index.read(1).label[0].tolist() == [0] * 4 + [1] * 8


def test_a_main_folder_without_labels_takes_the_categories_of_its_twin(tmp_path):
    real = folder(tmp_path / "real", [0, 4], None, names=("u",), masks=False)
    twin = folder(tmp_path / "twin", [5, 6], {"5": "sky", "6": "rock"})
    spec = DataSpec.model_validate({"root": str(real), "further": [{"root": str(twin)}]})
    index, _, _ = build_index(spec, tmp_path / "imported")
    assert index.categories.names == ["sky", "rock"]
    assert index.labelled.images == ["@/images/further-1/a.png"]
    assert index.labelled.read(0).label[0].tolist() == [0] * 4 + [1] * 4
    assert pl.Series(index.unlabelled.images).to_list() == ["images/u.png"]


def test_colour_masks_of_the_main_folder(tmp_path):
    real = folder(tmp_path / "real", [0, 1], None)
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:, 4:] = (0, 0, 255)  # red in OpenCV's order
    assert cv2.imwrite(str(real / "masks" / "a.png"), colours)
    red = {"id": 1, "name": "rock", "values": ["#ff0000"]}
    (real / "classes.json").write_text(json.dumps({"categories": [{"id": 0, "name": "sky"}, red]}))
    twin = folder(tmp_path / "twin", [5, 6], {"5": "rock", "6": "sky"}, names=("t",))
    spec = DataSpec.model_validate({"root": str(real), "further": [{"root": str(twin)}]})
    index, _, _ = build_index(spec, tmp_path / "imported")
    assert index.read(1).label[0].tolist() == [1] * 4 + [0] * 4


def presence(tmp_path, **fields):
    """Return which images are taken of a folder with soil, truck, train, both, and a bit of truck."""
    real = folder(tmp_path / "real", [0], {"0": "soil", "1": "truck", "2": "train"})
    other = tmp_path / "other"
    for name, values in {"s": [5], "tk": [5, 6], "tn": [5, 7], "both": [6, 7], "bit": [5] * 9 + [6]}.items():
        folder(other, values, {"5": "soil", "6": "truck", "7": "train"}, names=(name,))
    spec = DataSpec.model_validate({"root": str(real), "further": [{"root": str(other), **fields}]})
    index, _, source = build_index(spec, tmp_path / "imported")
    return sorted(image.split("/")[-1] for image in index.images[1:]), source.notes


def test_images_of_another_source_are_chosen_by_the_categories_that_they_hold(tmp_path):
    images, notes = presence(tmp_path, holds=["truck", "train"])
    assert images == ["both.png"]
    assert any("1 of 5 images hold truck and train" in note for note in notes)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"holds": ["truck", "train"], "holds_rule": "any"}, ["bit.png", "both.png", "tk.png", "tn.png"]),
        ({"holds": ["truck"], "holds_share": 0.1}, ["both.png", "tk.png"]),  # a tenth isn't above a tenth
        ({"holds": ["truck"], "holds_share": 0.09}, ["bit.png", "both.png", "tk.png"]),
        ({"holds": ["truck"], "map": {"soil": "soil", "truck": None, "train": "train"}}, []),
        ({"holds": ["truck"], "map": {"soil": "soil", "truck": "train", "train": "truck"}}, ["both.png", "tn.png"]),
    ],
)
def test_the_rule_of_presence(tmp_path, fields, expected):
    assert presence(tmp_path, **fields)[0] == expected


def test_presence_of_a_category_that_there_is_not(tmp_path):
    with pytest.raises(RecipeError, match=r"soil, truck, train.*got truk\n.*holds"):
        presence(tmp_path, holds=["truk"])


def test_an_image_without_a_mask_holds_nothing(tmp_path):
    real = folder(tmp_path / "real", [0], {"0": "soil", "1": "truck"})
    other = folder(tmp_path / "other", [5, 6], {"5": "soil", "6": "truck"})
    folder(other, [5], None, names=("bare",), masks=False)
    spec = DataSpec.model_validate({"root": str(real), "further": [{"root": str(other), "holds": ["truck"]}]})
    index, _, _ = build_index(spec, tmp_path / "imported")
    assert index.images[1:] == ["@/images/further-1/a.png"]


def test_objects_of_further_instance_maps_are_the_mains_without_a_map(tmp_path):
    """Neither folder names its categories: both have objects."""
    for name in ("main", "more"):
        (folder(tmp_path / name, [0, 1], None, names=(name,)) / "masks").rename(tmp_path / name / "instances")
    spec = DataSpec.model_validate({"root": str(tmp_path / "main"), "further": [{"root": str(tmp_path / "more")}]})
    index, resolved, _ = build_index(spec, tmp_path / "imported")
    assert (resolved.task, index.categories.names) == ("instances", ["background", "object"])
    assert index.read_instances(1)[0].tolist() == [0] * 4 + [1] * 4

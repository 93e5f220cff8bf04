"""nnU-Net's raw layout: channels, labels of dataset.json, images to test, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from reading import read_all

from maskwright.data.convert import convert
from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError, UsageError
from maskwright.recipe.data import DataSpec

LABELS = {"background": 0, "organ": 1, "tumour": 2, "ignore": 3}
MASK = np.array([[0, 1, 2, 3]], np.uint8)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def make(root, *, channels=1, labels=LABELS, ending=".png"):
    for channel in range(channels):
        save(root / "imagesTr" / f"case_1_{channel:04d}.png", np.full((1, 4), 10 * channel, np.uint8))
    save(root / "labelsTr/case_1.png", MASK)
    save(root / "imagesTs/case_2_0000.png", MASK)
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ending}))


def test_labels_are_those_of_dataset_json(tmp_path):
    make(tmp_path / "data")
    assert recognised(tmp_path / "data") == ["nnunet"]
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert {name: (f.names, f.part) for name, f in found.items()} == {
        "imagesTr/case_1_0000": ([["background", "organ", "tumour", None]], None),
        "imagesTs/case_2_0000": (None, "unlabeled"),
    }


def test_images_to_test_that_have_labels_are_a_part(tmp_path):
    make(tmp_path)
    save(tmp_path / "labelsTs/case_2.png", MASK)
    save(tmp_path / "labelsTs/case_9.png", MASK)
    source = read_source(tmp_path)
    assert [(row.part, row.mask) for row in source.rows] == [
        (None, "labelsTr/case_1.png"),
        ("test", "labelsTs/case_2.png"),
    ]
    assert source.leftovers == ["labelsTs/case_9.png"]


def test_three_channels_are_one_rgb_image(tmp_path):
    make(tmp_path / "data", channels=3)
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert found["case_1"].image.tolist() == [[[0, 10, 20]] * 4]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ending": ".nii.gz"}, r"got \.nii\.gz; volumes"),
        ({"channels": 2}, "0000, 0001"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "regions, which join labels"),
        ({"labels": ["background"]}, "labels like"),
    ],
)
def test_what_is_refused(change, words, tmp_path):
    make(tmp_path, **change)
    with pytest.raises(DataError, match=words):
        read_source(tmp_path)


def test_a_name_without_a_channel_is_named(tmp_path):
    make(tmp_path)
    save(tmp_path / "imagesTr/case_7.png", MASK)
    with pytest.raises(DataError, match=r"case_7\.png"):
        read_source(tmp_path)


def test_channels_of_two_sizes_are_named(tmp_path):
    make(tmp_path / "data", channels=3)
    save(tmp_path / "data/imagesTr/case_1_0001.png", np.zeros((2, 4), np.uint8))
    with pytest.raises(DataError, match=r"case_1_0001\.png"):
        read_all(tmp_path / "data", tmp_path / "scratch")


def folder(root, names=("train/a",), size=(1, 4)):
    for name in names:
        save(root / "images" / f"{name}.png", np.zeros(size, np.uint8))
        save(root / "masks" / f"{name}.png", np.array([[3, 7, 255, 3]], np.uint8))
    (root / "classes.json").write_text(
        '{"categories": [{"id": 3, "name": "sky"}, {"id": 7, "name": "rock"}], "ignore": 255}'
    )


def test_what_is_written_is_what_nnunet_wants(tmp_path):
    folder(tmp_path / "data")
    convert(DataSpec(root=str(tmp_path / "data")), tmp_path / "out", "nnunet")
    assert json.loads((tmp_path / "out/dataset.json").read_text()) == {
        "channel_names": {"0": "gray"},
        "labels": {"background": 0, "sky": 1, "rock": 2, "ignore": 3},  # from 0 on, background first, ignore last
        "numTraining": 1,
        "file_ending": ".png",
    }
    assert np.asarray(Image.open(tmp_path / "out/labelsTr/train__a.png")).tolist() == [[1, 2, 3, 1]]
    found = read_all(tmp_path / "out", tmp_path / "scratch")["imagesTr/train__a_0000"]
    assert (found.names, found.part) == ([["sky", "rock", None, "sky"]], "train")
    assert [c.id for c in read_source(tmp_path / "out").categories] == [3, 7]


@pytest.mark.parametrize("names", [("a/b", "a__b")])
def test_names_that_would_be_one_are_not_written(names, tmp_path):
    folder(tmp_path / "data", names)
    with pytest.raises(UsageError, match="a/b and a__b"):
        convert(DataSpec(root=str(tmp_path / "data")), tmp_path / "out", "nnunet")

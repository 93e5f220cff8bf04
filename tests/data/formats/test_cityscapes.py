"""Cityscapes: which file the masks are taken from, what is an object, and what the names of files say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from reading import read_all
from real import MINI, real

from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.streets import CITYSCAPES, STREET_16, STREET_19

IDS = np.array([[7, 23, 26, 26003, 24001], [0, 11, 29001, 33002, 1]], np.int32)
NAMES = [["road", "sky", "car", "car", "person"], [None, "building", None, "bicycle", None]]
THINGS = [[0, 0, 0, 26003, 24001], [0, 0, 0, 33002, 0]]  # 26: cars in a group; 29: caravan, not one of the 19


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16 if values.max() > 255 else np.uint8)).save(path)


def make(root, kinds, *, truth="gtFine", part="train", name="ulm_000001_000019"):
    labels = np.where(IDS >= 1000, IDS // 1000, IDS)
    trained = [STREET_19.index(n) if n in STREET_19 else 255 for n in CITYSCAPES][: labels.max() + 1]
    values = {"instanceIds": IDS, "labelIds": labels, "labelTrainIds": np.array(trained)[labels]}
    save(root / "leftImg8bit" / part / "ulm" / f"{name}_leftImg8bit.png", np.zeros((2, 5)))
    for kind in kinds:
        save(root / truth / part / "ulm" / f"{name}_{truth}_{kind}.png", values[kind])


@pytest.mark.parametrize(
    ("kinds", "ids"),
    [
        (("labelIds",), None),
        (("labelTrainIds",), None),
        (("instanceIds",), THINGS),
        (("labelIds", "instanceIds"), THINGS),
        (("labelTrainIds", "instanceIds"), THINGS),
        (("labelIds", "labelTrainIds", "instanceIds"), THINGS),
    ],
)
@pytest.mark.parametrize("truth", ["gtFine", "gtCoarse"])
def test_each_kind_of_file_says_the_same(kinds, ids, truth, tmp_path):
    make(tmp_path / "data", kinds, truth=truth)
    assert recognised(tmp_path / "data") == ["cityscapes"]
    (found,) = read_all(tmp_path / "data", tmp_path / "scratch").values()
    assert found.names == NAMES
    assert ids is None if found.ids is None else found.ids.tolist() == ids
    assert (found.part, found.meta) == (
        "train",
        {"city": "ulm", "sequence": "ulm_000001", "frame": "000019"},
    )


def test_label_ids_are_read_from_the_file_itself_and_images_without_are_unlabelled(tmp_path):
    make(tmp_path, ("labelIds", "labelTrainIds"))
    make(tmp_path, (), part="test", name="bonn_000000_000001")
    rows = {row.part: row for row in read_source(tmp_path).rows}
    assert rows["train"].mask == "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"
    assert (rows["train"].render, rows["test"].mask, rows["test"].instances) == (None, None, None)


def test_an_image_without_label_ids_among_others_takes_them_from_its_instance_ids(tmp_path):
    make(tmp_path / "data", ("labelIds",))
    make(tmp_path / "data", ("instanceIds",), name="ulm_000002_000019")
    make(tmp_path / "data", ("labelTrainIds",), name="ulm_000003_000019")
    found = list(read_all(tmp_path / "data", tmp_path / "scratch").values())
    assert [f.names for f in found] == [NAMES, NAMES, None]
    assert read_source(tmp_path / "data").leftovers == ["gtFine/train/ulm/ulm_000003_000019_gtFine_labelTrainIds.png"]


def test_gt_fine_goes_before_gt_coarse(tmp_path):
    make(tmp_path, ("labelIds",), truth="gtCoarse", part="train_extra")
    make(tmp_path, ("labelIds",))
    assert {row.part: row.mask is None for row in read_source(tmp_path).rows} == {"train": False, "train_extra": True}


def test_the_categories_are_the_19_with_their_train_ids(tmp_path):
    make(tmp_path, ("labelIds",))
    categories = read_source(tmp_path).categories
    assert [(c.id, c.name) for c in categories] == list(enumerate(STREET_19))
    assert [c.name for c in categories if c.isthing] == [
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"
    ]  # fmt: skip
    assert set(STREET_19) - set(STREET_16) == {"terrain", "truck", "train"}


@real
def test_datumaro_instance_ids_alone(tmp_path):
    # 3 is void; in this copy objects of one class that are not numbered stand as the class id itself
    found = read_all(MINI / "cityscapes_dataset/dataset", tmp_path)
    names = {name.rsplit("/", 1)[-1]: (f.part, f.names) for name, f in found.items()}
    assert names == {
        "defaultcity_000001_000031_leftImg8bit": ("test", [[None, None, "truck", "truck", "truck"]]),
        "defaultcity_000001_000032_leftImg8bit": ("test", [["train", "train", "wall", None, None]]),
        "defaultcity_000002_000045_leftImg8bit": ("train", [[None, None, "person", None, None]]),
        "defaultcity_000001_000019_leftImg8bit": ("val", [[None] * 5]),
    }


@real
def test_datumaro_train_ids_with_instance_ids(tmp_path):
    found = read_all(MINI / "cityscapes_dataset/train_dataset", tmp_path)
    first = found["leftImg8bit/test/defaultcity/defaultcity_000001_000031_leftImg8bit"]
    assert first.names == [[None, None, "truck", "truck", "truck"]]
    assert first.ids.tolist() == [[0, 0, 27001, 27002, 27002]]

"""One mask an object: ids, overlaps, folders without masks; what can't be written so."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from reading import read_all
from real import FIXTURES, real

from maskwright.data.convert import convert
from maskwright.data.formats import read_source, recognised
from maskwright.data.images import read_values
from maskwright.errors import DataError, UsageError
from maskwright.recipe.data import DataSpec

LEFT = np.array([[255, 255, 0, 0]], np.uint8)
MIDDLE = np.array([[0, 255, 255, 0]], np.uint8)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def make(root, name="stage1_train/a", masks=(LEFT, MIDDLE)):
    place = root / name
    save(place / "images" / f"{place.name}.png", np.zeros((1, 4), np.uint8))
    if masks is not None:
        (place / "masks").mkdir()
    for number, mask in enumerate(masks or ()):
        save(place / "masks" / f"{number}.png", mask)


def test_the_first_of_two_objects_keeps_the_pixels_they_share(tmp_path):
    make(tmp_path / "data")
    make(tmp_path / "data", "stage1_train/empty", ())
    make(tmp_path / "data", "stage1_test/bare", None)
    assert recognised(tmp_path / "data") == ["dsb2018"]
    found = list(read_all(tmp_path / "data", tmp_path / "scratch").values())
    assert [f.part for f in found] == ["test", "train", "train"]
    assert [f.names for f in found] == [None, [["foreground"] * 3 + ["background"]], [["background"] * 4]]
    assert [None if f.ids is None else f.ids.tolist() for f in found] == [None, [[1, 1, 2, 0]], [[0, 0, 0, 0]]]


def test_a_mask_of_another_size_is_named(tmp_path):
    make(tmp_path / "data", masks=(LEFT, np.zeros((2, 4), np.uint8)))
    with pytest.raises(DataError, match=r"4×1(.|\n)*1\.png"):
        read_all(tmp_path / "data", tmp_path / "scratch")


def test_a_folder_with_images_of_other_names_is_not_it(tmp_path):
    make(tmp_path / "data")
    (tmp_path / "data/stage1_train/a").rename(tmp_path / "data/stage1_train/b")
    assert recognised(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("mask", "ids", "words"),
    [
        (LEFT // 255, None, "a mask without them"),
        (LEFT // 255, MIDDLE // 255, "a mask of other pixels"),
        (np.array([[1, 1, 0, 255]], np.uint8), LEFT // 255, "ignored pixels"),
    ],
)
def test_labels_that_are_no_objects_are_not_written(mask, ids, words, tmp_path):
    for folder, values in (("images", LEFT), ("masks", mask), ("instances", ids)):
        if values is not None:
            save(tmp_path / "data" / folder / "a.png", values)
    (tmp_path / "data/classes.json").write_text(
        '{"categories": [{"id": 0, "name": "none"}, {"id": 1, "name": "cell"}], "ignore": 255}'
    )
    with pytest.raises(UsageError, match=words):
        convert(DataSpec(root=str(tmp_path / "data")), tmp_path / "out", "dsb2018")


@real
def test_real_nuclei_from_masks_and_from_run_lengths_are_the_same(tmp_path):
    root = FIXTURES / "dsb2018_native"
    assert recognised(root) == ["dsb2018", "rle_csv"]
    with pytest.raises(DataError, match="dsb2018, rle_csv"):
        read_source(root)
    masks = read_all(root, tmp_path / "masks", format="dsb2018")
    runs = read_all(root, tmp_path / "runs", format="rle_csv")
    assert len(masks) == 3
    by_stem = {name.rsplit("/", 1)[-1]: found for name, found in runs.items()}
    for name, found in masks.items():
        other = by_stem[name.rsplit("/", 1)[-1]]
        assert found.names == other.names
        # the CSV lists objects in an order of its own: the same regions, whatever their numbers
        pairs = set(zip(found.ids.ravel().tolist(), other.ids.ravel().tolist(), strict=True))
        assert len(pairs) == found.ids.max() + 1 == other.ids.max() + 1


@real
def test_real_nuclei_are_the_id_maps_made_from_them(tmp_path):
    found = read_all(FIXTURES / "dsb2018_native", tmp_path, format="dsb2018")
    for name, one in found.items():
        kept = FIXTURES.parent / "dsb2018/instances" / f"{name.rsplit('/', 1)[-1][:16]}.png"
        if kept.is_file():
            assert np.array_equal(read_values(kept), one.ids)

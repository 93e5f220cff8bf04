"""A folder that no layout fits is told where the data set is: above it, or in it."""

from __future__ import annotations

import pytest

import make_images as make
from maskwright.data.formats import read_source
from maskwright.errors import DataError


def data_set(root):
    for name in "xy":  # one image a folder would be DSB-2018
        make.gray_png(root / "images", name)
        make.palette_png(root / "masks", name)
    return root


def failure(root, format_name="auto"):
    with pytest.raises(DataError) as error:
        read_source(root, format_name)
    return str(error.value)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_part_of_a_data_set_names_the_folder_above(tmp_path, part):
    root = data_set(tmp_path / "teeth")
    assert f"give the folder above, which holds all of it: {root}" in failure(root / part)


def test_a_folder_of_data_sets_lists_them(tmp_path):
    for name in "ab":
        data_set(tmp_path / name)
    (tmp_path / "notes").mkdir()
    (data_set(tmp_path / "run") / ".tasks").mkdir()  # a run is no data
    assert "give one of the data folders in it: a/, b/; data.further" in failure(tmp_path)


def test_of_many_data_sets_some_are_named(tmp_path):
    for number in range(10):
        data_set(tmp_path / f"set{number}")
    assert "set6/, set7/ and 2 more" in failure(tmp_path)


def test_elsewhere_nothing_is_guessed(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "pictures").mkdir()
    for folder in ("images", "pictures"):
        assert "move the images into images/" in failure(tmp_path / folder)


@pytest.mark.parametrize(("name", "word"), [("cocco", "did you mean coco?"), ("qqq", "use one of these")])
def test_an_unknown_format_gets_the_nearest(tmp_path, name, word):
    assert word in failure(data_set(tmp_path), name)

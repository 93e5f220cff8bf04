"""Masks in a folder of another name are not read, but what is missing is said with their folder's name."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import make_images as make
from maskwright.data.index import build_index
from maskwright.data.mislaid import like_masks, unread
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec

NAMES = ("a", "b", "c", "d")


def images(root):
    for name in NAMES:
        make.gray_png(root / "images", name)
    return root


def masks(root, folder, names=NAMES):
    for name in names:
        make.palette_png(root / folder, name)


def failure(root, **fields):
    with pytest.raises(DataError) as error:
        build_index(DataSpec(root=str(root), **fields))
    return str(error.value)


def test_folders_with_a_file_for_half_of_the_images_look_like_masks(tmp_path):
    root = images(tmp_path)
    masks(root, "semantic")
    masks(root, "half", NAMES[:2])
    masks(root, "few", NAMES[:1])
    masks(root, "gt_ends", [f"{name}_mask" for name in NAMES])
    masks(root, "others", ["x", "y", "z"])
    masks(root, "unlabeled")
    masks(root, ".hidden")
    (root / "drawn").mkdir()
    for name in NAMES:
        make.bgr_jpeg(root / "drawn", name)
    assert like_masks(root, NAMES) == ["gt_ends/ (4 of 4 names)", "half/ (2 of 4 names)", "semantic/ (4 of 4 names)"]


def test_without_masks_the_folder_to_rename_is_named(tmp_path):
    root = images(tmp_path)
    masks(root, "semantic")
    said = failure(root)
    assert "semantic/ (4 of 4 names); rename (or copy) the right one to masks/" in said
    shutil.move(root / "semantic", root / "masks")
    assert len(build_index(DataSpec(root=str(root)))[0].labelled) == 4


def test_without_any_the_place_for_masks_is_named(tmp_path):
    assert f"put label files into {tmp_path}/masks under the names of their images" in failure(images(tmp_path))


def test_instances_alone_name_both_ways_on_and_what_stays_ignored(tmp_path):
    root = images(tmp_path)
    masks(root, "instances")
    masks(root, "semantic")
    (root / "classes.json").write_text('{"categories": [{"id": 0, "name": "ground"}], "ignore": 255}')
    said = failure(root)
    assert "--classes binary" in said
    assert "what classes.json ignores, 255, stays ignored" in said
    assert "what looks like masks to masks/: semantic/ (4 of 4 names)" in said
    shutil.rmtree(root / "semantic")
    (root / "classes.json").unlink()
    assert "looks like masks" not in failure(root, task="semantic")


def test_label_files_of_a_format_that_is_not_read_are_named(tmp_path):
    root = images(tmp_path)
    (root / "instances").mkdir()
    for name in NAMES:
        np.save(root / "instances" / f"{name}.npy", np.zeros((4, 4), np.int32))
    (root / "instances" / "notes.txt").write_text("drawn in May\n")
    said = failure(root)
    assert "instances/*.npy (4 files) aren't read as label files: save them as PNG or TIFF" in said
    assert "notes" not in said
    assert unread(root, ["a"]) == ["instances/*.npy (1 file)"]

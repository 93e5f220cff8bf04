"""GTA-V: palette masks of label ids and RGB masks of colours mean the same; parts from split.mat."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from reading import read_all
from scipy.io import savemat

from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.streets import CITYSCAPES
from maskwright.errors import DataError

IDS = np.array([[7, 11, 23, 26], [0, 17, 31, 5]], np.uint8)
NAMES = [["road", "building", "sky", "car"], [None, "pole", "train", None]]


def make(root, *, rgb, name="00001"):
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(root / "images" / f"{name}.png")
    palette = np.zeros((256, 3), np.uint8)
    for number, color in CITYSCAPES.values():
        palette[number] = color
    mask = Image.fromarray(IDS)
    mask.putpalette(palette.ravel().tolist())
    (mask.convert("RGB") if rgb else mask).save(root / "labels" / f"{name}.png")


@pytest.mark.parametrize("rgb", [False, True])
def test_palette_and_rgb_masks_mean_the_same(rgb, tmp_path):
    make(tmp_path / "data", rgb=rgb)
    assert recognised(tmp_path / "data") == ["gtav"]
    (found,) = read_all(tmp_path / "data", tmp_path / "scratch").values()
    assert (found.names, found.ids) == (NAMES, None)


def test_parts_are_those_of_split_mat(tmp_path):
    for name in ("00001", "00002", "00003"):
        make(tmp_path, rgb=False, name=name)
    savemat(tmp_path / "split.mat", {"trainIds": [[2]], "valIds": [[1]], "testIds": [[9]]})
    assert [row.part for row in read_source(tmp_path).rows] == ["val", "train", None]


def test_a_split_that_can_not_be_read_is_named(tmp_path):
    make(tmp_path, rgb=False)
    (tmp_path / "split.mat").write_bytes(b"MATLAB 5.0 cut")
    with pytest.raises(DataError, match=r"split\.mat"):
        read_source(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_masks_of_other_colours_are_not_taken_for_it(content, tmp_path):
    make(tmp_path, rgb=False)
    (tmp_path / "labels/00001.png").write_bytes(content)
    assert recognised(tmp_path) == ["folder"]
    Image.fromarray(np.full((2, 4, 3), (1, 2, 3), np.uint8)).save(tmp_path / "labels/00001.png")
    assert recognised(tmp_path) == ["folder"]

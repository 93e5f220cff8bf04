"""SYNTHIA: class and object in two 16-bit channels, colour masks of the smaller sets, and lists of colours."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from reading import read_all
from real import MINI, real

from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.streets import STREET_16
from maskwright.data.formats.synthia import read_two_channels
from maskwright.errors import DataError

CLASSES = np.array([[3, 1, 8, 8], [0, 22, 18, 21]])
OBJECTS = np.array([[0, 0, 257, 12], [0, 0, 70, 0]])
NAMES = [["road", "sky", "car", "car"], [None, None, None, "wall"]]  # void, lane marking, truck: none of the 16


CUSTOM = [["sky", "sky", "sky", "road", "road"], ["building", "building", "person", "person", "road"]]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(channels, color_type):
    """Return a 16-bit PNG of (H, W, C) by the format's own rules, no library between: filter 0, big-endian."""
    height, width, _ = channels.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in channels)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def make(root, data, labels="GT/LABELS"):
    for folder in ("RGB", labels):
        (root / folder).mkdir(parents=True)
    cv2.imwrite(str(root / "RGB/0000000.png"), np.zeros((2, 4, 3), np.uint8))
    (root / labels / "0000000.png").write_bytes(data)


@pytest.mark.parametrize(
    ("channels", "color_type"),
    [((CLASSES, OBJECTS), 4), ((CLASSES, OBJECTS, 0 * CLASSES), 2), ((CLASSES, OBJECTS, 0 * CLASSES, CLASSES), 6)],
)
def test_class_and_object_of_each_pixel(channels, color_type, tmp_path):
    make(tmp_path / "data", png16(np.stack(channels, -1), color_type))
    assert recognised(tmp_path / "data") == ["synthia"]
    (found,) = read_all(tmp_path / "data", tmp_path / "scratch").values()
    assert found.names == NAMES
    assert found.ids.tolist() == OBJECTS.tolist()  # the truck is an object without a class


def test_one_channel_has_no_objects(tmp_path):
    (tmp_path / "a.png").write_bytes(png16(CLASSES[..., None], 0))
    classes, objects = read_two_channels(tmp_path / "a.png")
    assert classes.tolist() == CLASSES.tolist() and not objects.any()


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n cut"])
def test_a_broken_file_is_named(data, tmp_path):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png"):
        read_two_channels(tmp_path / "a.png")


def test_the_categories_are_the_16_with_the_train_ids_of_cityscapes(tmp_path):
    make(tmp_path, png16(np.stack([CLASSES, OBJECTS], -1), 4))
    categories = read_source(tmp_path).categories
    assert [c.name for c in categories] == list(STREET_16)
    assert [c.id for c in categories] == [i for i in range(19) if i not in (9, 14, 16)]


def test_a_list_of_colours_that_can_not_be_read_is_named(tmp_path):
    make(tmp_path, cv2.imencode(".png", np.zeros((2, 4, 3), np.uint8))[1].tobytes(), labels="GT")
    (tmp_path / "label_colors.txt").write_text("0 0 sky\n")
    with pytest.raises(DataError, match=r"label_colors\.txt"):
        read_source(tmp_path)


@real
@pytest.mark.parametrize(
    ("folder", "names"),
    [
        (
            "rand",
            [
                ["sky", "sky", "building", "building", "road"],
                ["sky", "building", "traffic light", "traffic light", "road"],
            ],
        ),
        ("al", [["sky", "sky", "person", "person", "person"], ["car", "bicycle", "bicycle", "road", "road"]]),
        (
            "sf",
            [["road", "road", "terrain", "terrain", "terrain"], ["traffic sign", "sky", "sky", "building", "building"]],
        ),
        ("rand_custom_labelmap", CUSTOM),
        ("rand_meta_file", CUSTOM),
    ],
)
def test_datumaro_folders(folder, names, tmp_path):
    assert recognised(MINI / "synthia_dataset" / folder) == ["synthia"]
    found = read_all(MINI / "synthia_dataset" / folder, tmp_path)
    assert [f.names for f in found.values()] == [[line] for line in names]


def test_images_beside_the_masks_are_needed(tmp_path):
    (tmp_path / "GT").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "GT/a.png")
    assert "synthia" not in recognised(tmp_path)

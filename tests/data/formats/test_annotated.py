"""Rows that are drawn from shapes: sizes, EXIF orientation, names without suffix, categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_images as make
from maskwright.data.formats.annotated import Stems, declared, drawn_row, head, some_files
from maskwright.data.formats.lookup import Images
from maskwright.data.formats.pieces import Values
from maskwright.data.formats.shapes import Drawn, Region
from maskwright.data.images import read_image, read_values
from maskwright.data.imported import write_rows
from maskwright.errors import DataError

VALUES = Values({"thing": 1}, frozenset({"thing"}), 0, 255)


def corner(size: tuple[int, int]) -> list[Region]:
    """Return a region of the upper left 2 × 3 pixels."""
    return [Region("thing", Drawn(0, 0, np.ones((2, 3), bool)))]


def photo(root: Path, orientation: int, height: int = 12, width: int = 16) -> np.ndarray:
    """Write a JPEG with an orientation; its upright upper left corner is white, all else black."""
    exif = Image.Exif()
    exif[make.ORIENTATION] = orientation
    swapped = orientation >= 5
    upright = np.zeros((width, height) if swapped else (height, width), np.uint8)
    upright[:2, :3] = 255
    # what was done to the stored pixels to get these, undone: EXIF 2.3, table 6
    undone = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(undone[orientation](upright))
    Image.fromarray(stored).save(root / "a.jpg", exif=exif, quality=100, subsampling=0)
    return upright


@pytest.mark.parametrize("side", [16, 12])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_drawn_lies_on_the_upright_image(tmp_path, orientation, side):
    upright = photo(tmp_path, orientation, 12, side)
    row = drawn_row(tmp_path, "a.jpg", corner, VALUES, where="here", stated=upright.shape)
    written = write_rows([row], tmp_path / "imported")[0]
    image = tmp_path / "a.jpg"
    assert np.array_equal(read_image(image)[..., 0] > 128, upright > 0)
    for path in (written.mask, written.instances):
        values = read_values(tmp_path / "imported" / path.removeprefix("@/"))
        assert np.array_equal(values > 0, upright > 0)


def test_coordinates_of_the_stored_image_turn_with_it(tmp_path):
    photo(tmp_path, 6)  # stored 12 × 16, upright 16 × 12
    row = drawn_row(tmp_path, "a.jpg", corner, VALUES, where="here", stated=(12, 16))
    written = write_rows([row], tmp_path / "imported")[0]
    values = read_values(tmp_path / "imported" / written.mask.removeprefix("@/"))
    assert np.argwhere(values).min(0).tolist() == [0, 10]  # a quarter clockwise: the left end is at the top right
    assert values.shape == (16, 12)


def test_another_size_is_refused(tmp_path):
    make.gray_png(tmp_path, "a")
    row = drawn_row(tmp_path, "a.png", corner, VALUES, where="notes.xml, image a", stated=(16, 12))
    with pytest.raises(DataError, match=r"state, 12×16, got 16×12\n.*notes\.xml, image a"):
        row.render()


def test_a_declared_background_is_the_value_nought():
    categories, values = declared(["cat", "BACKGROUND", "dog", "cat"])
    assert values.ids == {"BACKGROUND": 0, "cat": 1, "dog": 2}
    assert [(c.id, c.name, c.isthing) for c in categories] == [
        (0, "BACKGROUND", False),
        (1, "cat", True),
        (2, "dog", True),
    ]


def test_images_are_found_by_name_without_suffix(tmp_path):
    for folder in ("one", "two", "two/masks"):
        make.gray_png(tmp_path / folder, "a.b")
    make.gray_png(tmp_path, "e\u0301")
    stems = Stems(Images(tmp_path))
    assert stems.find("a.b", where=tmp_path, beside="two") == "two/a.b.png"
    assert stems.find("one/a.b", where=tmp_path) == "one/a.b.png"
    assert stems.find("\u00e9", where=tmp_path) == "e\u0301.png"
    assert stems.find("a", where=tmp_path) is None
    with pytest.raises(DataError, match=r"one/a\.b\.png, two/a\.b\.png"):
        stems.find("a.b", where=tmp_path)


def test_looking_around_never_raises(tmp_path):
    assert some_files(tmp_path / "gone", ".xml") == []
    (tmp_path / "run" / ".tasks").mkdir(parents=True)
    (tmp_path / "run" / "a.xml").write_text("<a/>")
    (tmp_path / ".b.xml").write_text("<a/>")
    (tmp_path / "c.XML").write_bytes(b"\xef\xbb\xbf  <c>\xff")
    assert [path.name for path in some_files(tmp_path, ".xml")] == ["c.XML"]
    assert head(tmp_path / "c.XML").startswith("<c>")
    assert head(tmp_path / "gone") == ""

"""Submissions: what our own readers, NumPy and Pillow read back are the labels."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright.artifacts import write_json
from maskwright.cli import main
from maskwright.data.formats import read_source
from maskwright.data.submissions import SUBMISSIONS, write_submission
from maskwright.errors import DataError, UsageError
from maskwright.measure import measure_folder

COLORS = {0: (1, 2, 3), 3: (200, 10, 0), 7: (0, 99, 250)}
CLASSES = {
    "categories": [
        {"id": i, "name": name, "color": list(COLORS[i])} for i, name in ((0, "background"), (3, "a"), (7, "b"))
    ]
}
TWO = {"categories": CLASSES["categories"][:2]}


@pytest.fixture
def labels(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "deep/b", "empty"):
        values = np.array([0, 3, 7], np.uint8)[(rng.random((20, 30)) > 0.6) * rng.integers(1, 3, (20, 30))]
        save(tmp_path / "labels" / f"{name}.png", values * (name != "empty"))
    write_json(tmp_path / "labels" / "classes.json", CLASSES)
    return tmp_path / "labels"


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def values_of(labels, name):
    return np.asarray(Image.open(labels / f"{name}.png"))


def as_data(tmp_path, labels, csv):
    """Put a submission beside images, as training labels lie."""
    for name in ("a", "b", "empty"):
        save(tmp_path / "data" / f"{name}.png", np.zeros((20, 30), np.uint8))
    csv.rename(tmp_path / "data" / "train.csv")
    rows = read_source(tmp_path / "data", "rle_csv").rows
    return {row.image.removesuffix(".png"): row.render() for row in rows}


@pytest.mark.parametrize("rows", ["object", "class"])
def test_run_lengths_of_several_categories_are_read_back(labels, tmp_path, rows):
    assert write_submission(labels, tmp_path / "s.csv", "rle_csv", rows=rows) == 3
    table = pl.read_csv(tmp_path / "s.csv", infer_schema=False)
    assert table.columns == ["ImageId", "ClassId", "EncodedPixels"]
    assert set(table["ClassId"].drop_nulls()) == {"3", "7"}
    if rows == "class":
        assert table["ImageId"].to_list() == ["a", "a", "b", "b", "empty", "empty"]
    found = as_data(tmp_path, labels, tmp_path / "s.csv")
    for name, content in found.items():
        values = values_of(labels, "deep/b" if name == "b" else name)
        # the reader numbers the classes 3 and 7 by their place: 1 and 2
        assert np.array_equal(np.array([0, 3, 7])[content.mask], values)


def test_run_lengths_of_one_category_by_hand(tmp_path):
    # column by column from 1: rows 0..2 of column 0 are pixels 1..3, of column 1 4..6
    save(tmp_path / "labels" / "x.png", np.uint8([[3, 0, 3], [3, 0, 0], [0, 0, 3]]))
    write_json(tmp_path / "labels" / "classes.json", TWO)
    write_submission(tmp_path / "labels", tmp_path / "s.csv", "rle_csv")
    assert (tmp_path / "s.csv").read_text() == "ImageId,EncodedPixels\nx,1 2\nx,7 1\nx,9 1\n"
    write_submission(tmp_path / "labels", tmp_path / "c.csv", "rle_csv", rows="class")
    assert (tmp_path / "c.csv").read_text() == "ImageId,EncodedPixels\nx,1 2 7 1 9 1\n"
    save(tmp_path / "ids" / "x.png", np.uint8([[9, 0, 4], [9, 0, 0], [0, 0, 4]]))
    write_submission(tmp_path / "labels", tmp_path / "i.csv", "rle_csv", instances=tmp_path / "ids")
    assert (tmp_path / "i.csv").read_text() == "ImageId,EncodedPixels\nx,7 1 9 1\nx,1 2\n"


def test_an_id_is_one_object_of_most_of_its_pixels_and_what_has_none_is_kept(tmp_path):
    # id 5: five pixels of a, one of b, one of the background: one row of a with all seven. Its category b also lies
    # apart, without an id: a row of its own. The pixel of a that only touches id 5 is no object.
    save(tmp_path / "labels" / "x.png", np.uint8([[3, 3, 3, 0, 7], [3, 3, 7, 3, 7]]))
    save(tmp_path / "ids" / "x.png", np.uint8([[5, 5, 5, 5, 0], [5, 5, 5, 0, 0]]))
    write_json(tmp_path / "labels" / "classes.json", CLASSES)
    write_submission(tmp_path / "labels", tmp_path / "s.csv", "rle_csv", instances=tmp_path / "ids")
    # column by column from 1: the object is columns 0, 1, 2 and the top of 3; what is apart is column 4, pixels 9, 10
    assert (tmp_path / "s.csv").read_text() == "ImageId,ClassId,EncodedPixels\nx,3,1 7\nx,7,9 2\n"
    found = measure_folder(tmp_path / "labels", instances=tmp_path / "ids").per_object
    assert found.select("category", "object", "area").rows() == [("a", 5, 7.0), ("b", 6, 2.0)]


def test_an_image_without_objects_has_a_row(tmp_path):
    save(tmp_path / "labels" / "x.png", np.zeros((3, 3), np.uint8))
    write_json(tmp_path / "labels" / "classes.json", TWO)
    write_submission(tmp_path / "labels", tmp_path / "s.csv", "rle_csv")
    assert pl.read_csv(tmp_path / "s.csv", infer_schema=False).rows() in ([("x", None)], [("x", "")])


def test_a_stack_is_numpys_and_our_readers(labels, tmp_path):
    write_submission(labels, tmp_path / "s.npz", "npz")
    with np.load(tmp_path / "s.npz") as file:
        masks, names = file["masks"], file["names"]
    assert (masks.shape, masks.dtype, names.tolist()) == ((3, 20, 30), np.uint8, ["a", "deep/b", "empty"])
    assert all(np.array_equal(mask, values_of(labels, name)) for name, mask in zip(names, masks, strict=True))
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "d.npz", images=np.zeros_like(masks), masks=masks, training_names=names)
    for row in read_source(tmp_path / "data", "npz").rows:
        name = row.image.removeprefix("@/images/").removesuffix(".png")
        assert np.array_equal(row.render().mask, values_of(labels, name))


def test_pngs_in_a_zip(labels, tmp_path):
    write_submission(labels, tmp_path / "s.zip", "png_zip")
    write_submission(labels, tmp_path / "again.zip", "png_zip")
    assert (tmp_path / "s.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "s.zip") as file:
        assert file.namelist() == ["a.png", "deep/b.png", "empty.png"]
        file.extractall(tmp_path / "data" / "masks")
    for name in ("a", "deep/b", "empty"):
        save(tmp_path / "data" / "images" / f"{name}.png", np.zeros((20, 30), np.uint8))
        assert np.array_equal(values_of(tmp_path / "data" / "masks", name), values_of(labels, name))
    assert [row.mask for row in read_source(tmp_path / "data").rows] == [
        f"masks/{n}.png" for n in ("a", "deep/b", "empty")
    ]
    write_submission(labels, tmp_path / "c.zip", "png_zip", pixels="color")
    with zipfile.ZipFile(tmp_path / "c.zip") as file:
        shown = np.asarray(Image.open(io.BytesIO(file.read("a.png"))))
    for value, color in COLORS.items():
        assert (shown[values_of(labels, "a") == value] == color).all()


def test_ids_above_254_take_16_bits(tmp_path):
    save(tmp_path / "labels" / "x.png", np.uint16([[0, 3000]]))
    classes = [{"id": 0, "name": "background"}, {"id": 3000, "name": "a"}]
    write_json(tmp_path / "labels" / "classes.json", {"categories": classes, "ignore": 65535})
    write_submission(tmp_path / "labels", tmp_path / "s.zip", "png_zip")
    with zipfile.ZipFile(tmp_path / "s.zip") as file:
        assert np.asarray(Image.open(io.BytesIO(file.read("x.png")))).tolist() == [[0, 3000]]


def test_what_can_not_be_handed_in_is_said_and_leaves_no_file(labels, tmp_path):
    with pytest.raises(UsageError, match="one of rle_csv, npz, png_zip, cityscapes, got zip"):
        write_submission(labels, tmp_path / "s.zip", "zip")
    for to in SUBMISSIONS:
        with pytest.raises(UsageError, match="a file NAME"):
            write_submission(labels, tmp_path / "s.txt", to)
    save(labels / "c.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"labels of one size(.|\n)*c"):
        write_submission(labels, tmp_path / "s.npz", "npz")
    save(labels / "deep" / "c.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match="c and deep/c"):
        write_submission(labels, tmp_path / "s.csv", "rle_csv")
    (tmp_path / "ids").mkdir()
    save(tmp_path / "ids" / "q.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match="an id map, got none"):
        write_submission(labels / "deep", tmp_path / "s.csv", "rle_csv", instances=tmp_path / "ids")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []
    (tmp_path / "s.csv").write_text("mine")
    with pytest.raises(UsageError, match="stands already"):
        write_submission(labels, tmp_path / "s.csv", "rle_csv")


def test_the_command(labels, tmp_path, capsys):
    assert main(["submit", str(labels), "--to", "rle_csv", "--out", str(tmp_path / "s.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"images": 3, "out": str(tmp_path / "s.csv"), "format": "rle_csv"}

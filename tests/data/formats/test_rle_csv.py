"""Run lengths in a CSV: objects, classes in a column of their own or joined to the name, and rows that mean nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image
from reading import read_all

from maskwright.data.convert import convert
from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError, UsageError
from maskwright.recipe.data import DataSpec

# 2 rows, 3 columns, numbered down the columns: 1 3 5 / 2 4 6
FIRST = [[1, 0, 0], [1, 2, 0]]  # "1 2" and "4 1"
NAMES = [["foreground", "background", "background"], ["foreground", "foreground", "background"]]


def make(root, text, *, names=("images/a.png", "images/b.png"), table="train.csv"):
    root.mkdir(exist_ok=True)
    (root / table).write_text(text)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((2, 3), np.uint8)).save(root / name)


@pytest.mark.parametrize("suffix", ["", ".png", ".jpg"])
@pytest.mark.parametrize("head", ["ImageId,EncodedPixels", "\ufeffimage_id,encodedpixels", "id,EncodedPixels"])
def test_a_row_is_an_object_and_images_without_one_are_unlabelled(head, suffix, tmp_path):
    make(tmp_path / "data", f"{head}\na{suffix},1 2\na{suffix},4 1\n")
    assert recognised(tmp_path / "data") == ["rle_csv"]
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert (found["a"].names, found["a"].ids.tolist()) == (NAMES, FIRST)
    assert (found["b"].names, found["b"].part) == (None, "unlabeled")


@pytest.mark.parametrize("pixels", ["", '""', " ", "-1", " -1"])
def test_no_pixels_is_a_label_too(pixels, tmp_path):
    make(tmp_path / "data", f"ImageId,EncodedPixels\na,{pixels}\n")
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert found["a"].names == [["background"] * 3] * 2 and not found["a"].ids.any()


@pytest.mark.parametrize(
    "text",
    [
        "ImageId,ClassId,EncodedPixels\na.png,10,1 2\na.png,9,4 1\n",
        "EncodedPixels,ImageId_ClassId\n1 2,a.png_10\n4 1,a.png_9\n",
        "Image_Label,EncodedPixels\na.png_10,1 2\na.png_9,4 1\na.png_11,\n",
    ],
)
def test_classes_are_categories_in_the_order_of_their_numbers(text, tmp_path):
    make(tmp_path / "data", text)
    found = read_all(tmp_path / "data", tmp_path / "scratch")["a"]
    assert found.names == [["10", "background", "background"], ["10", "9", "background"]]
    assert found.ids.tolist() == FIRST
    names = [c.name for c in read_source(tmp_path / "data").categories]
    assert names == ["background", "9", "10", "11"][: len(names)]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ("1", "pairs of start and length"),
        ("6 2", "runs inside 3×2 pixels|runs inside 2×3 pixels"),
        ("0 1", "runs inside"),
        ("a b", "numbers, got a b"),
        ("4 1 1 1", "runs in the order"),
        ("1.5 1", "numbers, got 1.5 1"),
    ],
)
def test_wrong_run_lengths_name_file_and_image(pixels, words, tmp_path):
    make(tmp_path / "data", f"ImageId,EncodedPixels\na,{pixels}\n")
    with pytest.raises(DataError, match=rf"({words})(.|\n)*train\.csv: a"):
        read_all(tmp_path / "data", tmp_path / "scratch")


def test_images_that_are_not_there_are_leftovers_and_submissions_no_labels(tmp_path):
    make(tmp_path, "ImageId,EncodedPixels\na,1 2\nz,1 2\n")
    (tmp_path / "sample_submission.csv").write_text("ImageId,EncodedPixels\nb,1 1\n")
    source = read_source(tmp_path)
    assert source.leftovers == ["train.csv: z"]
    assert [row.mask is None for row in source.rows] == [False, True]


def test_two_tables_that_name_one_image_are_refused(tmp_path):
    make(tmp_path, "ImageId,EncodedPixels\na,1 2\n")
    (tmp_path / "more.csv").write_text("ImageId,EncodedPixels\na,4 1\n")
    with pytest.raises(DataError, match=r"a in more\.csv, train\.csv"):
        read_source(tmp_path)


def test_two_images_of_one_name_are_refused(tmp_path):
    make(tmp_path, "ImageId,EncodedPixels\na,1 2\n", names=("x/a.png", "y/a.png"))
    with pytest.raises(DataError, match=r"x/a\.png and y/a\.png"):
        read_source(tmp_path)


def test_images_of_one_name_in_two_folders_are_not_written(tmp_path):
    for part in ("train", "val"):
        for folder in ("images", "masks", "instances"):
            make(tmp_path / "data", "", names=(f"{folder}/{part}/a.png",), table=".none")
    (tmp_path / "data/classes.json").write_text('{"0": "background", "1": "cell"}')
    with pytest.raises(UsageError, match="train/a and val/a"):
        convert(DataSpec(root=str(tmp_path / "data")), tmp_path / "out", "rle_csv")


def test_a_hundred_thousand_rows_in_seconds(tmp_path):
    rows = "".join(f"i{number % 50},{number % 5 + 1} 1\n" for number in range(100_000))
    make(tmp_path, "ImageId,EncodedPixels\n" + rows, names=[f"i{number}.png" for number in range(50)])
    start = time.perf_counter()
    source = read_source(tmp_path)
    assert len(source.rows) == 50 and all(row.mask for row in source.rows)
    assert time.perf_counter() - start < 10  # measured: below 1 s

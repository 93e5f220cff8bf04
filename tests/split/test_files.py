"""Fold files: what is read as what, names that don't fit are listed, what is written is read back."""

from __future__ import annotations

import json

import polars as pl
import pytest

from make_contents import folds_of, images_of, split
from maskwright.errors import DataError, UsageError
from maskwright.recipe.data import SplitSpec
from maskwright.split import HELD_OUT, POOL, TRAINING
from maskwright.split.files import read_previous, read_stated, write_folds

IMAGES = ["images/train/a.png", "images/train/b.jpg", "images/c_0000.png", "images/d.png"]


@pytest.fixture
def file(tmp_path):
    def write(text, name="folds.csv"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("image,group,fold\nimages/train/a.png,g,0\nimages/train/b.jpg,g,0\nimages/c_0000.png,h,1\nimages/d.png,i,-1\n",
         [0, 0, 1, HELD_OUT]),
        ("name,fold\na,1\nb.jpg,2\nc,5\nd,\n", [0, 1, 2, POOL]),  # folds are numbered from 0; empty: the pool
        ("Name;Split\r\ntrain/a;train\r\ntrain/b;Training\r\nc_0000;VAL\r\nd;test\r\n",
         [TRAINING, TRAINING, HELD_OUT, HELD_OUT]),
        ("\ufeffname,part\n./images/train/a.png,0.0\nother/b.tif,1.0\nimages\\c_0000.png,held_out\nd.PNG,pool\n",
         [0, 1, HELD_OUT, POOL]),
        ("name,fold,part\na,0,train\nb,1,train\nc,,val\nd,-1,test\n", [0, 1, HELD_OUT, HELD_OUT]),
    ],
)  # fmt: skip
def test_tables(file, text, places):
    found = read_stated(file(text), IMAGES)
    assert [found.places[image] for image in IMAGES] == places


def test_the_group_column_is_read_and_labels_say_what_the_file_calls_its_folds(file):
    found = read_stated(file("name,group,fold\na,p,3\nb,p,3\nc,,7\nd,q,7\n"), IMAGES)
    assert found.groups == {IMAGES[0]: "p", IMAGES[1]: "p", IMAGES[3]: "q"}
    assert found.labels == ("3", "7")


def test_lists_of_nnunet(file):
    """Fold k is the val of the k-th; a list of one is a train/val split."""
    folds = [{"train": ["c", "d"], "val": ["train/a", "b"]}, {"train": ["train/a", "b"], "val": ["c", "d"]}]
    found = read_stated(file(folds, "splits_final.json"), IMAGES)
    assert [found.places[image] for image in IMAGES] == [0, 0, 1, 1]
    found = read_stated(file([{"train": ["a", "b", "c"], "val": ["d"]}], "splits_final.json"), IMAGES)
    assert [found.places[image] for image in IMAGES] == [TRAINING] * 3 + [HELD_OUT]


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("name,fold\na,0\nb,1\nc,0\nd,1\nnobody,1\nnothing,0\n", "f.csv", "2 that it has not: nobody, nothing"),
        ("name,fold\na,0\nb,1\n", "f.csv", "none for 2: images/c_0000.png, images/d.png"),
        ("name,fold\na,0\na.png,1\nb,1\nc,0\nd,1\n", "f.csv", "fit several images or rows: a.png"),
        ("name,fold\na,zero\nb,1\nc,0\nd,1\n", "f.csv", "zero of a"),
        ("name,fold\na,0.5\nb,1\nc,0\nd,1\n", "f.csv", "0.5 of a"),
        ("name,fold,part\na,0,val\nb,1,train\nc,0,\nd,1,\n", "f.csv", "fold 0 and part val of a"),
        ("name,part\na,train\nb,0\nc,1\nd,val\n", "f.csv", "either folds or parts"),
        ("name,fold\na,-1\nb,-1\nc,-1\nd,-1\n", "f.csv", "images to train on, got none"),
        ("case,when\na,0\n", "f.csv", "columns case, when"),
        ("", "f.csv", "columns (none)"),
        ("name,fold\na\nb,1\n", "f.csv", "2 columns in every row, got fewer: a"),
        ([{"train": ["a"]}], "s.json", '[{"train": ["a"]}]'),
        ([], "s.json", "a list of"),
        ('[{"train": ["a"', "s.json", "a JSON file"),
        ([{"train": ["c", "d"], "val": ["a", "b"]}, {"train": ["b"], "val": ["a", "c", "d"]}], "s.json",
         "several for a"),
        ([{"train": ["c"], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c", "d"]}], "s.json",
         "others in fold 0: d"),
        ([{"train": ["c", "d"], "val": ["a"]}, {"train": ["a", "d"], "val": ["c"]}], "s.json",
         "none for 2: images/train/b.jpg, images/d.png"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(file, text, name, words):
    with pytest.raises(DataError) as caught:
        read_stated(file(text, name), IMAGES)
    assert words in str(caught.value), str(caught.value)
    assert name in str(caught.value)


def test_a_bare_name_that_fits_two_images_is_an_error_and_a_longer_one_is_not(file):
    images = ["images/train/a.png", "images/val/a.png"]
    with pytest.raises(DataError, match="fit several images or rows: a, a"):
        read_stated(file("name,fold\na,0\na,1\n"), images)
    found = read_stated(file("name,fold\ntrain/a,0\nval/a,1\n"), images)
    assert list(found.places.values()) == [0, 1]


@pytest.mark.parametrize(("unlisted", "place"), [("pool", POOL), ("hold_out", HELD_OUT)])
def test_what_becomes_of_images_without_a_place_can_be_said(file, unlisted, place):
    found = read_stated(file("name,fold\na,0\nb,1\n"), IMAGES, unlisted=unlisted)
    assert [found.places[image] for image in IMAGES] == [0, 1, place, place]


def test_a_copy_that_has_a_labelled_image_s_mask_goes_where_that_goes(file):
    """An unlabelled copy is learned from with its twin's mask; who wrote the file knew of the twin alone."""
    copy, images = "unlabeled/u.png", [*IMAGES[:2], "unlabeled/u.png"]
    found = read_stated(file("name,fold\na,0\nb,1\n"), images, twins={copy: IMAGES[1]})
    assert [found.places[image] for image in images] == [0, 1, 1]
    found = read_stated(file("name,fold\na,0\nb,1\nu,\n"), images, twins={copy: IMAGES[1]})
    assert found.places[copy] == POOL  # what the file says of it holds
    with pytest.raises(DataError, match="none for 1: unlabeled/u"):
        read_stated(file("name,fold\na,0\nb,1\n"), images, twins={copy: "images/gone.png"})


def test_rows_of_images_without_labels_are_counted(file):
    found = read_stated(file("name,fold\na,0\nb,1\nu,1\n"), IMAGES[:2], [*IMAGES[:2], "unlabeled/u.png"])
    assert found.unlabelled == 1
    assert list(found.places) == IMAGES[:2]


@pytest.mark.parametrize("name", ["f.csv", "splits_final.json"])
def test_what_is_written_is_read_back(tmp_path, name):
    images = images_of(12)
    made = split(images, SplitSpec(folds=3), groups={i: f"g{k // 2}" for k, i in enumerate(images)})
    write_folds(tmp_path / name, made.table)
    again = split(images, SplitSpec(file=name), stated=read_stated(tmp_path / name, images))
    assert folds_of(again) == folds_of(made)
    assert again.spec.folds == 3


def test_one_fold_and_a_held_out_part_are_a_list_of_one(tmp_path):
    table = pl.DataFrame({"image": IMAGES, "group": IMAGES, "fold": [0, 0, HELD_OUT, None]})
    write_folds(tmp_path / "s.json", table)
    assert json.loads((tmp_path / "s.json").read_text()) == [{"train": ["train/a", "train/b"], "val": ["c"]}]
    with pytest.raises(UsageError, match=r"csv or \.json"):
        write_folds(tmp_path / "s.txt", table)


def test_stated_folds_that_a_group_or_a_copy_crosses_are_refused_or_certified(file):
    images = images_of(6)
    stated = read_stated(file("name,fold\n" + "".join(f"{k:03d},{k % 2}\n" for k in range(6))), images)
    for more in ({"groups": {images[0]: "p", images[1]: "p"}}, {"duplicates": [[images[0], images[1]]]}):
        with pytest.raises(DataError, match=r"1 group\(s\) in both"):
            split(images, SplitSpec(file="f.csv"), stated=stated, **more)
        found = split(images, SplitSpec(file="f.csv", allow_crossing=True), stated=stated, **more)
        assert len(found.certificate["crossing_groups"]) == 1
        assert "1 group(s) cross a border" in found.certificate["text"]
    naive = split(images, SplitSpec(file="f.csv", group_duplicates=False), stated=stated, duplicates=[images[:2]])
    assert naive.certificate["crossing_duplicates"] == 1  # known, though not kept together
    assert "1 cluster(s) of duplicates cross" in naive.certificate["text"]


def test_the_file_s_own_groups_are_joined_with_the_given_ones(file):
    images = images_of(6)
    rows = "".join(f"{k:03d},{k % 2},{'p' if k < 2 else ''}\n" for k in range(6))
    stated = read_stated(file("name,fold,group\n" + rows), images)
    with pytest.raises(DataError, match=r"1 group\(s\) in both"):
        split(images, SplitSpec(file="f.csv"), stated=stated)


def test_words_of_a_file_hold_out_and_folds_are_cut_from_the_rest(file):
    images = images_of(8)
    stated = read_stated(
        file("name,split\n" + "".join(f"{k:03d},{'val' if k > 5 else 'train'}\n" for k in range(8))), images
    )
    where = folds_of(split(images, SplitSpec(folds=3, file="f.csv"), stated=stated))
    assert [where[image] == HELD_OUT for image in images] == [False] * 6 + [True] * 2
    assert sorted(where.values()) == [-1, -1, 0, 0, 1, 1, 2, 2]


def test_a_file_excludes_another_way_to_hold_out():
    with pytest.raises(ValueError, match="a file says what is held out"):
        SplitSpec(file="f.csv", holdout=0.2)


def test_an_earlier_cut_may_hold_images_that_are_gone(file):
    found = read_previous(file("image,group,fold\na,a,0\nb,b,-1\nc,c,\ngone,g,1\n"), ["a", "b", "c", "new"])
    assert found.places == {"a": 0, "b": HELD_OUT, "c": POOL}
    with pytest.raises(DataError, match="none of them"):
        read_previous(file("image,group,fold\ngone,g,1\n"), ["a"])

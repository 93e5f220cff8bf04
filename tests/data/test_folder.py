"""The folder layout: parts, tables, leftovers, and what is refused."""

from __future__ import annotations

import pytest

import make_images as make
from maskwright.data.formats import read_source
from maskwright.data.formats.files import find_images, name_of
from maskwright.data.formats.sidecars import read_classes
from maskwright.errors import DataError


def test_rows_pair_images_with_their_labels(tmp_path):
    make.gray_png(tmp_path / "images", "b")
    make.bgr_jpeg(tmp_path / "images", "a")
    make.gray_png(tmp_path / "unlabeled", "c")
    make.palette_png(tmp_path / "masks", "a")
    make.id_png(tmp_path / "instances", "a", 3, 3)
    make.palette_png(tmp_path / "masks", "z")
    source = read_source(tmp_path)
    found = [(r.image, r.mask, r.instances, r.part) for r in source.rows]
    assert found == [
        ("images/a.jpg", "masks/a.png", "instances/a.png", None),
        ("images/b.png", None, None, None),
        ("unlabeled/c.png", None, None, "unlabeled"),
    ]
    assert source.leftovers == ["masks/z.png"]


def test_nested_folders_are_parts_and_belong_to_the_name(tmp_path):
    for part in ("train", "val"):
        make.gray_png(tmp_path / "images" / part / "day1", "same")
        make.palette_png(tmp_path / "masks" / part / "day1", "same")
    source = read_source(tmp_path)
    assert [(r.image, r.mask, r.part) for r in source.rows] == [
        (f"images/{part}/day1/same.png", f"masks/{part}/day1/same.png", part) for part in ("train", "val")
    ]


def test_two_files_of_one_name_are_refused_with_both_named(tmp_path):
    make.gray_png(tmp_path / "images", "a")
    make.bgr_jpeg(tmp_path / "images", "a")
    with pytest.raises(DataError, match=r"images/a\.jpg and images/a\.png"):
        read_source(tmp_path)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["a", "a.png", "train/a"])
def test_meta_is_found_by_name_with_or_without_suffix_and_byte_order_mark(tmp_path, bom, name):
    make.gray_png(tmp_path / "images" / "train", "a")
    (tmp_path / "meta.csv").write_text(f'{bom}name,patient\r\n{name},"p,1"\r\nother,p2\r\n', encoding="utf-8")
    expected = {"a": {"name": name, "patient": "p,1"}}
    assert {"a": read_source(tmp_path).rows[0].meta} == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"image,patient\na,1\n", ("column called name", "image, patient", "meta.csv")),
        (b"", ("column called name", "meta.csv")),
        ("name,patient\na,Müller\n".encode("latin-1"), ("UTF-8", "meta.csv")),
    ],
)
def test_tables_that_can_not_be_read(tmp_path, data, words):
    make.gray_png(tmp_path / "images", "a")
    (tmp_path / "meta.csv").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_source(tmp_path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_short_row_lacks_the_columns_it_lacks(tmp_path):
    make.gray_png(tmp_path / "images", "a")
    (tmp_path / "meta.csv").write_text("name,patient,site\na,p\n")
    assert read_source(tmp_path).rows[0].meta == {"name": "a", "patient": "p"}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"x": "a"}',
        '{"categories": [{"name": "a"}]}',
        '{"categories": [{"id": 0, "name": "a", "color": [1, 2]}]}',
        '{"categories": 3}',
        '{"categories": [{"id": 0, "name": "a", "values": 3}]}',
    ],
)
def test_class_lists_that_can_not_be_read_are_shown_both_forms(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(DataError, match=r'\{"0": "sky", …\}(.|\n)*classes\.json'):
        read_classes(tmp_path / "classes.json")


def test_class_lists_of_both_forms(tmp_path):
    path = tmp_path / "classes.json"
    assert read_classes(path) == (None, ())
    path.write_text('{"0": "sky", "2": "tree"}', encoding="utf-8-sig")
    items, ignore = read_classes(path)
    assert [(c.id, c.name, c.values) for c in items] == [(0, "sky", (0,)), (2, "tree", (2,))]
    path.write_text('{"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b", "values": "rest"}], "ignore": 255}')
    items, ignore = read_classes(path)
    assert [(c.id, c.values, c.color, c.isthing) for c in items] == [
        (1, (1,), (0, 0, 0), False),
        (2, "rest", (0, 0, 0), False),
    ]
    assert ignore == (255,)


@pytest.mark.parametrize("ignore", ["0", '[0, "void"]'])
def test_zero_can_be_ignored(tmp_path, ignore):
    (tmp_path / "classes.json").write_text(f'{{"categories": [{{"id": 1, "name": "a"}}], "ignore": {ignore}}}')
    assert read_classes(tmp_path / "classes.json")[1][0] == 0


def test_folders_that_are_no_data_folder_say_what_one_is(tmp_path):
    with pytest.raises(DataError, match="check the path"):
        read_source(tmp_path / "none")
    with pytest.raises(DataError, match="an empty folder"):
        read_source(tmp_path)
    make.gray_png(tmp_path / "photos", "a")
    with pytest.raises(DataError, match=r"photos/(.|\n)*masks/"):
        read_source(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"\.png"):
        read_source(tmp_path)


def test_hidden_files_and_other_types_are_passed_over(tmp_path):
    make.gray_png(tmp_path, ".hidden")
    make.gray_png(tmp_path / ".thumbs", "a")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "folder.png").mkdir()
    kept = make.gray_png(tmp_path, "kept")
    assert find_images(tmp_path) == [kept]
    assert find_images(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("images/a.png", "a"),
        ("images/train/a.b.JPG", "train/a.b"),
        ("images/a.b", "a.b"),
        ("a.png", "a"),
        ("images/1.5", "1.5"),
    ],
)
def test_names_drop_the_first_folder_and_the_suffix(path, name):
    assert name_of(path) == name


def test_a_run_inside_the_data_folder_is_no_data(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    make.gray_png(images, "a")
    run = tmp_path / "images" / "runs" / "first"
    (run / ".tasks").mkdir(parents=True)
    make.gray_png(run, "overlay")
    assert find_images(tmp_path) == [images / "a.png"]
    assert find_images(run) == [run / "overlay.png"]  # asked for itself

"""Finding images by what files call them, and telling files by their ends."""

from __future__ import annotations

import json

import pytest

import make_images as make
from maskwright.data.formats.lookup import Images, part_of
from maskwright.data.formats.peek import files_of, kind_of, kinds
from maskwright.errors import DataError

COCO = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "annotations": [{"id": 1, "segmentation": []}],
    "categories": [{"id": 1, "name": "a"}],
}


@pytest.mark.parametrize(
    ("stated", "hint", "found"),
    [
        ("images/train/a.png", "", "images/train/a.png"),
        ("train/a.png", "", "images/train/a.png"),
        ("./images\\val\\a.png", "", "images/val/a.png"),
        ("somewhere/else/train/b.png", "", "json/b.png"),
        ("/home/me/b.png", "", "json/b.png"),
        ("C:\\me\\b.png", "", "json/b.png"),
        ("../../b.png", "", "json/b.png"),
        ("a.png", "val", "images/val/a.png"),
        ("c.png", "", None),
        ("", "", None),
    ],
)
def test_images_are_found_by_path_part_and_name(tmp_path, stated, hint, found):
    for folder, name in (("images/train", "a"), ("images/val", "a"), ("json", "b")):
        make.gray_png(tmp_path / folder, name)
    assert Images(tmp_path).find(stated, where=tmp_path / "json" / "x.json", hint=hint) == found


def test_the_file_beside_the_annotations_goes_before_others(tmp_path):
    for folder in ("x", "y"):
        make.gray_png(tmp_path / folder, "a")
    images = Images(tmp_path)
    assert images.find("a.png", where=tmp_path / "y" / "x.json") == "y/a.png"
    with pytest.raises(DataError, match=r"x/a\.png, y/a\.png"):
        images.find("a.png", where=tmp_path / "x.json")
    assert images.find("a.png", where=tmp_path / "x.json", apart="x") == "y/a.png"


def test_folders_of_labels_hold_no_images(tmp_path):
    for folder, name in (("images", "a"), ("images", "b"), ("masks", "b"), ("preview", "a"), ("more", "c")):
        make.gray_png(tmp_path / folder, name)
    images = Images(tmp_path)
    assert images.others(["images/a.png"]) == ["images/b.png", "more/c.png"]
    assert images.others(["images/a.png"], ["more/c.png"]) == ["images/b.png"]


@pytest.mark.parametrize(
    ("path", "part"),
    [("images/train/a.png", "train"), ("Val2017/a.png", "val"), ("a/b.png", None), ("train.png", None)],
)
def test_parts_of_paths(path, part):
    assert part_of(path) == part


def test_what_is_large_is_told_by_its_ends(tmp_path):
    # the lists between fill more than what is looked at
    filler = [{"id": i, "file_name": f"{i:09}.png"} for i in range(9000)]
    segments = [{"image_id": i, "segments_info": []} for i in range(9000)]
    for name, tree in (
        ("coco", {"images": filler, **{key: COCO[key] for key in ("annotations", "categories")}}),
        ("coco_panoptic", {"info": {}, "images": filler, "annotations": segments, "categories": []}),
    ):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(tree))
        assert path.stat().st_size > 1 << 18
        assert kind_of(path) == name


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff\xfe\x00", b'{"images": 1}', b'{"shapes": 3, "flags": {}}'])
def test_other_files_are_of_no_kind(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert kind_of(path) is None
    assert kind_of(tmp_path / "none.json") is None


def test_files_lie_up_to_two_levels_below_and_not_in_run_folders(tmp_path):
    for folder in (".", "a", "a/b", "a/b/c", ".hidden", "run"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "x.json").write_text(json.dumps(COCO))
    (tmp_path / "run" / ".tasks").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path, "coco")]
    assert found == ["a/b/x.json", "a/x.json", "x.json"]
    assert kinds(tmp_path) == {"coco"}

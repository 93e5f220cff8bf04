"""What people really have, through the real command line: one clear message, the right exit code, nothing half-written.

The table says what each command must return and say. What docs/trouble.md quotes of a message stands in the message.
"""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import bad_folders as bad
from bad_folders import TINY, call, half_written

PAGE = Path(__file__).parents[1] / "docs" / "trouble.md"
THREE = "data: {root: FOLDER, clases: binary}\nsplti: {folds: 2}\nloss: [{kind: dise}]\n"
THREE_SET = ("--set", "train.lrr=1", "--set", "sede=1", "--set", "train.precision=float23")


@dataclass(frozen=True)
class Case:
    """A folder and a command; the exit code; words of what is said; files that must be there, and that must not."""

    name: str
    make: Callable[[Path, pytest.MonkeyPatch], list[object]]
    code: int
    words: tuple[str, ...]
    there: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


_QT = ("qtpy", "qtpy.QtWidgets")
AUDITED, SPLIT = ("run/audit/findings.parquet",), ("run/folds.csv",)
DROP = ("--set", "audit.on_error=drop")
CUT_OFF, VALUES = "bad.png: unreadable: is truncated", "7 (384 px)"
SIZES = "wrong_size: masks/bad.png is 16×13, the image 16×12"
OUT = ("out",)
LABELME = json.dumps(
    {
        "flags": {},
        "imagePath": "g0.png",
        "imageData": None,
        "shapes": [{"label": "rock", "points": [[2, 2], [12, 2], [12, 9]], "shape_type": "polygon", "group_id": [1]}],
    }
)
LABELME_OUTSIDE = LABELME.replace("[1]", "null").replace("[2,", "[-20,").replace("[12,", "[-10,")
VIA = json.dumps(
    {
        "g0.png9": {
            "filename": "g0.png",
            "size": 9,
            "regions": [{"shape_attributes": {"name": "circle", "cx": 5, "cy": 5, "r": 3}, "region_attributes": [1]}],
        }
    }
)
CVAT = """<annotations><version>1.1</version><image id="0" name="g0.png" width="32" height="24">
<mask label="rock" rle="2,4" left="1" top="1" width="3" height="3"/></image></annotations>"""
LABEL_STUDIO = json.dumps(
    [
        {
            "id": 1,
            "data": {"image": "http://[me/g1.png"},
            "annotations": [
                {
                    "result": [
                        {"original_width": 32, "original_height": 24, "value": {"points": [[1, 1], [9, 1], [9, 9]]}}
                    ]
                }
            ],
        }
    ]
)
GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": 3}, "properties": {}}],
    }
)
KAGGLE = "ImageId,EncodedPixels,ClassId\ng0,1 8,rock\ng0,9 8,\n"
CASES = [
    # images and masks
    Case("truncated image, audit", bad.with_bad(bad.truncated_image, "audit"), 0, ("images/" + CUT_OFF,), AUDITED),
    Case("truncated image", bad.with_bad(bad.truncated_image, "split"), 2, (CUT_OFF, "on_error=drop"), AUDITED,
         SPLIT),
    Case("truncated image, dropped", bad.with_bad(bad.truncated_image, "split", *DROP), 0,
         ("left out: 1 image(s)", CUT_OFF), SPLIT),
    Case("truncated image, predict", bad.predicted(add=bad.truncated_image), 2,
         ("bad.png: is truncated", "the labels of the others are written"),
         tuple(f"labels/g{i}.png" for i in range(4)), ("labels/bad.png",)),
    Case("text as mask", bad.with_bad(bad.text_as_first_mask, "split"), 2, ("unreadable_mask: masks/a.png",),
         AUDITED, SPLIT),
    Case("mask of another size", bad.with_bad(bad.mask_of_another_size, "split"), 2, (SIZES,), AUDITED, SPLIT),
    Case("mask of another size, dropped", bad.with_bad(bad.mask_of_another_size, "split", *DROP), 0,
         ("left out: 1 image(s)", SIZES), SPLIT),
    Case("mask of another size, evaluate", bad.sizes_to_evaluate, 2,
         ("a prediction of the truth's size 32×24, got 32×10", "g0.png")),
    Case("unknown mask values", bad.with_bad(bad.unknown_values, "split"), 2,
         ("unknown_values: masks/bad.png: " + VALUES, "data.categories.*.values"), AUDITED, SPLIT),
    Case("unknown mask values, dropped", bad.with_bad(bad.unknown_values, "split", *DROP), 0,
         ("left out: 1 image(s)", VALUES), SPLIT),
    Case("RGB mask", bad.masks_of(np.stack([bad.half(220), bad.half(20), bad.half(60)], 2), "audit"), 0,
         ("#000000", "#dc143c"), AUDITED),
    Case("palette mask", bad.palette_masks, 0, ("class_0", "class_1", "class_2", "class_3"), AUDITED),
    Case("0/255 mask", bad.masks_of(bad.half(255), "audit"), 0, ("foreground", "50.00%"), AUDITED),
    Case("16-bit image", bad.deep_images, 0, ("4 images",), SPLIT),
    Case("EXIF, mask lying", bad.turned(upright=False), 0, ("5 images",), SPLIT),
    Case("EXIF, mask upright", bad.turned(upright=True), 0, ("5 images",), SPLIT),
    # folders
    Case("empty folder", bad.empty_folder, 2, ("images/ beside masks/", "an empty folder"), (), AUDITED),
    Case("no images", bad.empty_images, 2, ("expected images (.png", "got none"), (), AUDITED),
    Case("no images to predict", bad.no_images_to_predict, 2, ("expected images, got none", "new")),
    Case("no path to predict", bad.no_path_to_predict, 2, ("expected images, got a path that doesn't exist", "gone")),
    Case("no such folder", lambda root, patch: bad.until("audit", root / "none"), 2,
         ("a data folder", "check the path")),
    Case("one image", bad.one_image, 2, ("at least 2 groups", "1 group(s) of 1 images", "--folds 1"), AUDITED, SPLIT),
    Case("empty masks", bad.masks_of(bad.half(0)), 2, ("at least two categories", "nothing but background in all 4"),
         AUDITED, SPLIT),
    Case("class in one image", bad.with_bad(bad.rare_category, "audit"), 0,
         ("images/rare.png: rare_category: no other mask holds class_2",), AUDITED),
    Case("mask without image", bad.with_bad(bad.orphan, "audit"), 0, ("masks/train/g0.png: orphan_mask",), AUDITED),
    Case("same stem", bad.with_bad(bad.same_stem, "audit"), 2,
         ("one file a name", "images/g0.jpg and images/g0.png"), (), AUDITED),
    Case("same name as in unlabeled", bad.with_bad(bad.same_name_as_pool, "audit"), 2,
         ("one image a name", "both called unlabeled/x"), (), AUDITED),
    Case("odd names", bad.with_bad(bad.odd_names, "split"), 0, ("5 images",), SPLIT),
    Case("linked files", bad.with_bad(bad.linked_files, "split"), 0, ("5 images",), SPLIT),
    Case("linked folders", bad.with_bad(bad.linked_folders, "split"), 0, ("5 images",), SPLIT),
    Case("broken link", bad.with_bad(bad.broken_link, "split"), 2,
         ("images/bad.png: unreadable: [Errno 2] No such file",), AUDITED, SPLIT),
    Case("broken link, dropped", bad.with_bad(bad.broken_link, "split", *DROP), 0,
         ("4 images", "left out: 1 image(s)", "images/bad.png"), SPLIT),
    Case("links in a ring", bad.with_bad(bad.looping_file, "split"), 2,
         ("bad2.png: unreadable", "Too many levels of symbolic links"), AUDITED, SPLIT),
    Case("folder linked into itself", bad.with_bad(bad.looping_folder, "split"), 0, ("4 images",), SPLIT),
    # annotation files
    Case("COCO cut off", bad.annotated("c.json", bad.coco()[:-40]), 2, ("a JSON file", "JSONDecodeError", "c.json"),
         (), OUT),
    Case("COCO id that is a list", bad.annotated("c.json", bad.coco(category={"id": []})), 2,
         ("category 0 lacks id or name", "c.json"), (), OUT),
    Case("COCO background that is a number", bad.annotated("c.json", bad.coco(info={"background": 3})), 2,
         ("info.background is neither a name nor null",), (), OUT),
    Case("COCO category that is missing", bad.annotated("c.json", bad.coco(item={"category_id": 7})), 2,
         ("annotation 1 is of category 7, which is not listed",), (), OUT),
    Case("COCO image that isn't there", bad.annotated("c.json", bad.coco(image={"file_name": "../g1.png"})), 2,
         ("1 that are nowhere in the folder: ../g1.png",), (), OUT),
    Case("COCO polygon outside", bad.annotated("c.json", bad.coco(item={"segmentation": [[40, 2, 50, 2, 50, 9]]})), 2,
         ("a shape inside the image of 32×24 pixels", "x 40, y 2 to x 50, y 9", "c.json, annotation 1"), (), OUT),
    Case("COCO size of another image", bad.annotated("c.json", bad.coco(image={"width": 64})), 2,
         ("the size that the annotations state, 64×24, got 32×24", "c.json, images/g0.png", "in this annotation file"),
         (), OUT),
    Case("LabelMe shape outside", bad.annotated("g0.json", LABELME_OUTSIDE), 2,
         ("a shape inside the image of 32×24 pixels", "g0.json, shape 1 (rock)"), (), OUT),
    Case("VIA shape outside", bad.annotated("v.json", VIA.replace("[1]", "{}").replace('"cx": 5', '"cx": 55')), 2,
         ("a shape inside the image of 32×24 pixels", "v.json, region 0 of images/g0.png"), (), OUT),
    Case("LabelMe group that is a list", bad.annotated("g0.json", LABELME), 2,
         ("a number or a word as group_id, got [1]", "g0.json, shape 1 (rock)"), (), OUT),
    Case("VIA attributes that are a list", bad.annotated("v.json", VIA), 2,
         ("region_attributes by their names, got [1]", "v.json, region 0 of g0.png"), (), OUT),
    Case("CVAT mask of wrong length", bad.annotated("a.xml", CVAT), 2,
         ("runs that fill", "a.xml, image g0.png, shape 1"), (), OUT),
    Case("Label Studio address", bad.annotated("e.json", LABEL_STUDIO), 2, ("nowhere in the folder: g1.png",),
         (), OUT),
    Case("GeoJSON number for rings", bad.annotated("g0.geojson", GEOJSON), 2,
         ("rings of coordinates, got 3", "g0.geojson, feature 1"), (), OUT),
    Case("Kaggle run beyond counting", bad.annotated("train.csv", f"ImageId,EncodedPixels\ng0,{2**63 - 9} 8\n"), 2,
         ("runs inside 24×32 pixels", "train.csv: g0"), (), OUT),
    Case("Kaggle object without a class", bad.annotated("train.csv", KAGGLE), 2,
         ("a class for every object", "train.csv: g0"), (), OUT),
    Case("YOLO corner beyond counting", bad.annotated("labels/g0.txt", "0 0.1 1e300 0.9 0.1 0.9 0.9\n"), 2,
         ("pairs of numbers up to 1000000", "g0.txt, object 1"), (), OUT),
    # where results go
    Case("file for --out", bad.file_for_out, 2, ("can be read and written, got File exists", "taken", "--out")),
    Case("file above --out", bad.file_above_out, 2,
         ("can be read and written, got Not a directory", "taken", "--out")),
    Case("read-only", bad.read_only_out, 2, ("can be read and written, got Permission denied", "run/.lock", "--out"),
         (), AUDITED),
    Case("full disk", bad.full_in_other_words, 1,
         ("got No space left on device", "run/index.parquet", "the same command goes on"), (),
         ("run/index.parquet",)),
    Case("other things in --out", bad.foreign_out, 2, ("a new or empty folder", "thesis.txt"), ("run/thesis.txt",),
         ("run/index.parquet",)),
    Case("another recipe", bad.other_recipe, 2, ("others at split", "seed: 0 → 1", "--redo"), SPLIT),
    Case("interrupted", bad.interrupted, 130, ("the same command goes on",), ("run/index.parquet",), AUDITED),
    # recipes
    Case("three mistakes", bad.recipe(THREE), 2,
         ("3 fault(s)", "data.clases: no such field; did you mean classes?",
          "splti: no such field; did you mean split?", "got 'dise'; did you mean dice?")),
    Case("three mistakes in --set", bad.with_bad(bad.nothing, "audit", *THREE_SET), 2,
         ("3 fault(s)", "did you mean train.lr?", "did you mean seed?", "did you mean float32?")),
    Case("exploding anchors", bad.recipe(bad.laughs()), 2,
         ("a recipe of a few pages", "anchors, written out, are more than 1000000 values", "recipe.yaml")),
    Case("exploding merges", bad.recipe(bad.laughs(merged=True)), 2, ("anchors, written out, are more than",)),
    Case("an anchor in itself", bad.recipe("data: &a {root: FOLDER, classes: *a}"), 2,
         ("anchors, written out, are more than",)),
    Case("deep nesting", bad.recipe("data: " + "[" * 5000), 2, ("nested too deeply",)),
    # checkpoints
    Case("cut-off checkpoint", bad.predicted(keep=-3000), 2,
         ("a checkpoint of maskwright", "a file that is cut off", "last.ckpt"), (), ("labels",)),
    Case("checkpoint of a later form", bad.predicted(lambda state: state["maskwright"].update(version=7)), 2,
         ("one of form 7", "last.ckpt"), (), ("labels",)),
    Case("checkpoint with other fields",
         bad.predicted(lambda state: state["maskwright"]["data"].update(palette="x")), 2,
         ("a checkpoint of maskwright, got one of another version", "last.ckpt")),
    Case("checkpoint without a field", bad.predicted(lambda state: state["maskwright"].pop("scale")), 2,
         ("got one of another version (KeyError: 'scale')",)),
    Case("napari without a screen", bad.window(None), 2, ("leave --napari out",)),
    Case("napari that isn't installed", bad.window(":0", "napari"), 2, ("the extra napari",)),
    Case("napari whose screen is gone", bad.window(":979", present=_QT), 2, ("DISPLAY=:979", "leave --napari out")),
    Case("napari whose Qt does not last", bad.window(":0", present=_QT, fault="one that ends Python 3.11"), 2,
         ("got one that ends Python 3.11", "pip install 'PySide6<6.12'")),
    Case("napari without Qt", bad.window(":0", "qtpy", "qtpy.QtWidgets"), 2, ("where: napari",)),
    Case("checkpoint of another network", bad.predicted(lambda state: state["state_dict"].popitem()), 2,
         ("got one of another version (RuntimeError", "last.ckpt")),
]  # fmt: skip


def quoted() -> dict[str, list[str]]:
    """Return {case: what docs/trouble.md quotes of its message}; a row names its cases in a comment at its end."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "<!--" in line]
    found: dict[str, list[str]] = {}
    for row in rows:
        message = row.split(" | ")[1]
        words = re.findall(r"`([^`]+)`", message)
        assert words, row
        for case in re.search(r"<!-- (.*) -->", row)[1].split("; "):  # type: ignore[index]
            found[case] = words
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case, tmp_path, monkeypatch, capsys):
    command = case.make(tmp_path, monkeypatch)
    capsys.readouterr()
    code, said = call(capsys, command)
    assert code == case.code, said
    for words in (*case.words, *quoted().get(case.name, ())):
        assert words in said
    if code in (1, 2):
        assert re.search(r"error: expected .+, got .+ where: .+ next: .+", said), said
    assert not half_written(tmp_path)
    assert all((tmp_path / name).exists() for name in case.there)
    assert not any((tmp_path / name).exists() for name in case.absent)


def test_the_page_speaks_of_cases_that_are_tested():
    assert len(quoted()) >= 20
    assert set(quoted()) <= {case.name for case in CASES}


def test_every_row_of_the_page_is_tested():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    heads = [line for line in rows if line.startswith("| what you see")]
    assert heads
    assert all("<!--" in line for line in rows if line not in heads)


@pytest.mark.parametrize("merged", [False, True])
def test_anchors_that_explode_are_refused_fast_and_in_little_memory(merged, tmp_path, monkeypatch, capsys):
    command = bad.recipe(bad.laughs(60, merged=merged))(tmp_path, monkeypatch)
    start = time.perf_counter()
    tracemalloc.start()
    try:
        code, _ = call(capsys, command)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert code == 2
    assert peak < 64e6
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("upright", [False, True])
def test_a_turned_photo_and_its_mask_lie_on_each_other(upright, tmp_path, monkeypatch, capsys):
    code, _ = call(capsys, bad.turned(upright=upright)(tmp_path, monkeypatch))
    assert code == 0
    findings = pl.read_parquet(tmp_path / "run" / "audit" / "findings.parquet").filter(image="images/turned.jpg")
    assert findings["kind"].to_list() == ["exif_orientation"]
    index = pl.read_parquet(tmp_path / "run" / "index.parquet").filter(image="images/turned.jpg")
    assert index.select("height", "width").row(0) == (16, 12)


def test_a_linked_folder_that_changes_is_noticed(tmp_path, monkeypatch, capsys):
    command = bad.with_bad(bad.linked_folders, "split")(tmp_path, monkeypatch)
    assert call(capsys, command)[0] == 0
    bad.put(tmp_path / "store" / "images" / "x.png", bad.picture(77))
    code, said = call(capsys, command)
    assert code == 2
    assert "others at index: images" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_image_can_be_learned_from_and_nothing_is_scored(tmp_path, capsys):
    code, said = call(capsys, bad.trained(bad.pairs(tmp_path, 1), TINY, "--folds", 1))
    assert code == 0, said
    assert "nothing was scored" in said
    assert (tmp_path / "run" / "predictions" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_rest_is_learned_from_what_is_left_out_is_said(tmp_path, capsys):
    for add in (bad.truncated_image, bad.rare_category, bad.odd_names, bad.linked_folders):
        add(bad.pairs(tmp_path))
    code, said = call(
        capsys, bad.trained(tmp_path / "data", TINY, "--folds", 2, *DROP, "--set", "audit.conflicts=keep_both")
    )
    assert code == 0, said
    assert "left out: 1 image(s)" in said
    assert CUT_OFF in said
    labels = tmp_path / "run" / "predictions" / "labels"
    assert len(list(labels.rglob("*.png"))) == 7  # four good pairs, and each of the last three

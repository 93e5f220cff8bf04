"""`convert` as it is typed: what it says of what it wrote, and the options that are its own."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

import bad_folders as bad
from maskwright.cli import main
from maskwright.data.formats.voc import palette
from maskwright.data.images import read_values


@pytest.fixture
def coco(tmp_path):
    """Two images of 24 × 32 pixels in a COCO file, one of them without annotation, and a third that it doesn't name."""
    root = tmp_path / "data"
    for i in range(3):
        bad.put(root / "images" / f"g{i}.png", bad.picture(i))
    tree = json.loads(bad.coco(item={"segmentation": [[2, 3, 12, 3, 12, 9, 2, 9]]}))
    tree["images"].append(tree["images"][0] | {"id": 2, "file_name": "g1.png"})
    (root / "c.json").write_text(json.dumps(tree))
    return root


def test_what_was_written_is_summed_up(coco, tmp_path, capsys):
    assert main(["convert", str(coco), str(tmp_path / "out"), "--to", "folder", "--json"]) == 0
    said, told = capsys.readouterr()
    whole = 2 * 24 * 32
    assert json.loads(said) == {
        "images": 3,
        "labelled": 2,
        "unlabelled": 1,
        "empty": 1,
        "objects": 1,
        "pixels": {"background": whole - 60, "rock": 60},  # 10 × 6 pixels of the rectangle
        "ignored": 0,
        "notes": [],
        "format": "folder",
        "out": str(tmp_path / "out"),
    }
    assert "2 labelled, 1 unlabelled (no label file and no annotation names them)" in told
    assert "1 of the labelled hold nothing but background" in told
    assert "background 96.09%, rock 3.91%; ignored 0.00%" in told


def test_options_that_messages_advise_are_there(coco, tmp_path, capsys):
    words = ["--to", "folder", "--ignore", "background"]
    assert main(["convert", str(coco), str(tmp_path / "a"), *words]) == 0
    assert "ignored 96.09%" in capsys.readouterr().err
    assert main(["convert", str(coco), str(tmp_path / "b"), "--to", "dsb2018", "--classes", "binary"]) == 0
    mapped = 'data.map={"background": "background", "rock": "stone"}'
    assert main(["convert", str(coco), str(tmp_path / "c"), "--to", "folder", "--set", mapped]) == 0
    assert "stone 3.91%" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "none"), str(tmp_path / "d"), "--to", "folder"]) == 2
    assert "--data" not in capsys.readouterr().err


def test_names_that_voc_does_not_state_are_said_to_be_taken_for_granted(tmp_path, capsys):
    root = tmp_path / "voc"
    bad.put(root / "JPEGImages" / "a.png", bad.picture(0))
    bad.put(root / "JPEGImages" / "b.png", bad.picture(1))
    (root / "SegmentationClass").mkdir()
    mask = Image.fromarray(bad.half(3)).convert("P")
    mask.putpalette(np.ravel(palette()).tolist())
    mask.save(root / "SegmentationClass" / "a.png")
    assert main(["convert", str(root), str(tmp_path / "out"), "--to", "folder"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "no labelmap.txt names the categories" in told
    assert "1 labelled, 1 unlabelled" in told
    (root / "labelmap.txt").write_text("".join(f"n{i}:{r},{g},{b}::\n" for i, (r, g, b) in enumerate(palette(4))))
    assert main(["convert", str(root), str(tmp_path / "again"), "--to", "folder"]) == 0
    assert "labelmap" not in capsys.readouterr().err


XML = """<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="tumour"><Regions><Region Id="1" Type="0"
NegativeROA="0"><Vertices><Vertex X="0" Y="0"/><Vertex X="8" Y="0"/><Vertex X="8" Y="6"/>
<Vertex X="0" Y="6"/></Vertices></Region><Region Id="2" Type="0" NegativeROA="1"><Vertices><Vertex X="2" Y="2"/>
<Vertex X="4" Y="2"/><Vertex X="4" Y="4"/><Vertex X="2" Y="4"/></Vertices></Region></Regions>
</Annotation></Annotations>"""


def test_an_xml_of_imagescope_is_drawn_where_its_size_is_given(tmp_path, capsys):
    (tmp_path / "slide.xml").write_text(XML)
    command = ["convert", str(tmp_path / "slide.xml"), str(tmp_path / "out"), "--to", "folder", "--size"]
    assert main([*command, "16x12"]) == 0
    assert "put the image into" in capsys.readouterr().err
    mask = read_values(tmp_path / "out" / "masks" / "slide.png")
    assert mask.shape == (12, 16)
    assert mask.sum() == 8 * 6 - 2 * 2  # the negative region is a hole
    assert json.loads((tmp_path / "out" / "classes.json").read_text())["categories"][1]["name"] == "tumour"


@pytest.mark.parametrize(
    ("size", "words"), [("4x4", "a shape inside the image"), ("x", "WIDTHxHEIGHT"), ("0x9", "a size of 1 to")]
)
def test_sizes_that_are_none(tmp_path, size, words, capsys):
    (tmp_path / "slide.xml").write_text(XML.replace('X="0"', 'X="6"').replace('X="2"', 'X="7"'))
    code = main(["convert", str(tmp_path / "slide.xml"), str(tmp_path / "out"), "--to", "folder", "--size", size])
    assert code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_size_is_of_one_file(coco, tmp_path, capsys):
    assert main(["convert", str(coco), str(tmp_path / "out"), "--to", "folder", "--size", "9x9"]) == 2
    assert "one XML file" in capsys.readouterr().err


def test_what_a_killed_conversion_left_goes_with_the_next_one(coco, tmp_path, capsys):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid in (ended.pid, os.getppid()):
        bad.put(tmp_path / f".out.{pid}.tmp" / "images" / "a.png", bad.picture(0))
    bad.put(tmp_path / ".outer.tmp" / "a.png", bad.picture(0))
    assert main(["convert", str(coco), str(tmp_path / "out"), "--to", "folder"]) == 0
    left = sorted(path.name for path in tmp_path.glob(".out*"))
    assert left == sorted(
        [f".out.{os.getppid()}.tmp", ".outer.tmp"]
    )  # the one of a process that runs, and no such folder


def test_masks_in_which_all_is_ignored_are_not_called_background(tmp_path, capsys):
    root = tmp_path / "data"
    for name, value in (("a", 0), ("b", 255), ("c", 1)):
        bad.put(root / "images" / f"{name}.png", bad.picture(value))
        bad.put(root / "masks" / f"{name}.png", np.full((24, 32), value, np.uint8))
    (root / "classes.json").write_text('{"0": "background", "1": "rock"}')
    command = ["convert", str(root), str(tmp_path / "out"), "--to", "folder", "--ignore", "255", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["empty"] == 1  # a alone


def test_things_are_those_that_a_run_would_take(tmp_path, capsys):
    """Names alone say nothing of it: a category is a thing where most of its pixels have an object's number."""
    root = tmp_path / "data"
    mask, ids = np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint8)
    mask[2:8, 2:8], mask[2:8, 12:18], mask[12:20, 4:30] = 1, 1, 2
    ids[2:8, 2:8], ids[2:8, 12:18], ids[12:14, 4:8] = 1, 2, 3  # few pixels of 2 have one
    for folder, array in (("images", bad.picture(1)), ("masks", mask), ("instances", ids)):
        bad.put(root / folder / "a.png", array)
    (root / "classes.json").write_text('{"0": "soil", "1": "crop", "2": "water"}')
    assert main(["convert", str(root), str(tmp_path / "out"), "--to", "coco_panoptic"]) == 0
    assert "things are crop" in capsys.readouterr().err
    tree = json.loads(next((tmp_path / "out").rglob("*.json")).read_text())
    assert {c["name"]: bool(c["isthing"]) for c in tree["categories"]} == {"soil": False, "crop": True, "water": False}
    assert [s["category_id"] for s in tree["annotations"][0]["segments_info"]].count(1) == 2


def test_a_format_that_is_not_written_gets_the_nearest(coco, tmp_path, capsys):
    assert main(["convert", str(coco), str(tmp_path / "out"), "--to", "cocco"]) == 2
    assert "did you mean coco?" in capsys.readouterr().err

"""Objects of a query: what an annotation tool gives back of them, and what the next run makes of it."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from make_copies import half, run
from make_review import objects_run, write_label
from maskwright.artifacts import read_json
from maskwright.cli import main
from maskwright.data.index import decided_index
from maskwright.data.store import ProbabilityStore
from maskwright.decisions import read_decisions
from maskwright.recipe.data import DataSpec
from maskwright.review import Reviewed
from maskwright.review.query import query
from maskwright.review.tasks import import_labels, write_query


@pytest.fixture
def told_apart(tmp_path):
    """A run of masks and objects, whose prediction of each image of the pool is two rocks beside each other."""
    made = objects_run(tmp_path, "panoptic")
    store = ProbabilityStore(made.folder.store("pool", 0))
    for k in range(2):
        store.write(f"unlabeled/new{k}", np.full((2, 48, 64), 0.5, np.float32))
        write_label(made.folder, f"predictions/labels/unlabeled/new{k}.png", half(20))
        objects = half(20) * np.uint8(7) + half(8) * np.uint8(2)
        write_label(made.folder, f"predictions/instances/unlabeled/new{k}.png", objects)
    return made


def test_objects_come_back(told_apart, tmp_path):
    """One image as it was suggested; of the other, the two rocks are one, and another one is drawn."""
    found, _ = query(told_apart, 2)
    folder = write_query(told_apart, found, "cvat", out=tmp_path / "task")
    images = [one.candidate.image for one in found]
    tree = ET.parse(folder / "annotations.xml")
    first = tree.find("image")
    assert len(first.findall("mask")) == 2  # 12 and 8 columns
    about = dict(first.find("mask").attrib)
    for mask in first.findall("mask"):
        first.remove(mask)
    for left, width in ((0, 20), (40, 10)):
        runs = {"left": f"{left}", "top": "0", "width": f"{width}", "height": "48", "rle": f"0, {48 * width}"}
        ET.SubElement(first, "mask", about | runs)
    tree.write(tmp_path / "annotations.xml")
    done = import_labels(told_apart, tmp_path / "annotations.xml", by="Anna")
    assert (done.unchanged, done.corrected) == ((images[1],), {images[0]: 10 / 64})
    assert import_labels(told_apart, tmp_path / "annotations.xml", by="Anna").known == tuple(images)
    run(told_apart.index.root, "data.task=panoptic", more=["--redo"])
    data = read_json(told_apart.folder.records / "index.json")["resolved"]["data"]
    index = decided_index(told_apart.folder, DataSpec.model_validate(data)).only([images[0]])
    label, numbers = index.read_label(0), index.read_instances(0)
    expected = half(20)
    expected[:, 40:50] = 1
    assert np.array_equal(label, expected)
    expected[:, 40:50] = 2
    assert np.array_equal(numbers, expected)


def test_rocks_that_were_told_apart_otherwise_are_no_prediction_any_more(told_apart, tmp_path):
    """The mask is the same, pixel by pixel; of the two rocks somebody has made one."""
    folder = write_query(told_apart, query(told_apart, 1)[0], "cvat", out=tmp_path / "task")
    tree = ET.parse(folder / "annotations.xml")
    first = tree.find("image")
    one, other = first.findall("mask")
    first.remove(other)
    one.attrib |= {"left": "0", "width": "20", "rle": f"0, {48 * 20}"}
    tree.write(tmp_path / "annotations.xml")
    done = import_labels(told_apart, tmp_path / "annotations.xml", by="Anna")
    assert (done.unchanged, [*done.corrected.values()]) == ((), [0.0])
    (line,) = [d for d in read_decisions(told_apart.folder.decisions) if d.action == "drawn_mask"]
    assert np.array_equal(np.asarray(Image.open(told_apart.folder.root / line.objects)), half(20))
    (told_apart.folder.root / line.objects).unlink()
    run(told_apart.index.root, "data.task=panoptic", more=["--redo"], code=2)  # it says which file is missing


@pytest.mark.parametrize("tool", ["cvat", "label_studio"])
def test_of_instance_maps_alone_the_way_back_is_said_before_and_is_open(tmp_path, capsys, tool):
    made = objects_run(tmp_path, "instances")
    store = ProbabilityStore(made.folder.store("pool", 0))
    store.write("unlabeled/new0", np.full((2, 48, 64), 0.5, np.float32))
    write_label(made.folder, "predictions/labels/unlabeled/new0.png", half(20))
    write_label(made.folder, "predictions/instances/unlabeled/new0.png", half(20) * np.uint8(7) + half(8) * np.uint8(2))
    folder, labelled = tmp_path / "task", tmp_path / "labelled"
    assert main(["query", str(made.folder.root), "-n", "1", "--to", tool, "--out", str(folder)]) == 0
    said = capsys.readouterr().err
    assert "--import EXPORT" not in said
    assert all(part in said for part in ("doesn't take", "data.further", f"convert {folder} LABELLED --to folder"))
    if tool == "label_studio":  # as if all were submitted
        (task,) = json.loads((folder / "tasks.json").read_text())
        done = {"data": task["data"], "annotations": [{"id": 1, "result": task["predictions"][0]["result"]}]}
        (folder / "tasks.json").write_text(json.dumps([done | {"id": 1}]))
    assert main(["convert", str(folder), str(labelled), "--to", "folder"]) == 0
    words = ["--set=data.task=instances", f"--set=data.further=[{{root: {labelled}}}]", "--out", str(tmp_path / "new")]
    assert main(["audit", "--data", str(made.index.root), *words]) == 0
    index = Reviewed.of(tmp_path / "new").index
    assert index.categories.names == ["background", "object"]
    (row,) = [row for row, image in enumerate(index.images) if "further-1" in image]
    assert len(np.unique(index.read_instances(row))) == 3  # nothing, and the two rocks

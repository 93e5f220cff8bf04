"""What is predicted follows from the folder and the recipe, and what lacks is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import make_images as make
from maskwright.data.index import build_index
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec

CLASSES = {"categories": [{"id": 0, "name": "soil", "isthing": False}, {"id": 1, "name": "crop", "isthing": True}]}


def folder(root, *parts, classes=None):
    """Return a folder with one image and label files in these parts, ids 0, 1 and 70 000 or values 0 and 1."""
    make.gray_png(root / "images", "a")
    values = np.zeros((make.HEIGHT, make.WIDTH), np.int32)
    values[:3], values[4:6] = 1, 1 if parts == ("masks",) else 9
    for part in parts:
        (root / part).mkdir()
        own = values if part == "instances" else (values > 0)
        Image.fromarray(own.astype(np.uint8)).save(root / part / "a.png")
    if classes is not None:
        (root / "classes.json").write_text(json.dumps(classes))
    return root


def built(root, **fields):
    index, spec, _ = build_index(DataSpec(root=str(root), **fields))
    assert build_index(spec)[1] == spec  # a fixed point
    return index, spec


@pytest.mark.parametrize(
    ("parts", "fields", "task", "target", "things"),
    [
        (("masks",), {}, "semantic", "masks", ["crop"]),
        (("instances",), {}, "instances", "instances", ["object"]),
        (("instances",), {"classes": "binary"}, "semantic", "instances", []),
        (("instances",), {"classes": "binary", "task": "instances"}, "instances", "instances", ["object"]),
        (("masks", "instances"), {}, "panoptic", "masks", ["crop"]),
        (("masks", "instances"), {"task": "semantic"}, "semantic", "masks", ["crop"]),
        (("masks", "instances"), {"classes": "binary"}, "semantic", "masks", []),
        (("masks", "instances"), {"task": "panoptic"}, "panoptic", "masks", ["crop"]),
        (("masks", "instances"), {"task": "instances"}, "instances", "instances", ["object"]),
    ],
)
def test_the_task_that_a_folder_and_a_recipe_mean(tmp_path, parts, fields, task, target, things):
    index, spec = built(folder(tmp_path, *parts, classes=CLASSES if "masks" in parts else None), **fields)
    assert (spec.task, spec.target, index.target) == (task, target, target)
    assert [c.name for c in index.categories.items if c.isthing] == things


@pytest.mark.parametrize(
    ("parts", "fields", "classes", "said"),
    [
        (("instances",), {"task": "panoptic"}, None, "no masks"),
        (("masks",), {"task": "panoptic"}, CLASSES, "no instance maps"),
        (("masks",), {"task": "instances"}, CLASSES, "no instance maps"),
        (("masks", "instances"), {"task": "panoptic", "target": "instances"}, CLASSES, "target: masks"),
    ],
)
def test_what_a_task_lacks_is_said(tmp_path, parts, fields, classes, said):
    with pytest.raises(DataError, match=said):
        built(folder(tmp_path, *parts, classes=classes), **fields)


def test_what_is_a_thing_is_seen_where_nothing_says_so(tmp_path):
    root = folder(tmp_path, "masks", "instances", classes={"0": "soil", "1": "crop"})
    index, spec = built(root, task="panoptic")
    assert [c.name for c in index.categories.items if c.isthing] == ["crop"]  # all its pixels are numbered
    assert [c.isthing for c in spec.categories] == [False, True]
    source = build_index(DataSpec(root=str(root), task="panoptic"))[2]
    assert any("things are crop" in note for note in source.notes)
    half = np.zeros((make.HEIGHT, make.WIDTH), np.uint8)
    half[:1], half[make.HEIGHT - 1] = 1, 2  # of 5 rows of crop one has a number, as has one of the soil
    Image.fromarray(half).save(root / "instances" / "a.png")
    with pytest.raises(DataError, match="a thing"):
        built(root, task="panoptic")
    _, spec, source = build_index(DataSpec(root=str(root)))  # nobody asked for objects, and there are none
    assert spec.task == "semantic" and any("most of its pixels" in note for note in source.notes)


def test_a_thing_that_no_object_is_of_is_named(tmp_path):
    told = [{"id": 0, "name": "soil", "isthing": True}, {"id": 1, "name": "crop", "isthing": True}]
    root = folder(tmp_path, "masks", "instances", classes={"categories": told})
    notes = build_index(DataSpec(root=str(root), task="panoptic"))[2].notes
    assert any(note.startswith("soil: said to be things, but none of their pixels has a number") for note in notes)


def test_stuff_whose_pixels_are_numbered_is_named(tmp_path):
    told = [{"id": 0, "name": "soil", "isthing": True}, {"id": 1, "name": "crop"}]
    root = folder(tmp_path, "masks", "instances", classes={"categories": told})
    notes = build_index(DataSpec(root=str(root), task="panoptic"))[2].notes
    assert any("crop: most of their pixels have a number in instances/, but they aren't said" in note for note in notes)


def test_labels_of_a_further_folder_are_labels(tmp_path):
    """The flagship: real images without any label, and a synthetic twin with masks and instance maps."""
    main = folder(tmp_path / "real")

    def beside(name, *parts, task="auto"):
        further = {"root": str(folder(tmp_path / name, *parts, classes=CLASSES))}
        return build_index(DataSpec(root=str(main), further=[further], task=task), tmp_path / f"{name}-imported")[:2]

    index, spec = beside("twin", "masks", "instances", task="panoptic")
    assert (spec.task, spec.target, len(index.labelled), len(index.unlabelled)) == ("panoptic", "masks", 1, 1)
    assert index.labelled.read_instances(0).max() == 2
    assert beside("both", "masks", "instances")[1].task == "panoptic"
    with pytest.raises(DataError, match="no instance maps"):
        beside("bare", "masks", task="panoptic")


@pytest.mark.parametrize(
    ("lacks", "task", "said"),
    [
        ("masks", "panoptic", "have an instance map and no mask: they count as unlabelled with --task panoptic"),
        ("masks", "semantic", "have an instance map and no mask: they count as unlabelled with --task semantic"),
        ("instances", "instances", "have a mask and no instance map: they count as unlabelled with --task instances"),
    ],
)
def test_images_that_lack_the_label_that_is_learned_from_are_counted(tmp_path, lacks, task, said):
    root = folder(tmp_path, "masks", "instances", classes=CLASSES)
    assert not any("no mask" in note or "no instance map" in note for note in notes_of(root, task))
    make.gray_png(root / "images", "b")
    make.gray_png(root / "unlabeled", "c")  # which nobody expects to have one
    there = "instances" if lacks == "masks" else "masks"
    Image.fromarray(np.ones((make.HEIGHT, make.WIDTH), np.uint8)).save(root / there / "b.png")
    assert f"1 of 3 images {said}" in notes_of(root, task)


def notes_of(root, task):
    return build_index(DataSpec(root=str(root), task=task))[2].notes


@pytest.mark.parametrize("part", ["masks", "instances"])
def test_a_broken_map_does_not_hinder_finding_the_things(tmp_path, part):
    root = folder(tmp_path, "masks", "instances", classes={"0": "soil", "1": "crop"})
    make.gray_png(root / "images", "b")
    for name in ("masks", "instances"):
        (root / name / "b.png").write_bytes((root / name / "a.png").read_bytes()[: 40 if name == part else None])
    index, _ = built(root, task="panoptic")
    assert [c.name for c in index.categories.items if c.isthing] == ["crop"]


def test_categories_that_a_binary_run_stated_are_objects_where_these_are_asked_for(tmp_path):
    root = folder(tmp_path, "instances")
    _, binary = built(root, classes="binary")
    index, _ = built(root, classes="binary", task="instances", categories=binary.categories)
    assert [c.isthing for c in index.categories.items] == [False, True]


def test_black_is_no_object_in_a_coloured_instance_map(tmp_path):
    root = folder(tmp_path, "masks", "instances", classes=CLASSES)
    colours = np.zeros((make.HEIGHT, make.WIDTH, 3), np.uint8)
    colours[:2], colours[4:6] = (200, 10, 0), (0, 0, 9)
    Image.fromarray(colours).save(root / "instances" / "a.png")
    found = built(root, task="panoptic")[0].read_instances(0)
    assert np.unique(found).tolist() == [0, 1, 2]
    assert (found > 0).tolist() == colours.any(axis=2).tolist()


@pytest.mark.parametrize(
    ("fields", "said"),
    [({}, "are told apart"), ({"task": "semantic"}, None), ({"classes": "binary"}, "aren't looked at")],
)
def test_what_becomes_of_instance_maps_is_said_where_nobody_named_a_task(tmp_path, fields, said):
    source = build_index(DataSpec(root=str(folder(tmp_path, "masks", "instances", classes=CLASSES)), **fields))[2]
    about = [note for note in source.notes if "instance maps" in note]
    assert about == [] if said is None else [said in note for note in about] == [True]


def test_objects_are_numbered_whatever_their_ids(tmp_path):
    make.gray_png(tmp_path / "images", "a")
    make.gray_png(tmp_path / "images", "b")
    (tmp_path / "instances").mkdir()
    ids = np.zeros((make.HEIGHT, make.WIDTH), np.uint16)
    ids[0, :4], ids[2, 2:], ids[5, 5] = 40_000, 7, 65_535
    Image.fromarray(ids).save(tmp_path / "instances" / "a.png")
    index, _ = built(tmp_path)
    found = index.read_instances(0)
    assert found.dtype == np.int32
    assert np.array_equal(found, np.searchsorted([0, 7, 40_000, 65_535], ids))
    assert index.read_instances(1) is None

"""Folders that were mixed up: what lies where predictions or truth are looked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from maskwright.artifacts import RunFolder
from maskwright.cli import main
from maskwright.errors import DataError
from maskwright.evaluate import evaluate_folders
from maskwright.recipe.predict import EvaluateSpec

QUICK = EvaluateSpec(samples=100)


@pytest.fixture
def folders(tmp_path):
    """Ids of two objects in instances/ and found/, a photograph in images/."""
    ids = np.zeros((40, 60), np.uint8)
    ids[5:15, 5:15], ids[20:35, 30:50] = 1, 2
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for name, pixels in (("instances", ids), ("found", ids), ("images", photo)):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    return tmp_path


@pytest.mark.parametrize("names", [("instances", "images"), ("images", "instances")])
def test_photographs_are_no_ids(folders, names):
    with pytest.raises(DataError, match=r"ids of objects, got 24\d\d colours.*\n.*images/a.png"):
        evaluate_folders(*(folders / name for name in names), kind="instances", spec=QUICK)


def test_small_objects_with_large_numbers_are_ids(folders):
    ids = np.zeros((40, 60, 3), np.uint8)
    ids[3, 3:5], ids[7, 7] = (0, 0, 1), (9, 9, 9)
    for name in ("instances", "found"):
        Image.fromarray(ids).save(folders / name / "a.png")
    assert evaluate_folders(folders / "found", folders / "instances", spec=QUICK).scores["pq"]["value"] == 1


def test_a_list_of_nothing_lists_nothing(folders):
    (folders / "found" / "segments.csv").write_text("name,id\n")
    with pytest.raises(DataError, match=r"every id of the prediction to be listed.*got \[1, 2\]"):
        evaluate_folders(folders / "found", folders / "instances", spec=QUICK)


def test_a_truth_that_is_called_instances_has_ids(folders):
    found = evaluate_folders(folders / "found", folders / "instances", spec=QUICK)
    assert found.categories == ["background", "object"] and found.scores["pq"]["value"] == 1
    with_categories = evaluate_folders(folders / "found", folders / "instances", kind="semantic", spec=QUICK)
    assert len(with_categories.categories) == 3
    one = evaluate_folders(folders / "found" / "a.png", folders / "instances" / "a.png", spec=QUICK)
    assert one.categories == found.categories
    binary = evaluate_folders(folders / "found", folders / "instances", classes="binary", spec=QUICK)
    assert binary.categories == ["background", "foreground"]
    tree = {"categories": [{"id": n, "name": f"c{n}"} for n in range(3)]}
    (folders / "instances" / "classes.json").write_text(json.dumps(tree))
    assert evaluate_folders(folders / "found", folders / "instances", spec=QUICK).categories == ["c0", "c1", "c2"]


def test_what_is_no_folder_of_labels_is_named(folders):
    with pytest.raises(DataError, match=r"got nothing\n.*nowhere"):
        evaluate_folders(folders / "nowhere", folders / "instances", spec=QUICK)
    (folders / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"got a .json file(.|\n)*convert FOLDER OUT --to coco_panoptic"):
        evaluate_folders(folders / "a.json", folders / "instances", kind="semantic", spec=QUICK)
    run = RunFolder(folders / "run")
    run.records.mkdir(parents=True)
    run.recipe.touch()
    with pytest.raises(DataError, match=r"got a run folder(.|\n)*run/predictions/labels, of objects "):
        evaluate_folders(run.root, folders / "instances", spec=QUICK)


def test_a_run_that_stopped_before_its_training_predicts_nothing(folders, capsys):
    RunFolder(folders / "run").records.mkdir(parents=True)
    assert main(["predict", str(folders / "run"), str(folders / "images"), "--out", str(folders / "out")]) == 2
    assert "stopped before its training" in capsys.readouterr().err

"""From which older network a fold may start: never from one that has seen the images that score it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from maskwright.artifacts import RunFolder, read_json, write_table
from maskwright.errors import DataError
from maskwright.pipeline.starting import Old, choose_start
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec, SplitSpec
from maskwright.recipe.train import TrainSpec


def a_run(root, rows, *, folds=2):
    """Write a run folder's folds.csv and empty checkpoints; rows: image → (group, fold)."""
    root.mkdir()
    lines = [f"{image},{group},{fold}" for image, (group, fold) in rows.items()]
    (root / "folds.csv").write_text("\n".join(["image,group,fold", *lines]) + "\n")
    for fold in range(folds):
        (root / f"round-0/fold-{fold}").mkdir(parents=True)
        (root / f"round-0/fold-{fold}/last.ckpt").touch()
    return root


def a_recipe(start, *, folds=2, unchecked=False):
    train = TrainSpec(start=str(start), start_unchecked=unchecked)
    return Recipe(data=DataSpec(root="."), split=SplitSpec(folds=folds), train=train)


OLD = {"a": ("a", 0), "b": ("b", 0), "c": ("c", 1), "d": ("d", 1)}


def test_the_same_folds_start_from_themselves(tmp_path):
    old = a_run(tmp_path / "old", OLD)
    new = RunFolder(a_run(tmp_path / "new", OLD | {"e": ("e", 0), "f": ("f", 1)}))
    for fold in (0, 1):
        assert choose_start(new, a_recipe(old), fold) == old / f"round-0/fold-{fold}/last.ckpt"
    note = read_json(new.fold(0) / "start.json")
    assert note == {
        "checkpoint": str(old / "round-0/fold-0/last.ckpt"),
        "checked": True,
        "leaked": [],
        "seen": ["c", "d"],
    }


def test_folds_that_were_numbered_otherwise_are_found(tmp_path):
    old = a_run(tmp_path / "old", OLD)
    swapped = {image: (group, 1 - fold) for image, (group, fold) in OLD.items()}
    new = RunFolder(a_run(tmp_path / "new", swapped))
    assert choose_start(new, a_recipe(old), 0) == old / "round-0/fold-1/last.ckpt"


@pytest.mark.parametrize(
    "changed",
    [
        {"c": ("c", 0)},  # validated in fold 0 now, learned from by the old fold 0; b by the old fold 1
        {"c": ("c", -1), "a": ("a", -1)},  # held out now
        {"e": ("c", 0), "f": ("a", 0)},  # new images of groups that either network has seen
    ],
)
def test_a_network_that_has_seen_what_scores_the_new_one_is_refused(tmp_path, changed):
    old = a_run(tmp_path / "old", OLD)
    new = RunFolder(a_run(tmp_path / "new", OLD | changed))
    with pytest.raises(DataError, match=r"split\.previous=.*folds\.csv.*start_unchecked"):
        choose_start(new, a_recipe(old), 0)
    assert choose_start(new, a_recipe(old, unchecked=True), 0) == old / "round-0/fold-0/last.ckpt"
    assert read_json(new.fold(0) / "start.json")["leaked"]


def test_predictions_that_were_accepted_have_been_seen(tmp_path):
    """Image e lay in the pool of the old run, and a prediction of it was learned from; now it scores fold 0."""
    old = a_run(tmp_path / "old", OLD)
    new = RunFolder(a_run(tmp_path / "new", OLD | {"e": ("e", 0)}))
    assert choose_start(new, a_recipe(old), 0) == old / "round-0/fold-0/last.ckpt"
    write_table(RunFolder(old).decided / "accepted.parquet", pl.DataFrame({"image": ["e"], "mask": ["@/e.png"]}))
    with pytest.raises(DataError, match="start_unchecked"):
        choose_start(new, a_recipe(old), 0)
    assert choose_start(new, a_recipe(old), 1) == old / "round-0/fold-1/last.ckpt"


def test_a_checkpoint_at_the_top_of_a_disk_is_no_run_s():
    assert Old.of(Path("/models/last.ckpt")) == Old(Path("/models/last.ckpt"), None, frozenset())


def test_what_an_older_start_had_seen_counts_too(tmp_path):
    # the old fold 0 started from a network that had seen a, which validates fold 0
    old = a_run(tmp_path / "old", OLD)
    (old / "round-0/fold-0/start.json").write_text(json.dumps({"seen": ["a"]}))
    new = RunFolder(a_run(tmp_path / "new", OLD))
    with pytest.raises(DataError, match=r"seen 1 of them, or of their groups: a"):
        choose_start(new, a_recipe(old), 0)


def test_one_training_on_everything_has_seen_everything(tmp_path):
    old = a_run(tmp_path / "old", {image: (image, 0) for image in OLD}, folds=1)
    new = RunFolder(a_run(tmp_path / "new", OLD))
    with pytest.raises(DataError, match="seen 2 of them"):
        choose_start(new, a_recipe(old), 1)
    alone = RunFolder(a_run(tmp_path / "alone", {image: (image, 0) for image in OLD}, folds=1))
    assert choose_start(alone, a_recipe(old, folds=1), 0) == old / "round-0/fold-0/last.ckpt"


def test_a_checkpoint_without_its_folds_is_not_trusted(tmp_path):
    new = RunFolder(a_run(tmp_path / "new", OLD))
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(DataError, match=r"no folds\.csv"):
        choose_start(new, a_recipe(tmp_path / "model.ckpt"), 0)
    assert choose_start(new, a_recipe(tmp_path / "model.ckpt", unchecked=True), 0) == tmp_path / "model.ckpt"
    assert read_json(new.fold(0) / "start.json")["checked"] is False


def test_a_folder_without_trainings_is_named(tmp_path):
    new = RunFolder(a_run(tmp_path / "new", OLD))
    with pytest.raises(DataError, match=r"a run folder with trained folds(.|\n)*train\.start"):
        choose_start(new, a_recipe(tmp_path / "nothing"), 0)


def test_nothing_is_noted_without_a_start(tmp_path):
    new = RunFolder(a_run(tmp_path / "new", OLD))
    assert choose_start(new, Recipe(data=DataSpec(root=".")), 0) is None
    assert not (new.fold(0) / "start.json").exists()

"""Folds through the command line: grown folders, labelled subsets, fold files, and what a run takes for its pool."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright.artifacts import RunFolder, read_folds
from maskwright.cli import main
from maskwright.pipeline.folds import pool_of
from maskwright.pipeline.run import _parts
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.split.files import to_splits_final


def add_images(root, numbers):
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for i in numbers:
        values = np.random.default_rng(i).integers(0, 255, (16, 24), np.uint8)
        Image.fromarray(values).save(root / "images" / f"s{i // 2:02d}_{i:02d}.png")
        Image.fromarray(((values > 40 + 5 * (i % 9)) * 255).astype(np.uint8)).save(
            root / "masks" / f"s{i // 2:02d}_{i:02d}.png"
        )


@pytest.fixture
def data(tmp_path):
    """Twenty pairs of gray images and binary masks, two of each scene."""
    add_images(tmp_path / "data", range(20))
    return tmp_path / "data"


@pytest.fixture
def split(capsys, data, tmp_path):
    def call(*more, out="run", code=0):
        words = ["split", "--data", data, "--out", tmp_path / out, "--group-regex", r"^s\d+", "--classes", "binary"]
        words += ["--set", "audit.pictures=false", *more]
        assert main([str(word) for word in words]) == code, capsys.readouterr().err
        return capsys.readouterr().err if code else folds(tmp_path / out)

    return call


def folds(run):
    return dict(read_folds(run / "folds.csv").select("image", "fold").iter_rows())


def test_images_that_are_added_leave_the_others_where_they_are(split, data, tmp_path):
    options = ("--folds", 3, "--holdout", 0.2)
    before = split(*options)
    add_images(data, range(20, 30))
    assert "--redo" in split(*options, code=2)
    grown = split(*options, "--redo")
    assert len(grown) == 30
    assert {image: grown[image] for image in before} == before
    add_images(data, range(30, 34))
    again = split(*options, "--redo")
    assert {image: again[image] for image in grown} == grown
    assert split(*options) == again  # nothing left to do
    kept = list((tmp_path / "run").glob("previous-*.csv"))
    assert len(kept) == 1
    assert folds_of_file(kept[0]) == grown
    anew = split(*options, "--redo", "--set", "split.previous=null")
    assert anew != again
    assert split(*options, "--set", f"split.previous={kept[0]}", out="other") == again


def folds_of_file(path):
    return dict(read_folds(path).select("image", "fold").iter_rows())


def test_other_settings_cut_anew(split, tmp_path):
    split("--folds", 3, "--holdout", 0.2)
    found = split("--folds", 4, "--holdout", 0.2, "--redo")
    assert set(found.values()) == {-1, 0, 1, 2, 3}
    assert not list((tmp_path / "run").glob("previous-*.csv"))
    fresh = split("--folds", 4, "--holdout", 0.2, out="fresh")
    assert found == fresh


def test_a_labelled_subset_leaves_the_rest_to_the_pool(split, tmp_path):
    whole, few = (
        split("--folds", 2, "--holdout", 0.2),
        split("--folds", 2, "--holdout", 0.2, "--labelled", "1/2", out="few"),
    )
    held = {image for image, fold in whole.items() if fold == -1}
    assert {image for image, fold in few.items() if fold == -1} == held
    pooled = {image for image, fold in few.items() if fold is None}
    assert len(pooled) == 8
    folder = RunFolder(tmp_path / "few")
    table = read_folds(folder.folds)
    assert {*pool_of(pl.read_parquet(folder.index), table)["image"]} == pooled
    recipe = apply_settings(Recipe(data=DataSpec(root=".")), ["split.folds=2"])
    assert _parts(folder, recipe) == ["oof", "holdout", "pool"]
    assert _parts(RunFolder(tmp_path / "run"), recipe) == ["oof", "holdout"]


def test_folds_are_written_for_nnunet_and_read_back(split, tmp_path):
    path = tmp_path / "splits_final.json"
    before = split("--folds", 3, "--write", path)
    assert json.loads(path.read_text()) == to_splits_final(read_folds(tmp_path / "run" / "folds.csv"))
    assert split("--set", f"split.file={path}", out="again") == before
    assert "nothing is overwritten" in split("--folds", 3, "--write", path, code=2)


def test_a_file_that_changed_is_read_anew_and_one_that_does_not_fit_is_refused(split, tmp_path):
    path = tmp_path / "given.csv"
    before = split("--folds", 2, "--write", path)
    assert split("--set", f"split.file={path}", out="given") == before
    path.write_text(path.read_text().replace(",0\n", ",5\n").replace(",1\n", ",0\n").replace(",5\n", ",1\n"))
    assert str(path) in split("--set", f"split.file={path}", out="given", code=2)
    swapped = split("--set", f"split.file={path}", "--redo", out="given")
    assert swapped == {image: 1 - fold for image, fold in before.items()}
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-2]))
    told = split("--set", f"split.file={path}", "--redo", out="given", code=2)
    assert "none for 2" in told
    assert "split.unlisted=pool" in told
    assert "a file says what is held out" in split("--set", f"split.file={path}", "--holdout", 0.2, out="x", code=2)
    assert "got nothing" in split("--set", "split.file=missing.csv", out="y", code=2)


def test_the_resolved_recipe_does_not_fix_the_seed(split, tmp_path):
    split("--folds", 2)
    record = json.loads((tmp_path / "run" / ".tasks" / "split.json").read_text())["resolved"]["split"]
    assert (record["seed"], record["previous"], record["folds"]) == (None, "auto", 2)


def test_a_file_may_name_copies_that_the_audit_drops_and_not_know_of_unlabelled_ones(split, data, tmp_path):
    before = split("--folds", 2)
    shutil.copy(data / "images" / "s00_00.png", data / "images" / "s00_copy.png")
    shutil.copy(data / "masks" / "s09_19.png", data / "masks" / "s00_copy.png")  # another one: a conflict
    (data / "unlabeled").mkdir()
    shutil.copy(data / "images" / "s01_02.png", data / "unlabeled" / "s01_u.png")
    path = tmp_path / "given.csv"
    named = before | {"images/s00_copy.png": before["images/s00_00.png"]}
    path.write_text("\n".join(["image,fold", *(f"{image},{fold}" for image, fold in named.items())]))
    found = split("--set", f"split.file={path}", out="again")
    assert set(found) ^ set(before) == {"unlabeled/s01_u.png"}  # of the conflict the first stays
    assert found["unlabeled/s01_u.png"] == before["images/s01_02.png"]
    assert {image: fold for image, fold in found.items() if image in before and "s00_00" not in image} == {
        image: fold for image, fold in before.items() if "s00_00" not in image
    }

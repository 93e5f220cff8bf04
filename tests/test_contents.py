"""Data that were copied or touched are the same data; those whose contents changed are others, whatever their size."""

from __future__ import annotations

import os
import shutil

import pytest

from maskwright.artifacts import RunFolder
from maskwright.data.synthetic import make_playground
from maskwright.errors import StaleArtifactError
from maskwright.pipeline import contents, run
from maskwright.pipeline.run import _index_tasks
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.tasks import status


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    root = tmp_path_factory.mktemp("contents")
    make_playground(root / "data", labelled=4, unlabelled=1, size=(32, 32), planted=False)
    recipe = recipe_of(root)
    run(recipe, root / "run", until="audit")
    return root


def recipe_of(root):
    data = DataSpec(root=str(root / "data"), task="semantic")
    return apply_settings(Recipe(data=data), ["audit.pictures=false", "split.folds=2", "split.holdout=0"])


@pytest.fixture
def root(audited, tmp_path, monkeypatch):
    """A copy with the same times, below the same path as seen from the working folder."""
    for name in ("data", "run"):
        shutil.copytree(audited / name, tmp_path / name)
    monkeypatch.setattr(contents, "_sources", lambda _: [("", tmp_path / "data", "auto")])
    return tmp_path


def state(audited, root):
    folder, recipe = RunFolder(root / "run"), recipe_of(audited)
    return status(folder.root, _index_tasks(folder, recipe))["index"]


def touch(root, *names):
    for path in [root / "data" / name for name in names] or (root / "data").rglob("*"):
        os.utime(path, (1, 1))


def test_other_times_are_the_same_data(audited, root):
    assert state(audited, root) == "done"
    touch(root)
    assert state(audited, root) == "done"
    made = (root / "run" / "index.parquet").stat().st_mtime_ns
    run(recipe_of(audited), root / "run", until="audit")  # and the new times are known from then on
    assert (root / "run" / "index.parquet").stat().st_mtime_ns == made
    assert state(audited, root) == "done"


def test_the_new_times_are_noted_and_nothing_is_read_again(audited, root, monkeypatch):
    touch(root)
    contents.note_contents(RunFolder(root / "run"), recipe_of(audited))
    monkeypatch.setattr(contents, "_digest", lambda file: pytest.fail(f"{file} is read"))
    contents.note_contents(RunFolder(root / "run"), recipe_of(audited))
    assert state(audited, root) == "done"


def test_another_content_of_the_same_size_is_other_data(audited, root):
    mask = sorted((root / "data" / "masks").iterdir())[0]
    stood = mask.read_bytes()
    mask.write_bytes(stood[:-1] + bytes([stood[-1] ^ 1]))
    touch(root)
    assert state(audited, root) == "stale"
    with pytest.raises(StaleArtifactError, match=r"masks\.state"):
        run(recipe_of(audited), root / "run", until="audit")
    mask.write_bytes(stood)
    assert state(audited, root) == "done"


@pytest.mark.parametrize("change", ["longer", "renamed", "gone", "swapped"])
def test_so_are_other_names_and_sizes(audited, root, change):
    first, second = sorted((root / "data" / "images").iterdir())[:2]
    if change == "longer":
        first.write_bytes(first.read_bytes() + b"\0")
    elif change == "renamed":
        first.rename(first.with_name("another.png"))
    elif change == "gone":
        first.unlink()
    else:  # names and contents that were all there before, the one under the other
        first.rename(second.with_suffix(".tmp"))
        second.rename(first)
        second.with_suffix(".tmp").rename(second)
    assert state(audited, root) == "stale"


def test_more_data_than_is_hashed_are_told_by_their_times(audited, root, monkeypatch):
    (root / "run" / ".tasks" / contents.CONTENTS).unlink()
    monkeypatch.setattr(contents, "LARGEST", 10)
    contents.note_contents(RunFolder(root / "run"), recipe_of(audited))
    assert state(audited, root) == "done"
    touch(root)
    assert state(audited, root) == "stale"


def test_what_can_not_be_read_has_no_digest(tmp_path):
    assert contents._digest(tmp_path) is None  # the audit says what is wrong with it

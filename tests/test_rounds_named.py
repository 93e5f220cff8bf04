"""What the tasks of rounds are made from, and what is seen to before the first training; no network is trained here."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from make_export import make_run
from maskwright.artifacts import RunFolder, read_json, read_table, write_json, write_table, write_text
from maskwright.errors import DataError
from maskwright.pipeline.paths import absolute
from maskwright.pipeline.pool import all_strangers, check_pool, pool_of_fold
from maskwright.pipeline.run import _TASKS
from maskwright.pipeline.stages import decided
from maskwright.recipe import apply_settings, dump_recipe, load_recipe
from maskwright.tasks import run_tasks


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("named"), "selftrain.rounds=1", unlabelled=5)


@pytest.fixture
def folder(base, tmp_path):
    found = RunFolder(tmp_path / "run")
    shutil.copytree(base.root, found.root)
    for fold in (0, 1):
        write_json(found.records / f"train-fold-{fold}.json", {"fingerprint": f"first {fold}"})
    return found


def other_run(folder, name="other"):
    other = RunFolder(folder.root.with_name(name))
    shutil.copytree(folder.root, other.root)
    return other


def with_settings(folder, *settings):
    recipe = apply_settings(load_recipe(folder.recipe), list(settings))
    write_text(folder.recipe, dump_recipe(recipe))
    return recipe


def tasks(folder, recipe):
    return {task.name: task for stage in ("train", "selftrain") for task in _TASKS[stage](folder, recipe)}


def test_other_runs_are_found_from_wherever_the_command_is_given(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    setting = 'selftrain.method.fused_with=["other", "~/far"]'
    method = absolute(apply_settings(load_recipe(folder.recipe), [setting])).selftrain.method
    assert method.fused_with == (str(tmp_path / "other"), str(Path("~/far").expanduser()))


def test_labels_are_stale_when_a_network_that_made_them_was_trained_anew(folder):
    other = other_run(folder)
    recipe = with_settings(folder, f'selftrain.method.fused_with=["{other.root}"]')
    names = ("selftrain-1-pseudo-0", "selftrain-1-pseudo-1")
    before = {name: task.outside for name, task in tasks(folder, recipe).items()}
    assert all(before[name] == tasks(folder, recipe)[name].outside for name in names)
    write_json(other.records / "train-fold-1.json", {"fingerprint": "another"})
    after = {name: task.outside for name, task in tasks(folder, recipe).items()}
    assert all(before[name] != after[name] for name in names)
    assert before["selftrain-1-train-0"] == after["selftrain-1-train-0"] == {}  # it follows its labels


@pytest.mark.parametrize("method", ["pseudo_labels", "fixmatch"])
def test_what_learns_from_the_pool_is_stale_when_other_images_are_strangers(folder, method):
    recipe = with_settings(folder, f'selftrain.method={{"kind": "{method}"}}')
    name = "selftrain-1-pseudo-0" if method == "pseudo_labels" else "selftrain-1-train-0"
    before = tasks(folder, recipe)[name].outside
    first = strange(folder, recipe, 1)
    after = tasks(folder, recipe)[name].outside
    assert before != after and first
    kept = apply_settings(recipe, ["selftrain.aliens=keep"])  # nobody asks which are
    assert tasks(folder, kept)[name].outside == {}


def strange(folder, recipe, count=None):
    """The audit finds so many images of the pool unlike all others; returns them."""
    whole = decided(folder, recipe.model_dump(mode="json", include={"data"}))
    keep = recipe.selftrain.model_copy(update={"aliens": "keep"})
    pools = {image for fold in (0, 1) for image in pool_of_fold(folder, whole, keep, fold)}
    rows = [{"image": i, "kind": "outlier_mahalanobis", "severity": "warning"} for i in sorted(pools)[:count]]
    write_table(folder.findings, pl.concat([read_table(folder.findings), pl.DataFrame(rows)], how="diagonal"))
    return [row["image"] for row in rows]


def test_a_pool_of_strangers_alone_leaves_the_supervised_training_and_says_so(folder):
    recipe = load_recipe(folder.recipe)
    check_pool(folder, recipe)
    assert all_strangers(folder, recipe) is None
    assert strange(folder, recipe)
    check_pool(folder, recipe)  # hours of training are not lost for that
    found = _TASKS["selftrain"](folder, recipe)
    assert [task.name for task in found] == ["selftrain-adopted"]
    run_tasks(folder.root, found)
    said = read_json(folder.adopted)
    assert (said["round"], said["rounds"]) == (0, [])
    assert "unlike all others" in said["why"] and "fold 0, 1" in said["why"]
    after = [task.name for task in _TASKS["selftrain"](folder, recipe)]
    assert after == ["selftrain-adopted", "predict-pool"]
    kept = apply_settings(recipe, ["selftrain.aliens=keep"])
    assert "selftrain-1-pseudo-0" in tasks(folder, kept)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda other: shutil.rmtree(other.root), "the folder of another run, got none"),
        (lambda other: (other.records / "train-fold-1.json").unlink(), "train-fold-1 missing"),
        (lambda other: write_json(other.fold(1) / "start.json", {"seen": seen_there(other)}), "nothing of fold 1"),
        (
            lambda other: with_settings(other, 'data.categories=[{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]'),
            "got a, b",
        ),
    ],
)
def test_runs_that_cannot_label_are_told_before_anything_is_trained(folder, change, told):
    other = other_run(folder)
    recipe = with_settings(folder, f'selftrain.method.fused_with=["{other.root}"]')
    check_pool(folder, recipe)
    change(other)
    with pytest.raises(DataError, match=told):
        check_pool(folder, recipe)


def seen_there(other):
    """All images: as if it had been started from a network that had seen them."""
    return read_table(other.decided / "images.parquet")["image"].to_list()


def test_a_run_does_not_label_twice(folder):
    recipe = with_settings(folder, f'selftrain.method.fused_with=["{folder.root}"]')
    with pytest.raises(DataError, match="this run itself"):
        check_pool(folder, recipe)


def test_rounds_and_round_0_depend_on_the_same_where_the_rate_follows_the_score(folder):
    recipe = with_settings(folder, 'train.schedule={"kind": "plateau"}')
    found = tasks(folder, recipe)
    for key in ("evaluate", "predict"):
        first, second = (found[name].spec[key] for name in ("train-fold-0", "selftrain-1-train-0"))
        assert first == second and first
    anew = tasks(folder, apply_settings(recipe, ["evaluate.empty=one"]))
    assert anew["selftrain-1-train-0"].spec != found["selftrain-1-train-0"].spec


def test_what_is_kept_on_the_disk_makes_nothing_stale(folder):
    recipe = load_recipe(folder.recipe)
    kept = apply_settings(recipe, ["selftrain.method.keep_soft=true"])
    for stage in ("train", "selftrain", "tune", "evaluate", "suspects"):
        specs = [[task.spec for task in _TASKS[stage](folder, one)] for one in (recipe, kept)]
        assert specs[0] == specs[1]

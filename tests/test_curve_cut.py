"""The points of a curve keep the groups of a fold file, and know which cut they were made from."""

from __future__ import annotations

import pytest

from maskwright import pipeline
from maskwright.artifacts import read_folds
from maskwright.data.synthetic import make_playground
from maskwright.pipeline import curve as curves
from maskwright.pipeline.curve import curve
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec

SMALL = (
    "data.task=semantic",
    "data.group=null", "split.folds=2", "audit.pictures=false", "model.encoder=resnet10t",
    "model.encoder_weights=none", "model.decoder_channels=[16, 16, 8]", "train.steps=2", "train.validate_every=1",
    "train.batch=2", "train.crop=[32, 48]", "train.scale=1", "train.precision=float32", "train.channels_last=false",
    "train.threads=1", "evaluate.samples=100",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut") / "data"
    make_playground(folder, labelled=32, unlabelled=2, size=(32, 48), planted=False)
    return folder


def planned(data, out, parts, monkeypatch):
    """Cut and plan a curve as far as the tasks of its points, which are returned."""
    found = []

    def stop(root, tasks, **options):
        found.extend(tasks)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(curves, "run_tasks", stop)
        recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), [*SMALL, f"split.file={parts}"])
        with pytest.raises(InterruptedError):
            curve(recipe, out, shares=(0.5, 1.0), redo=True)
    return found


def write_parts(path, images, held, group_of):
    lines = [f"{image},{'val' if image in held else 'train'},{group_of(k)}" for k, image in enumerate(images)]
    path.write_text("\n".join(["image,part,group", *lines]) + "\n")


def test_groups_of_a_fold_file_are_not_parted_and_another_file_makes_the_points_stale(data, tmp_path, monkeypatch):
    images = sorted(path.relative_to(data).as_posix() for path in (data / "images").iterdir())
    parts, out = tmp_path / "parts.csv", tmp_path / "curve"
    write_parts(parts, images, images[-8:], lambda k: f"of four {k // 4}")
    first = planned(data, out, parts, monkeypatch)
    for point in ("labels-1of2-0", "labels-1of1-0"):
        folds = read_folds(out / "points" / point / "folds.csv").drop_nulls("fold")
        places = dict(folds.select("image", "fold").iter_rows())
        for start in range(0, len(images), 4):
            four = {places.get(image) for image in images[start : start + 4]}
            assert len(four) == 1  # all in one fold, held out, or all in the pool
    again = planned(data, out, parts, monkeypatch)
    assert [task.outside for task in again] == [task.outside for task in first]
    write_parts(parts, images, images[:8], lambda k: f"of four {k // 4}")
    other = planned(data, out, parts, monkeypatch)
    assert [task.name for task in other] == [task.name for task in first]
    assert all(one.outside["parts"] != two.outside["parts"] for one, two in zip(first, other, strict=True))


def test_the_budget_of_a_plan_counts_the_rounds_and_holds_for_more(data, tmp_path, monkeypatch):
    from maskwright.train import probe

    asked = []

    def plan(recipe, training, *, further=0.0):
        asked.append(further)
        made = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 8, "validate_every": 1})})
        return probe.Plan(made, 0.1, 1.0, [])

    monkeypatch.setattr(probe, "plan_training", plan)
    settings = [s for s in SMALL if not s.startswith(("train.steps", "train.validate"))]
    plain = apply_settings(Recipe(data=DataSpec(root=str(data))), [*settings, "train.minutes=5"])
    twice = apply_settings(plain, ["selftrain.rounds=2"])
    pipeline.run(twice, tmp_path / "run", until="plan")
    assert asked == [2]
    for same in (twice, plain, apply_settings(twice, ["selftrain.rounds=1"])):
        pipeline.run(same, tmp_path / "run", until="plan")
    assert asked == [2]  # it was decided once
    pipeline.run(plain, tmp_path / "other", until="plan")
    pipeline.run(twice, tmp_path / "other", until="plan")
    assert asked == [2, 0]


def test_points_that_run_at_a_time_share_cores_memory_and_budget(data, tmp_path, monkeypatch):
    from maskwright.train import probe

    asked = []

    def plan(recipe, training, *, further=0.0):
        asked.append(recipe.train.minutes)
        made = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 8, "validate_every": 1})})
        return probe.Plan(made, 0.1, 1.0, [])

    monkeypatch.setattr(probe, "plan_training", plan)
    monkeypatch.setattr(curves, "cores", lambda: 16)
    found = {}
    for jobs in (1, 2):
        trains = []

        def stop(root, tasks, *, into=trains, **options):
            into.extend(task.spec["recipe"]["train"] for task in tasks)
            raise InterruptedError

        with monkeypatch.context() as patch:
            patch.setattr(curves, "run_tasks", stop)
            settings = [s for s in SMALL if not s.startswith(("train.steps", "train.validate", "train.threads"))]
            more = [*settings, "train.minutes=10", f"executor.jobs={jobs}", "data.group=scene"]
            recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), more)
            with pytest.raises(InterruptedError):
                curve(recipe, tmp_path / str(jobs), shares=(0.5, 1.0), pool=False)
        found[jobs] = [(train["threads"], train["cache"]) for train in trains]
    assert found == {1: [(16, 0.25)] * 2, 2: [(8, 0.125)] * 2}
    assert asked == pytest.approx([4, 8])  # of 10 minutes: .8 for two trainings, one after the other or at a time

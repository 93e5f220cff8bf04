"""The executor of a recipe: its kinds, what `--executor` changes, and how cores and time are shared."""

from __future__ import annotations

import pytest

from maskwright.artifacts import RunFolder, write_json
from maskwright.cli.options import Options
from maskwright.errors import RecipeError
from maskwright.pipeline.run import _plan_tasks, executor_of
from maskwright.recipe import Recipe, apply_settings, dump_recipe, load_recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.executor import LocalSpec, RaySpec, SlurmSpec, at_a_time, cores_of_task, of_kind


def plain(*settings: str) -> Recipe:
    return apply_settings(Recipe(data=DataSpec(root=".")), settings)


def test_without_a_kind_tasks_run_here():
    assert plain("executor={jobs: 3}").executor == LocalSpec(jobs=3)
    assert Recipe.model_validate({"data": {"root": "."}, "executor": {}}).executor == LocalSpec(jobs=1)


def test_a_kind_takes_along_what_was_stated():
    assert plain("executor.jobs=4", "executor.kind=slurm").executor == SlurmSpec(jobs=4)
    assert plain("executor.kind=ray").executor == RaySpec(jobs=None)  # 1 is the default of another kind
    stated = SlurmSpec(jobs=4, partition="night", cpus=2)
    assert of_kind(stated, "ray") == RaySpec(jobs=4, cpus=2)
    assert of_kind(of_kind(stated, "local"), "slurm") == SlurmSpec(jobs=4)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("executor.kind=kubernetes", "known: local, ray, slurm"),
        ("executor.partition=night", "no such field"),
        ("executor.jobs=0", "greater than or equal to 1"),
        ("executor={kind: slurm, minutes: 0}", "executor.minutes"),
        ("executor={kind: ray, gpus: -1}", "executor.gpus"),
    ],
)
def test_what_does_not_fit_is_said(setting, words):
    with pytest.raises(RecipeError, match=words):
        plain(setting)


def test_the_option_changes_the_kind_alone_and_settings_come_after(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(plain("executor={kind: slurm, partition: night, jobs: 4}")), encoding="utf-8")
    assert load_recipe(path).executor == SlurmSpec(partition="night", jobs=4)
    options = Options(recipe=path, executor="ray", settings=("executor.cpus=8",))
    assert options.to_recipe().executor == RaySpec(jobs=4, cpus=8)
    assert Options(recipe=path, executor="slurm").to_recipe().executor == SlurmSpec(partition="night", jobs=4)
    assert Options(recipe=path).to_recipe() == load_recipe(path)


@pytest.mark.parametrize(
    ("spec", "tasks", "side_by_side", "each"),
    [
        (LocalSpec(), 5, 1, 16),
        (LocalSpec(jobs=4), 5, 4, 4),
        (LocalSpec(jobs=4), 1, 1, 16),  # alone it has all of them
        (LocalSpec(jobs=99), 99, 99, 1),
        (RaySpec(), 5, 5, 3),  # 16 cores for 5 at a time
        (RaySpec(jobs=2, cpus=6), 5, 2, 6),
        (SlurmSpec(), 5, 5, 4),
    ],
)
def test_cores_are_shared_by_the_tasks_at_a_time(spec, tasks, side_by_side, each):
    assert at_a_time(spec, tasks) == side_by_side
    assert cores_of_task(spec, tasks, 16) == each


def test_only_what_uses_the_network_goes_to_a_cluster():
    recipe = plain("executor.kind=ray")
    assert executor_of(recipe, "train") == executor_of(recipe, "plan") == executor_of(recipe, "predict") == RaySpec()
    assert executor_of(recipe, "audit") == executor_of(recipe, "report") == LocalSpec(jobs=1)
    assert executor_of(plain("executor.jobs=2"), "audit") == LocalSpec(jobs=2)


def test_a_plan_holds_on_every_executor(tmp_path):
    """Threads and steps that were decided for one go on on another, with the same numbers."""
    folder, recipe = RunFolder(tmp_path), plain("executor.jobs=2")
    (task,) = _plan_tasks(folder, recipe)
    resolved = task.spec | {"train": task.spec["train"] | {"threads": 1}}
    write_json(folder.records / "plan.json", {"spec": task.spec, "resolved": resolved})
    for change in ("executor.jobs=4", "executor={kind: ray, cpus: 3}"):
        assert _plan_tasks(folder, plain(change))[0].spec == task.spec
        known = plain(change, "train.threads=1")  # as the resolved recipe says
        assert _plan_tasks(folder, known)[0].spec == resolved
    (other,) = _plan_tasks(folder, plain("executor.jobs=4", "train.lr=1e-4"))
    assert other.spec["executor"]["jobs"] == 4  # what is planned anew is planned for what runs it

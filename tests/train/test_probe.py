"""The probe's decisions, with the clock replaced: what a step costs is given, what follows is checked."""

import polars as pl
import pytest

from maskwright.data.index import SCHEMA, Index
from maskwright.errors import RecipeError
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train import probe
from maskwright.types import Category


@pytest.fixture
def recipe():
    categories = (Category(0, "background", values=(0,)), Category(1, "foreground", values=(1,)))
    data = DataSpec(root=".", categories=categories, leave_out=("background",), channels=1)
    return Recipe(data=data)


def an_index(recipe, height, width, count=10):
    rows = [(f"images/{i}.png", f"masks/{i}.png", *[None] * 5, width, height, 1) for i in range(count)]
    return Index(".", pl.DataFrame(rows, schema=SCHEMA, orient="row"), recipe.data.to_categories())


def clock(monkeypatch, cost):
    """Make a step cost what `cost(recipe)` says."""
    monkeypatch.setattr(probe, "measure_step", lambda recipe, repeats=3: cost(recipe))
    monkeypatch.setattr(probe, "_machine", lambda recipe: probe._update(recipe, threads=2))


def test_budget_is_shared_by_folds_and_held(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.1)
    for folds in (1, 5):
        asked = apply_settings(recipe, ["train.minutes=5", f"split.folds={folds}"])
        plan = probe.plan_training(asked, an_index(recipe, 256, 256))
        spent = folds * plan.recipe.train.steps * 0.1
        assert 0.85 * 300 < spent < 300
        assert spent < plan.projected_seconds <= 301


def test_images_work_at_256_squared_and_small_ones_as_they_are(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.1)
    asked = apply_settings(recipe, ["train.steps=10"])
    large = probe.plan_training(asked, an_index(recipe, 512, 512)).recipe.train
    assert (large.scale, large.crop, large.batch) == (0.5, (256, 256), 8)
    small = probe.plan_training(asked, an_index(recipe, 64, 128)).recipe.train
    assert (small.scale, small.crop, small.batch) == (1.0, (64, 128), 16)
    odd = probe.plan_training(asked, an_index(recipe, 3, 5)).recipe.train
    assert odd.crop == (32, 32)


def test_few_steps_halve_the_batch_and_many_take_the_larger_network(recipe, monkeypatch):
    clock(monkeypatch, lambda r: r.train.batch / 8)
    asked = apply_settings(recipe, ["train.minutes=5", "split.folds=1"])
    short = probe.plan_training(asked, an_index(recipe, 256, 256)).recipe  # 300 s of 1 s steps: fewer than FEW
    assert short.train.batch == 4
    assert short.model.encoder == "resnet10t"
    clock(monkeypatch, lambda r: 0.01 if r.model.encoder == "resnet10t" else 0.03)
    long = probe.plan_training(asked, an_index(recipe, 256, 256)).recipe
    assert long.model.encoder == "resnet18"
    assert long.train.steps == pytest.approx((300 - 3) / (0.03 * 1.06), rel=0.01)


def test_precision_is_what_was_faster(recipe, monkeypatch):
    asked = apply_settings(recipe, ["train.steps=10"])
    for fast in ("float32", "bfloat16"):
        clock(monkeypatch, lambda r, fast=fast: 0.1 if r.train.precision == fast else 0.2)
        train = probe.plan_training(asked, an_index(recipe, 256, 256)).recipe.train
        assert (train.precision, train.channels_last) == (fast, fast == "bfloat16")


def test_an_emulated_precision_is_tried_on_a_tiny_batch_only(recipe, monkeypatch):
    tried = []

    def cost(r):
        tried.append((r.train.precision, r.train.batch))
        return r.train.batch * (0.01 if r.train.precision == "float32" else 0.3)

    clock(monkeypatch, cost)
    plan = probe.plan_training(apply_settings(recipe, ["train.steps=10"]), an_index(recipe, 256, 256))
    assert plan.recipe.train.precision == "float32"
    assert [batch for precision, batch in tried if precision == "bfloat16"] == [2]
    assert any("bfloat16 channels-last would take many times longer" in reason for reason in plan.reasons)


def test_a_step_is_measured_after_one_that_warms_up(recipe, monkeypatch):
    asked = apply_settings(recipe, ["train.batch=2", "train.crop=[64, 64]", "train.scale=1", "train.threads=1"])
    resolved = probe._update(probe._network(asked, probe._SMALL), precision="float32", channels_last=False)
    steps = []
    monkeypatch.setattr(probe, "report", lambda label, done, total: steps.append(done))
    assert probe.measure_step(resolved, repeats=2) > 0
    assert steps == [1, 2, 3]


def test_what_the_recipe_states_is_kept_and_a_resolved_recipe_stays(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.1)
    stated = ["train.minutes=5", "train.batch=3", "train.crop=[64,96]", "train.scale=0.3", "model.encoder=resnet34"]
    first = probe.plan_training(apply_settings(recipe, stated), an_index(recipe, 512, 512)).recipe
    assert (first.train.batch, first.train.crop, first.train.scale) == (3, (64, 96), 0.3)
    assert first.model.encoder == "resnet34"
    clock(monkeypatch, lambda r: 7.0)  # a slower machine changes nothing any more
    assert probe.plan_training(first, an_index(recipe, 512, 512)).recipe == first


def test_the_last_step_is_validated(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.0737)
    for settings in (["train.minutes=1"], ["train.steps=1009"], ["train.steps=7"], ["train.steps=20"]):
        train = probe.plan_training(apply_settings(recipe, settings), an_index(recipe, 64, 64)).recipe.train
        assert train.steps % train.validate_every == 0
    with pytest.raises(RecipeError, match="multiple of validate_every"):
        apply_settings(recipe, ["train.steps=7", "train.validate_every=2"])

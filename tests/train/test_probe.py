"""The probe's decisions, with the clock replaced: what a step costs is given, what follows is checked."""

import polars as pl
import pytest

from maskwright.data.index import SCHEMA, Index
from maskwright.errors import RecipeError
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train import probe, timing
from maskwright.train.steps import SupervisedStep
from maskwright.types import Category


@pytest.fixture
def recipe():
    categories = (Category(0, "background", values=(0,)), Category(1, "foreground", values=(1,)))
    data = DataSpec(root=".", categories=categories, leave_out=("background",), channels=1)
    return Recipe(data=data)


def an_index(recipe, height, width, count=10):
    rows = [(f"images/{i}.png", f"masks/{i}.png", *[None] * 5, width, height, 1) for i in range(count)]
    return Index(".", pl.DataFrame(rows, schema=SCHEMA, orient="row"), recipe.data.to_categories())


@pytest.mark.parametrize(
    ("encoder", "width", "task", "said"),
    [
        ("resnet10t", 3000, "instances", False),
        ("mobilenetv3_small_050", 3000, "instances", True),  # squeeze and excitation
        ("mobilenetv3_small_050", 900, "instances", False),  # in one piece
        ("mobilenetv3_small_050", 3000, "semantic", False),
    ],
)
def test_networks_whose_embeddings_depend_on_the_tile_are_named(recipe, encoder, width, task, said):
    settings = [f"model.encoder={encoder}", f"data.task={task}", "train.scale=1", "model.embedding={}"]
    planned = probe._network(apply_settings(recipe, settings), probe._SMALL)
    told = probe.seams(planned, an_index(recipe, 400, width))
    assert bool(told) == said


def clock(monkeypatch, cost):
    """Make a step cost what `cost(recipe)` says, on a clock that only steps move; return it."""

    def steps(recipe, batch):
        while True:
            seconds = cost(probe._update(recipe, batch=batch))
            now[0] += seconds
            yield seconds

    now = [0.0]
    monkeypatch.setattr(timing, "_timed_steps", steps)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(probe, "_machine", lambda recipe: probe._update(recipe, threads=2))
    return now


def test_budget_is_shared_by_folds_and_held(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.1)
    for folds in (1, 5):
        asked = apply_settings(recipe, ["train.minutes=5", f"split.folds={folds}"])
        plan = probe.plan_training(asked, an_index(recipe, 256, 256))
        spent = folds * plan.recipe.train.steps * 0.1
        assert 0.85 * 300 < spent < 300
        assert spent < plan.projected_seconds <= 301


@pytest.mark.parametrize("further", [1.0, 2.5])
def test_rounds_of_selftraining_share_the_budget(recipe, monkeypatch, further):
    clock(monkeypatch, lambda r: 0.1)
    asked = apply_settings(recipe, ["train.minutes=5", "split.folds=2"])
    plan = probe.plan_training(asked, an_index(recipe, 256, 256), further=further)
    spent = 2 * (1 + further) * plan.recipe.train.steps * 0.1
    assert 0.85 * 300 < spent < 300
    assert spent < plan.projected_seconds <= 301
    assert any(f"rounds that cost {further:g} times as much" in line for line in plan.reasons)


@pytest.mark.parametrize(("jobs", "rounds"), [(1, 5), (2, 3), (5, 1), (8, 1)])
def test_trainings_side_by_side_count_once(recipe, monkeypatch, jobs, rounds):
    clock(monkeypatch, lambda r: 0.1)
    asked = apply_settings(recipe, ["train.minutes=5", "split.folds=5", f"executor.jobs={jobs}"])
    plan = probe.plan_training(asked, an_index(recipe, 256, 256))
    spent = rounds * plan.recipe.train.steps * 0.1
    assert 0.85 * 300 < spent < 300
    assert spent < plan.projected_seconds <= 301


@pytest.mark.parametrize(
    ("settings", "threads"),
    [((), 8), (("executor.jobs=3",), 2), (("executor={kind: slurm, cpus: 6}",), 6), (("train.threads=5",), 5)],
)
def test_threads_are_the_share_of_a_training(recipe, monkeypatch, settings, threads):
    monkeypatch.setattr(probe, "cores", lambda: 8)
    monkeypatch.setattr(probe.torch, "set_num_threads", lambda count: None)
    asked = apply_settings(recipe, ["split.folds=5", *settings])
    assert probe._machine(asked).train.threads == threads


def test_images_work_at_256_squared_and_small_ones_as_they_are(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.1)
    asked = apply_settings(recipe, ["train.steps=10"])
    large = probe.plan_training(asked, an_index(recipe, 512, 512)).recipe.train
    assert (large.scale, large.crop, large.batch) == (0.5, (256, 256), 8)
    small = probe.plan_training(asked, an_index(recipe, 64, 128)).recipe.train
    assert (small.scale, small.crop, small.batch) == (1.0, (64, 128), 16)
    odd = probe.plan_training(asked, an_index(recipe, 3, 5)).recipe.train
    assert odd.crop == (32, 32)


def test_a_crop_that_was_meant_for_larger_images_is_said(recipe, monkeypatch):
    clock(monkeypatch, lambda r: 0.1)
    stated = apply_settings(recipe, ["train.steps=10", "train.crop=[960, 1728]", "train.scale=0.25"])
    told = "\n".join(probe.plan_training(stated, an_index(recipe, 400, 400)).reasons)
    assert "most of each crop lies outside the image, which has 100×100 there" in told
    for asked, sides in ((stated, (3840, 6912)), (apply_settings(recipe, ["train.steps=10"]), (3, 5))):
        assert "outside" not in "\n".join(probe.plan_training(asked, an_index(recipe, *sides)).reasons)


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
    assert {batch for precision, batch in tried if precision == "bfloat16"} == {2}
    assert any("bfloat16 channels-last would take many times longer" in reason for reason in plan.reasons)


def test_a_step_is_measured_after_one_that_warms_up(recipe, monkeypatch):
    settings = [
        "train.batch=2",
        "train.crop=[64, 64]",
        "train.scale=1",
        "train.threads=1",
        "model.encoder_weights=none",
    ]
    asked = apply_settings(recipe, settings)
    resolved = probe._update(probe._network(asked, probe._SMALL), precision="float32", channels_last=False)
    steps = []
    with listen(lambda label, done, total, note: steps.append((done, total, note))):
        assert timing.measure_step(resolved, repeats=2) > 0
    assert steps == [(n, 3, "a step of 2 crops of 64×64 in float32") for n in range(4)]


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


def by_pixels(seconds):
    """A step of 8 crops of 256² costs `seconds`; others by their pixels."""
    return lambda r: seconds * r.train.batch * r.train.crop[0] * r.train.crop[1] / (8 * 256 * 256)


@pytest.mark.parametrize(("minutes", "cap"), [(1, 20), (0.3, 6), (8, 48), (None, 60)])
@pytest.mark.parametrize("seconds", [0.01, 1, 10, 30, 100])
def test_the_probe_keeps_to_its_share_of_the_budget(recipe, monkeypatch, minutes, cap, seconds):
    now = clock(monkeypatch, by_pixels(seconds))
    settings = ["split.folds=5"] if minutes is None else ["split.folds=5", f"train.minutes={minutes}"]
    plan = probe.plan_training(apply_settings(recipe, settings), an_index(recipe, 256, 256))
    # Two steps of two crops of 96² are always made in each of two precisions: 4 × 18432 / 524288 = 0.14 of a step
    assert now[0] <= max(cap, 0.15 * seconds)
    assert plan.seconds_per_step == pytest.approx(seconds * plan.recipe.train.batch / 8)  # cost is by pixels here


def test_what_there_is_no_time_to_measure_is_the_default_and_said(recipe, monkeypatch):
    def cost(r):
        return by_pixels(60)(r) * (0.9 if r.train.precision == "bfloat16" else 1)

    clock(monkeypatch, cost)
    asked = apply_settings(recipe, ["train.minutes=1", "split.folds=5"])
    plan = probe.plan_training(asked, an_index(recipe, 256, 256))
    assert (plan.recipe.train.precision, plan.recipe.train.channels_last) == ("float32", False)
    assert plan.recipe.model.encoder == "resnet10t"
    said = "\n".join(plan.reasons)
    assert "float32: the default; there was no time to compare it with bfloat16 channels-last" in said
    assert "estimated from small crops: the probe may take 20 s" in said


def test_crops_of_a_step_that_takes_too_long_are_measured_instead(recipe, monkeypatch):
    clock(monkeypatch, by_pixels(8))
    asked = apply_settings(recipe, ["train.minutes=1", "split.folds=2", "train.batch=8"])
    plan = probe.plan_training(asked, an_index(recipe, 256, 256))
    # 20 s, less 1.1 s of tiny steps; a third of 18.9 s holds two steps of 2 crops (2 s each), not of 4
    assert any("estimated from 2 of its 8 crops" in reason for reason in plan.reasons)
    assert plan.seconds_per_step == pytest.approx(8)


@pytest.mark.parametrize(("seconds", "fits"), [(0.05, True), (20, False)])
def test_the_plan_says_one_time_and_whether_it_fits(recipe, monkeypatch, seconds, fits):
    clock(monkeypatch, by_pixels(seconds))
    asked = apply_settings(recipe, ["train.minutes=1", "split.folds=5"])
    plan = probe.plan_training(asked, an_index(recipe, 256, 256))
    (said,) = [reason for reason in plan.reasons if "steps of" in reason and "for each of 5 fold(s)" in reason]
    assert f"about {plan.projected_seconds / 60:.1f} min" in said
    assert ("MORE than the 1 min asked for" in said) is not fits
    assert (plan.projected_seconds <= 60) is fits
    if not fits:  # 5 folds × (8 steps of half the batch, 10 s each, 6 % on top, and 3 s to start)
        assert plan.projected_seconds == pytest.approx(5 * (8 * 10 * 1.06 + 3))


def test_a_step_in_parts_is_measured_in_parts(recipe, monkeypatch):
    tried = []
    clock(monkeypatch, lambda r: tried.append(r.train.batch) or 0.01 * r.train.batch)
    stated = ["train.steps=10", "train.batch=48", "train.accumulate=12", "train.crop=[64, 64]"]
    plan = probe.plan_training(apply_settings(recipe, stated), an_index(recipe, 64, 64))
    assert max(tried) == 4  # 48 crops at once may not fit into the machine's memory
    assert plan.seconds_per_step == pytest.approx(12 * 0.04)
    assert not any("estimated" in reason for reason in plan.reasons)


@pytest.mark.parametrize("seconds", [0.001, 10.0])
def test_a_batch_that_is_chosen_can_be_cut_into_parts(recipe, monkeypatch, seconds):
    clock(monkeypatch, lambda r: seconds)
    stated = ["train.minutes=5", "train.accumulate=3", "model.encoder=resnet10t"]
    plan = probe.plan_training(apply_settings(recipe, stated), an_index(recipe, 256, 256))
    assert plan.recipe.train.batch == 9  # 8 of 256², the next multiple; 4 would be none
    Recipe.model_validate(plan.recipe.model_dump(mode="json"))


def test_the_probe_takes_rates_that_suit_the_real_crop_alone(recipe):
    # small crops of 96 pixels make a map of 24 at stride 4: rate 24 sees padding there, but not in one of 32
    fields = {"kind": "aspp_unet", "depth": 2, "width": 4, "rates": [6, 12, 24]}
    asked = Recipe.model_validate(recipe.model_dump() | {"model": fields})
    settings = ["train.batch=2", "train.crop=[128, 128]", "train.scale=1", "train.threads=1", "train.compile=true"]
    resolved = probe._update(apply_settings(asked, settings), precision="float32", channels_last=False)
    assert timing.tiny_step(resolved, 0.0) > 0
    with pytest.raises(RecipeError, match=r"model\.rates"):
        timing.measure_step(probe._update(resolved, crop=(96, 96)), seconds=0.0)


def test_the_probe_learns_from_blended_labels_where_the_training_does(recipe, monkeypatch):
    seen = []
    monkeypatch.setattr(SupervisedStep, "losses", lambda self, batch, progress: seen.append(batch.labels) or {}[0])
    for mix in ((), ({"kind": "mixup"},)):
        asked = Recipe.model_validate(recipe.model_dump() | {"mix": mix})
        settings = ["train.batch=2", "train.crop=[32, 32]", "train.scale=1", "model.encoder_weights=none"]
        resolved = probe._network(apply_settings(asked, settings), probe._SMALL)
        with pytest.raises(KeyError):
            timing.measure_step(probe._update(resolved, precision="float32", channels_last=False))
    assert [tuple(labels.shape) for labels in seen] == [(2, 32, 32), (2, 2, 32, 32)]
    assert set(seen[1].sum(1).unique().tolist()) == {0, 1}  # ignored, or one category

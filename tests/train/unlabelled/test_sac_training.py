"""SAC and batch-norm adaptation in whole trainings: what they see, that they resume, and that they learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from make_pool import SETTINGS, PowerCutError
from maskwright.checkpoint import KEY, load_trained
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.errors import RecipeError
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings, load_recipe
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold
from maskwright.train.unlabelled.domains import with_shares

SAC = "selftrain.method={kind: sac, views: 3, batch: 1, teacher_every: 2, watch_steps: 4}"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two domains: labelled scenes, and scenes of other places that are darker, greener and noisier, without labels."""
    root = tmp_path_factory.mktemp("world")
    make_playground(root, labelled=8, unlabelled=6, size=(40, 64), planted=False)
    rng = np.random.default_rng(0)
    for path in sorted((root / "unlabeled").glob("*.png")):
        image = np.array(Image.open(path)) * np.array([0.4, 0.6, 0.5]) + rng.normal(0, 12, (40, 64, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
    index, section, _ = build_index(DataSpec(root=str(root), task="semantic"))
    return index, Recipe(data=section)


@pytest.fixture(scope="module")
def start(world, tmp_path_factory):
    """The last checkpoint of a training on the labelled domain."""
    return train(tmp_path_factory.mktemp("start"), world, pool=False)


def train(folder, world, *settings, stop_at=None, start=None, pool=True):
    index, recipe = world
    recipe = apply_settings(recipe, [*SETTINGS, "train.ema=0", *settings])
    labelled, said = index.labelled.images, []

    def watch(label, done, total, note):
        if note:
            said.append(note)
        if label.startswith("train") and done == stop_at:
            raise PowerCutError

    with listen(watch):
        options = {"fold": 1, "start": start, "pool": index.unlabelled if pool else None}
        last = train_fold(folder, index.only(labelled[:6]), index.only(labelled[6:]), recipe, **options)
    (folder / "said.json").write_text(json.dumps(said))
    return last


def state_of(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(one, two):
    states = [state_of(path) for path in (one, two)]
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        SAC,
        "selftrain.method={kind: sac, views: 2, labelled_share: 0.5, pooling: min_entropy, freeze_norm: false, "
        "renormalise: true, denominator: kept}",
        "selftrain.method={kind: norm_adaptation, batch: 3}",
        "selftrain.method={kind: sac, views: 2, batch: 1, mix: {kind: classmix, probability: 0.5}, masked: {block: 8}}",
    ],
)
@pytest.mark.parametrize("stop_at", [3, 5])
def test_a_resumed_training_is_bit_identical(tmp_path, world, start, method, stop_at):
    train(tmp_path / "whole", world, method, start=start)
    with pytest.raises(PowerCutError):
        train(tmp_path / "cut", world, method, start=start, stop_at=stop_at)
    train(tmp_path / "cut", world, method, start=start)
    assert same(tmp_path / "whole" / "last.ckpt", tmp_path / "cut" / "last.ckpt")
    tables = [pl.read_csv(tmp_path / n / "metrics.csv").drop("seconds", "waited") for n in ("whole", "cut")]
    assert tables[0].equals(tables[1])
    weights = [tmp_path / n / "pool_weights.csv" for n in ("whole", "cut")]
    assert weights[0].is_file() == ("sac" in method)
    assert "sac" not in method or weights[0].read_text() == weights[1].read_text()


@pytest.mark.slow
def test_a_training_logs_what_was_kept_and_the_prior(tmp_path, world, start):
    train(tmp_path, world, SAC, start=start)
    table = pl.read_csv(tmp_path / "metrics.csv")
    names = world[1].data.to_categories().names
    assert {f"kept_{name}" for name in names} | {f"prior_{name}" for name in names} <= set(table.columns)
    assert {"loss_target", "loss_cross_entropy", "loss_dice"} <= set(table.columns)
    priors = table.select(f"prior_{name}" for name in names).to_numpy()
    assert (priors >= 0).all()
    assert (priors <= 1).all()
    shares = table.select(f"share_{name}" for name in names).to_numpy()
    assert np.nansum(shares, 1) == pytest.approx(1)


@pytest.mark.slow
def test_statistics_stay_and_weights_learn(tmp_path, world, start):
    train(tmp_path, world, SAC.replace("}", ", adapt_norm: false}"), start=start)
    before, after = state_of(start), state_of(tmp_path / "last.ckpt")
    buffers = [key for key in before if key.endswith(("running_mean", "running_var")) and "step.network." in key]
    assert buffers
    assert all(torch.equal(before[key], after[key]) for key in buffers)
    weights = [key for key in before if key.startswith("step.network.") and key.endswith("weight")]
    assert not any(torch.equal(before[key], after[key]) for key in weights)
    assert any(before[key].ndim == 1 for key in weights)  # batch norm's own are among them


@pytest.mark.slow
@pytest.mark.parametrize(
    ("freeze", "starts", "stay"), [("auto", True, True), ("auto", False, False), ("false", True, False)]
)
def test_statistics_of_a_consistency_method_stay_where_it_goes_on(tmp_path, world, start, freeze, starts, stay):
    method = f"selftrain.method={{kind: fixmatch, threshold: 0.5, labelled_share: 0.5, freeze_norm: {freeze}}}"
    train(tmp_path, world, method, start=start if starts else None)
    before, after = state_of(start), state_of(tmp_path / "last.ckpt")
    buffers = [key for key in before if key.endswith(("running_mean", "running_var")) and "step.network." in key]
    assert all(torch.equal(before[key], after[key]) for key in buffers) == stay
    weights = [key for key in before if key.endswith("weight") and "step.network." in key]
    assert any(not torch.equal(before[key], after[key]) for key in weights)


def test_statistics_can_t_stay_where_there_are_none(tmp_path, world):
    with pytest.raises(RecipeError, match="freeze_norm"):
        train(tmp_path, world, "selftrain.method={kind: fixmatch, freeze_norm: true}")


@pytest.mark.slow
def test_the_teacher_moves_when_it_is_its_turn(tmp_path, world, start):
    for name, every in (("never", 6), ("twice", 4)):
        method = f"{{kind: sac, views: 2, batch: 1, teacher_every: {every}, teacher_momentum: 0, collapse: on}}"
        method = f"selftrain.method={method}"
        train(tmp_path / name, world, method, start=start)
    before = state_of(start)
    teacher = {name: state_of(tmp_path / name / "last.ckpt") for name in ("never", "twice")}
    keys = [key for key in before if key.startswith("step.network.") and key.endswith("conv1.weight")]
    own = [key.replace("step.network.", "step.teacher.network.") for key in keys]
    # six steps, 0 to 5: due at 0, when it is a copy of the start, and at 6, which never comes; or at 0 and 4
    assert all(torch.equal(before[k], teacher["never"][o]) for k, o in zip(keys, own, strict=True))
    assert not any(torch.equal(before[k], teacher["twice"][o]) for k, o in zip(keys, own, strict=True))
    assert not any(torch.equal(teacher["twice"][k], teacher["twice"][o]) for k, o in zip(keys, own, strict=True))


@pytest.mark.slow
def test_labels_alone_statistics_of_both(tmp_path, world, start):
    train(tmp_path / "both", world, "selftrain.method={kind: norm_adaptation}")
    train(tmp_path / "labels", world, pool=False)
    both, labels = (state_of(tmp_path / name / "last.ckpt") for name in ("both", "labels"))
    first = next(key for key in both if key.endswith("running_mean"))
    assert not torch.equal(both[first], labels[first])
    # the weights are those of learning from labels alone: training normalises each batch by itself
    weights = [key for key in both if key.startswith("step.network.") and key.endswith(("weight", "bias"))]
    assert all(torch.equal(both[key], labels[key]) for key in weights)


@pytest.mark.slow
def test_a_network_without_batch_norm_has_nothing_to_adapt(tmp_path, world):
    settings = ("model={kind: custom_unet, depth: 2, width: 8, normalization: group}",)
    train(tmp_path / "both", world, "selftrain.method={kind: norm_adaptation}", *settings)
    train(tmp_path / "labels", world, *settings, pool=False)
    assert any("nothing to adapt" in note for note in json.loads((tmp_path / "both" / "said.json").read_text()))
    both, labels = (state_of(tmp_path / name / "last.ckpt") for name in ("both", "labels"))
    assert all(torch.equal(both[key], labels[key]) for key in labels)


@pytest.mark.slow
def test_the_pools_own_statistics_are_those_that_prediction_uses(tmp_path, world, start):
    method = "selftrain.method={kind: sac, views: 2, batch: 1, renormalise: true}"
    last = train(tmp_path, world, method, start=start)
    index, recipe = world
    pixels = np.concatenate([index.unlabelled.read_image(row).reshape(-1, 3) for row in range(len(index.unlabelled))])
    found = load_trained(last).intensity
    assert found.mean == pytest.approx(pixels.mean(0) / 255, abs=1e-4)
    assert found.std == pytest.approx(pixels.std(0) / 255, abs=1e-4)
    assert recipe.data.mean != pytest.approx(found.mean, abs=0.02)
    assert torch.load(last, weights_only=True)[KEY]["data"]["mean"] == list(found.mean)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "labelled", "pooled"), [(0.25, 1, 3), (0.5, 2, 2), (0.75, 3, 1), (0, 1, 4)])
@pytest.mark.parametrize("kind", ["sac", "fixmatch"])
def test_the_share_of_labelled_crops(tmp_path, world, start, monkeypatch, kind, share, labelled, pooled):
    from maskwright.train.unlabelled.consistency import ConsistencyStep
    from maskwright.train.unlabelled.sac.step import SacStep

    step, own = (SacStep, "target") if kind == "sac" else (ConsistencyStep, "strong")
    seen, losses = [], step.losses

    def watched(self, batch, progress):
        terms = losses(self, batch, progress)
        seen.append((len(batch.images), len(batch.pool.clean), sorted(terms)))
        return terms

    monkeypatch.setattr(step, "losses", watched)
    method = f"selftrain.method={{kind: {kind}, views: 2, labelled_share: {share}}}"
    train(tmp_path, world, method, "train.batch=4", start=start)
    terms = [own] if share == 0 else ["cross_entropy", "dice", own]
    assert seen == [(labelled, pooled, terms)] * 6


@pytest.mark.parametrize(
    ("share", "batch", "unit", "expected"),
    [(0.1, 4, 1, (1, 3)), (0.9, 4, 1, (3, 1)), (0.5, 1, 1, (1, 1)), (0.5, 8, 4, (4, 4)), (0.5, 6, 2, (4, 2))],
)
@pytest.mark.parametrize("kind", ["sac", "fixmatch"])
def test_shares_leave_some_of_both(kind, share, batch, unit, expected):
    settings = [f"selftrain.method={{kind: {kind}, labelled_share: {share}}}"]
    settings += [f"train.batch={batch}", f"train.accumulate={unit}"]
    shared = with_shares(apply_settings(Recipe(data=DataSpec(root=".")), settings))
    assert (shared.train.batch, shared.selftrain.method.batch) == expected


@pytest.mark.parametrize(
    "method",
    [
        "{kind: sac}",
        "{kind: sac, importance: 0, labelled_share: 0}",
        "{kind: sac, importance: 0}",
        "{kind: fixmatch, labelled_share: 0}",
    ],
)
def test_what_needs_a_network_to_start_from(tmp_path, world, method):
    with pytest.raises(RecipeError, match="a network to start from"):
        train(tmp_path, world, f"selftrain.method={method}")


@pytest.mark.slow
def test_a_rising_loss_is_said(tmp_path, world, start):
    method = "selftrain.method={kind: sac, views: 2, batch: 1, watch_steps: 2, watch_rise: 1.0001, collapse: on}"
    train(tmp_path / "calm", world, method, "train.lr=1e-9", start=start)
    wild = method.replace("batch: 1,", "batch: 1, weight: 1000, ramp: null,")
    train(tmp_path / "wild", world, wild, "train.lr=0.03", "train.clip=null", "train.warmup=0", start=start)
    said = {name: json.loads((tmp_path / name / "said.json").read_text()) for name in ("calm", "wild")}
    assert any("restart" in note for note in said["wild"])
    assert not any("restart" in note for note in said["calm"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synthia_source", "synthia_sac"])
def test_the_methods_of_source_4s_recipes(tmp_path, world, start, name):
    recipes = Path(__file__).parents[3] / "recipes"
    method = load_recipe(recipes / f"{name}.yaml").selftrain.method.model_copy(update={"batch": 1})
    train(tmp_path, world, f"selftrain.method={method.model_dump_json()}", start=start)
    assert pl.read_csv(tmp_path / "metrics.csv")["step"].to_list() == [2, 4, 6]


@pytest.mark.slow
def test_bfloat16_and_parts_of_a_step(tmp_path, world, start):
    settings = ("train.precision=bfloat16", "train.accumulate=2", "train.batch=4", "train.ema=0.9")
    train(tmp_path, world, "selftrain.method={kind: sac, views: 3, batch: 2}", *settings, start=start)
    state = state_of(tmp_path / "last.ckpt")
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())
    assert int(state["step.steps"]) == int(state["step.teacher.updates"]) == 6


@pytest.mark.slow
def test_statistics_are_adapted_before_the_first_step(tmp_path, world, start):
    """They are the means of those of both domains, and stay; those of the start are of the labelled one alone."""
    short = "selftrain.method={{kind: sac, views: 2, batch: 1, importance: 0, adapt_norm: {}}}"
    train(tmp_path / "kept", world, short.format("false"), start=start)
    train(tmp_path / "adapted", world, short.format("true"), start=start)
    before, kept, adapted = state_of(start), *(state_of(tmp_path / n / "last.ckpt") for n in ("kept", "adapted"))
    keys = [key for key in before if key.startswith("step.network.") and key.endswith("running_mean")]
    assert all(torch.equal(before[key], kept[key]) for key in keys)
    assert not any(torch.equal(before[key], adapted[key]) for key in keys)
    own = [key.replace("step.network.", "step.teacher.network.") for key in keys]
    assert all(torch.equal(adapted[key], adapted[other]) for key, other in zip(keys, own, strict=True))
    with pytest.raises(PowerCutError):
        train(tmp_path / "cut", world, short.format("true"), start=start, stop_at=5)
    train(tmp_path / "cut", world, short.format("true"), start=start)  # not adapted anew: the checkpoint goes on
    resumed = state_of(tmp_path / "cut" / "last.ckpt")
    assert all(torch.equal(adapted[key], resumed[key]) for key in adapted)
    assert "the teacher moves every 1 step(s), with a momentum of 0.95" in (tmp_path / "cut" / "log.txt").read_text()

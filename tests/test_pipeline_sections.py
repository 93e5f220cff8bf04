"""What a stage depends on is in its fingerprint."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maskwright.artifacts import RunFolder
from maskwright.errors import RecipeError
from maskwright.pipeline.rounds import round_recipe
from maskwright.pipeline.run import _predict_tasks, _train_tasks
from maskwright.pipeline.sections import AFTERWARDS, LEARNING, of_objects, predicting
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.cluster import AgglomerativeSpec
from maskwright.recipe.data import DataSpec
from maskwright.recipe.instances import InstancesSpec

BESIDES = {
    "version",
    "instances",
    "audit",
    "selftrain",
    "predict",
    "postprocess",
    "evaluate",
    "suspects",
    "report",
    "executor",
}
"""Sections that change nothing in a training; of `instances` that is so where no objects are told apart."""


def test_every_section_either_decides_a_training_or_does_not():
    assert set(Recipe.model_fields) == LEARNING | BESIDES
    assert not LEARNING & BESIDES


CHANGES = {
    "seed": "seed=1",
    "data": "data.channels=1",
    "split": "split.folds=3",
    "model": "model.encoder=resnet34",
    "loss": 'loss=[{"kind": "focal"}]',
    "levels": 'levels=[{}, {"weight": 0.5}]',
    "augment": "augment=[]",
    "mix": 'mix=[{"kind": "cutmix"}]',
    "sampling": "sampling.centred=0.5",
    "train": "train.head_lr=10",
    "audit": "audit.pictures=false",
    "selftrain": "selftrain.rounds=1",
    "predict": "predict.tile=512",
    "postprocess": "postprocess.chain=[]",
    "evaluate": "evaluate.absent=skip",
    "suspects": "suspects.regions=3",
    "instances": "instances.loss.push=2",
    "report": "report.thumbnails=3",
    "executor": "executor.jobs=2",
}


def fingerprints(recipe):
    return [(task.spec, task.outside) for task in _train_tasks(RunFolder(Path(".")), recipe)]


@pytest.mark.parametrize("section", sorted(set(Recipe.model_fields) - {"version"}))
def test_a_change_of_a_section_makes_a_training_stale_if_it_decides_it(section):
    recipe = Recipe(data=DataSpec(root="."))
    changed = apply_settings(recipe, [CHANGES[section]])
    assert changed != recipe
    assert (fingerprints(changed) != fingerprints(recipe)) == (section in LEARNING)


@pytest.mark.parametrize(("change", "decides"), [("loss.push=2", True), ("apart=false", True), ("minimum=3", False)])
def test_where_objects_are_told_apart_what_they_are_learned_by_decides_too(change, decides):
    recipe = Recipe(data=DataSpec(root=".", task="instances"))
    changed = apply_settings(recipe, [f"instances.{change}"])
    assert (fingerprints(changed) != fingerprints(recipe)) == decides


@pytest.mark.parametrize(
    ("change", "decides"),
    [
        ("cluster.bandwidth=1", True),
        ("apart=false", True),
        ("minimum=3", True),
        ("smallest=0", True),
        ("merge.overlap=1", False),
    ],
)
def test_what_decides_which_objects_are_found_makes_predictions_stale(change, decides):
    recipe = Recipe(data=DataSpec(root=".", task="instances"))
    changed = apply_settings(recipe, [f"instances.{change}"])
    assert (predicting(changed) != predicting(recipe)) == decides
    name = change.partition("=")[0].partition(".")[0]
    assert (name in predicting(recipe)["instances"]) == decides


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({"loss": {"push": 2.0}}, "loss"),
        ({"cluster": {"kind": "mean_shift_plus", "seeds": 5}}, "cluster"),
        ({"cluster": {"seeds": 5}}, "cluster"),
        ({"merge": {"thing_leftover": "nearest"}}, "merge"),
    ],
)
def test_a_field_of_a_component_leaves_the_others_as_they_are(stated, field):
    plain = InstancesSpec().model_dump()
    found = InstancesSpec.model_validate(stated).model_dump()
    assert {**found, field: plain[field] | stated[field]} == {**plain, field: plain[field] | stated[field]}
    assert found[field] == plain[field] | stated[field]
    other = InstancesSpec.model_validate({"cluster": {"kind": "agglomerative"}})
    assert other.cluster == AgglomerativeSpec()


@pytest.mark.parametrize(
    "change",
    [
        "selftrain={rounds: 1, method: {kind: mean_teacher}}",
        "selftrain={rounds: 1, method: {kind: pseudo_labels, labels: soft, loss: [{kind: kl}]}}",
        "selftrain={rounds: 1, method: {kind: pseudo_labels, fused_with: [other]}}",
        "selftrain={rounds: 1, method: {kind: pseudo_labels, mix: [{kind: mixup}]}}",
        "mix=[{kind: mixup}]",
        "train.swa=0.3",
        "report.price_of_leaks=true",
        "predict.fusion=rank",
    ],
)
def test_what_can_not_be_done_with_objects_is_refused(change):
    with pytest.raises(RecipeError, match=r"data\.task"):
        apply_settings(Recipe(data=DataSpec(root=".", task="panoptic")), [change])
    apply_settings(Recipe(data=DataSpec(root=".")), [change])


def test_what_one_network_says_of_the_held_out_part_is_labels_alone(monkeypatch):
    parts = ["oof", "holdout", "holdout-fold-0"]
    monkeypatch.setattr(sys.modules[_predict_tasks.__module__], "_parts", lambda *_: parts)
    recipe = Recipe(data=DataSpec(root=".", task="panoptic"))
    told = [("instances" in task.spec) for task in _predict_tasks(RunFolder(Path(".")), recipe)]
    assert told == [True, True, False]


def test_checkpoints_that_rounds_need_make_a_training_stale():
    plain = Recipe(data=DataSpec(root="."))
    ranked = apply_settings(plain, ["selftrain.rounds=1", 'selftrain.method.images={"kind": "agreement"}'])
    assert fingerprints(ranked) != fingerprints(plain)
    assert "round-0/fold-0/third-1.ckpt" in _train_tasks(RunFolder(Path(".")), ranked)[0].outputs


@pytest.mark.parametrize("change", ["predict.tile=512", "predict.pad=zero", "evaluate.empty=one"])
def test_what_the_rate_follows_makes_a_training_stale(change):
    plain = Recipe(data=DataSpec(root="."))
    following = apply_settings(plain, ['train.schedule={"kind": "plateau"}'])
    assert fingerprints(apply_settings(following, [change])) != fingerprints(following)
    assert fingerprints(apply_settings(plain, [change])) == fingerprints(plain)
    for other in ("predict.batch=2", "predict.overlays=3", "evaluate.samples=200", "train.workers=2"):
        assert fingerprints(apply_settings(following, [other])) == fingerprints(following)


def test_rounds_with_objects_are_adopted_by_pq():
    recipe = apply_settings(Recipe(data=DataSpec(root=".", task="panoptic")), ["selftrain.rounds=1"])
    assert recipe.adoption_metric() == "pq"


def test_whether_parts_are_objects_decides_what_is_made_of_them_too():
    recipe = apply_settings(Recipe(data=DataSpec(root=".", task="panoptic")), ["instances.apart=false"])
    assert of_objects(recipe, AFTERWARDS)["instances"]["apart"] is False


def test_what_a_short_round_ships_has_moved():
    """A partner that is renewed more seldom than a round has steps would be the network before the first of them."""
    settings = ["train.steps=300", "train.validate_every=50", "instances.partner_every=200", "train.ema=0"]
    rounds = ["selftrain.rounds=1", "selftrain.length=0.5", "selftrain.method.kind=pseudo_labels"]
    recipe = apply_settings(Recipe(data=DataSpec(root=".", task="panoptic")), [*settings, *rounds])
    found = round_recipe(recipe, recipe.selftrain, {"round": 1, "step": "train"}, None)
    assert found.train.steps == 150
    assert found.instances.partner_every == 150
    pretrained = recipe.selftrain.model_copy(update={"protocol": "pretrain_mixed", "length": 1.0})
    parts = [round_recipe(recipe, pretrained, {"round": 1, "step": s}, None) for s in ("pretrain", "train")]
    assert all(part.instances.partner_every <= part.train.steps < 200 for part in parts)

"""Several networks of a fold for different things: their tasks, what each is asked, a run that chooses among them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from maskwright.artifacts import RunFolder, read_json, write_json, write_table, write_text
from maskwright.cli import finished
from maskwright.cli.run import idle_workflow
from maskwright.data.images import read_ids
from maskwright.data.synthetic import make_playground
from maskwright.metrics import PanopticCounts
from maskwright.pipeline import divisions, fusing, object_scores, stages
from maskwright.pipeline import run as run_pipeline
from maskwright.pipeline.object_scores import best_of_each
from maskwright.pipeline.rounds import _start
from maskwright.pipeline.run import _TASKS
from maskwright.pipeline.sections import planning, predicting, training
from maskwright.pipeline.teams import chosen_among, networks_asked
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings, dump_recipe, load_recipe
from maskwright.recipe.data import DataSpec
from maskwright.train.targets import INSTANCES, ObjectTargets
from test_objects_run import PowerCutError, maskwright
from test_objects_selftrain import command

NAMES = ["road", "car", "bus", "rider"]
TOGETHER = 'instances.together=[["car", "bus"], ["rider"]]'


def recipe_of(*settings):
    items = [{"id": k, "name": name, "isthing": k > 0} for k, name in enumerate(NAMES)]
    recipe = Recipe(data=DataSpec(root=".", task="panoptic", categories=items))
    return apply_settings(recipe, ["split.folds=2", "selftrain.rounds=1", *settings])


def folder_of(root, recipe):
    folder = RunFolder(root)
    write_table(folder.folds, pl.DataFrame({"image": ["a", "b"], "group": ["a", "b"], "fold": [0, 1]}))
    write_table(folder.decided / "images.parquet", pl.DataFrame({"image": ["a", "b"], "mask": ["a", "b"]}))
    write_json(folder.audit / "unusable.json", [])
    return folder


def tasks(folder, recipe, *stages):
    return {task.name: task for stage in stages for task in _TASKS[stage](folder, recipe)}


@pytest.mark.parametrize(
    ("workflow", "first", "rounds"),
    [("all", [None], [None]), ("icm", [None], [["car"], ["bus"], ["rider"]]),
     ("base", [None], [["car", "bus"], ["rider"]]), ("ccm", [["car", "bus"], ["rider"]], [["car", "bus"], ["rider"]])],
)  # fmt: skip
def test_every_network_is_a_task_that_an_executor_can_take(tmp_path, workflow, first, rounds):
    recipe = recipe_of(f"instances.workflow={workflow}", TOGETHER)
    folder = folder_of(tmp_path, recipe)
    train = tasks(folder, recipe, "train")
    assert [t.spec.get("only") for t in train.values() if t.spec["fold"] == 1] == first
    places = [t.outputs[1] for t in train.values() if t.spec["fold"] == 1]
    assert places == ["round-0/fold-1/last.ckpt", "round-0/team-1/fold-1/last.ckpt"][: len(first)]
    round_ = tasks(folder, recipe, "selftrain")
    own = [t for t in round_.values() if t.spec.get("fold") == 1 and t.spec.get("step") == "train"]
    assert [t.spec.get("only") for t in own] == rounds
    for task in own:  # side by side: none waits for another one of the round
        assert not {t.name for t in own} & set(task.after)
        assert "selftrain-1-pseudo-1" in task.after
    assert {t.name for t in train.values() if t.spec["fold"] == 1} <= set(round_["selftrain-1-pseudo-1"].after)
    assert {t.name for t in own} <= set(round_["selftrain-1-oof"].after)


def test_mix_has_all_of_them_and_a_choice(tmp_path):
    recipe = recipe_of("instances.workflow=mix", TOGETHER)
    found = tasks(folder_of(tmp_path, recipe), recipe, "selftrain")
    own = [t.spec["only"] for t in found.values() if t.spec.get("fold") == 0 and t.spec.get("step") == "train"]
    assert own == [["car", "bus", "rider"], ["car", "bus"], ["rider"], ["car"], ["bus"]]
    levels = ["all", "together", "each"]
    assert [found[f"selftrain-1-oof-{level}"].spec["level"] for level in levels] == levels
    assert set(found["selftrain-1-choose"].after) >= {f"selftrain-1-oof-{level}" for level in levels}
    assert "selftrain-1-choose" in found["selftrain-1-oof"].after
    other = recipe_of("instances.workflow=mix", TOGETHER, "evaluate.samples=200", "selftrain.adopt=always")
    again = tasks(folder_of(tmp_path, other), other, "selftrain")["selftrain-1-choose"]
    assert again.spec == found["selftrain-1-choose"].spec  # intervals choose nothing, and no network predicts anew


def test_what_is_not_said_changes_no_fingerprint():
    plain, said = recipe_of(), recipe_of("instances.workflow=all")
    for section in (training, predicting, planning):
        assert "workflow" not in str(section(plain)) and section(plain) == section(said)
    assert training(recipe_of('instances.only=["car"]'))["instances"]["only"] == ["car"]


@pytest.mark.parametrize(
    ("workflow", "extra"),
    [("all", 2), ("icm", 6), ("base", 4), ("ccm", 1 + 4), ("mix", 10)],  # of two rounds; ccm has one more in round 0
)
def test_a_budget_counts_every_training(workflow, extra):
    recipe = recipe_of(f"instances.workflow={workflow}", TOGETHER, "train.minutes=9", "selftrain.rounds=2")
    assert planning(recipe)["rounds"] == extra


def test_objects_of_other_things_are_stuff_to_embeddings():
    targets = ObjectTargets(recipe_of('instances.only=["bus"]'))
    label = np.uint8([[0, 1, 1, 2, 2, 2, 3, 255]])
    ids = np.int32([[0, 4, 4, 7, 0, 9, 5, 0]])
    # of the bus: an object, one that nobody numbered (ignored), another object; cars and riders are 0 like the road
    found = targets(SimpleNamespace(label=label, instances=ids))[INSTANCES][0].tolist()
    assert found[:3] == [0, 0, 0] and found[6] == 0
    assert found[3] > 0 and found[5] > 0 and found[3] != found[5] and found[4] < 0 and found[7] < 0


def asked_of(folder, recipe, folds, number, level=None):
    about = networks_asked(folder, recipe.instances, recipe.data.to_categories(), folds, "last", number, level)
    return [p.relative_to(folder.root).parent.as_posix() for p in about.paths], list(about.things)


def test_each_network_is_asked_for_its_own_things(tmp_path):
    base = recipe_of("instances.workflow=base", TOGETHER)
    folder = folder_of(tmp_path, base)
    assert asked_of(folder, base, [1], 0) == (["round-0/fold-1"], [(1, 2, 3)])
    assert asked_of(folder, base, [0, 1], 1) == (
        ["round-1/fold-0", "round-1/fold-1", "round-1/team-1/fold-0", "round-1/team-1/fold-1"],
        [(1, 2), (1, 2), (3,), (3,)],
    )
    mix = recipe_of("instances.workflow=mix", TOGETHER)
    assert asked_of(folder, mix, [0], 1, "each") == (
        ["round-1/team-2/fold-0", "round-1/team-3/fold-0", "round-1/team-4/fold-0"],
        [(3,), (1,), (2,)],  # the team of riders is one of `together`, too
    )
    known = {"car": "all", "bus": "each", "rider": "all"}
    write_json(folder.root / "round-1" / "mix.json", {"all": known, "folds": {"0": known | {"bus": "together"}}})
    assert asked_of(folder, mix, [0, 1], 1) == (
        ["round-1/fold-0", "round-1/fold-1", "round-1/team-4/fold-0", "round-1/team-4/fold-1"],
        [(1, 3), (1, 3), (2,), (2,)],
    )
    assert asked_of(folder, mix, [0], 1) == (["round-1/fold-0", "round-1/team-1/fold-0"], [(1, 3), (2,)])


def test_the_best_division_of_each_thing():
    nan = float("nan")
    scores = {"all": {"car": 0.5, "bus": 0.2, "rider": nan}, "each": {"car": 0.5, "bus": 0.3, "rider": 0.0}}
    # of the rider nothing is true, and those of `each` find some: false ones
    assert best_of_each(scores) == {"car": "all", "bus": "each", "rider": "all"}
    assert best_of_each({"all": {"car": nan}, "each": {"car": nan}}) == {"car": "all"}


def test_what_an_earlier_recipe_left_is_no_start_and_no_choice(tmp_path):
    """A redo removes what the recipe has no more when all others are done; until then it lies there."""
    base = recipe_of("instances.workflow=base", TOGETHER, "selftrain.start=before")
    folder = folder_of(tmp_path, base)
    dump_recipe_to(folder, base)
    for team in (0, 1):  # round 0 of a recipe by groups from the start
        write_json(folder.fold(1, 0, team) / "last.ckpt", {})
    spec = {"fold": 1, "step": "train", "round": 1, "team": 1}
    assert _start(folder, spec, base.selftrain) == folder.fold(1, 0) / "last.ckpt"
    assert _start(folder, spec | {"round": 2}, base.selftrain) == folder.fold(1, 1, 1) / "last.ckpt"
    assert chosen_among(base, 1) == () == chosen_among(recipe_of("instances.workflow=mix"), 0)
    assert chosen_among(recipe_of("instances.workflow=mix"), 1) == ("all", "each")
    dump_recipe_to(folder, recipe_of("instances.workflow=ccm", TOGETHER))
    assert _start(folder, spec, base.selftrain) == folder.fold(1, 0, 1) / "last.ckpt"


def dump_recipe_to(folder, recipe):
    write_text(folder.recipe, dump_recipe(recipe))


def test_what_a_fold_takes_is_chosen_without_its_truth(tmp_path, monkeypatch):
    """PQ of the car, of one true car an image: `all` finds it in image a (fold 0) alone, `each` in b and c (fold 1).

    Over all, `each` has 2 of 3. For fold 0 only b and c count, and `each` is better; for fold 1 only a, and `all` is.
    Of the bus `each` has a match of IoU 0.6 in each image, `all` one of 0.8. The rider is left to the first.
    """
    recipe = recipe_of("instances.workflow=mix")
    folder = folder_of(tmp_path, recipe)
    dump_recipe_to(folder, recipe)
    table = pl.DataFrame({"image": ["a", "b", "c", "h"], "group": ["a", "b", "c", "h"], "fold": [0, 1, 1, -1]})
    write_table(folder.folds, table)
    whole = SimpleNamespace(categories=recipe.data.to_categories(), table=table.with_columns(twin_of=pl.lit(None)))
    monkeypatch.setattr(stages, "decided", lambda *_: whole)

    def counts(folder, whole, rows, spec, level):
        assert rows["image"].to_list() == ["a", "b", "c"]  # nothing that is held out
        cars = np.array([1, 0, 0] if level == "all" else [0, 1, 1])
        tp = np.stack([0 * cars, cars, 0 * cars + 1, 0 * cars], axis=1)
        iou = tp * (0.8 if level == "all" else 0.6)
        return PanopticCounts(iou, tp, 0 * tp, np.stack([0 * cars, 1 - cars, 0 * cars, 0 * cars], axis=1), iou)

    monkeypatch.setattr(divisions, "_counts", counts)
    spec = {"round": 1, "levels": ["all", "each"], "split": {"folds": 2}, "data": {}}
    divisions.choose_divisions(tmp_path, spec)
    found = read_json(tmp_path / "round-1" / "mix.json")
    assert found["all"] == {"car": "each", "bus": "all", "rider": "all"}
    assert found["folds"] == {"0": found["all"], "1": found["all"] | {"car": "all"}}
    # PQ: IoU over matches and half of the missed ones: 0.8 / (1 + 2/2), 2 · 0.6 / (2 + 1/2)
    assert found["pq"]["all"] == {"car": pytest.approx(0.4), "bus": pytest.approx(0.8), "rider": None}
    assert found["pq"]["each"]["car"] == pytest.approx(0.48)


@pytest.mark.parametrize(("number", "files"), [(0, ["", "team-1/"]), (1, ["", "team-1/"])])
def test_a_member_is_all_networks_of_its_fold(tmp_path, monkeypatch, number, files):
    """The held-out part as one fold's networks have it, where members.json compares these with all folds' mean."""
    recipe = recipe_of("instances.workflow=ccm", TOGETHER)
    folder, asked = folder_of(tmp_path, recipe), list[Path]()
    dump_recipe_to(folder, recipe)
    whole = SimpleNamespace(categories=recipe.data.to_categories(), path=Path, only=lambda images: images)
    monkeypatch.setattr(stages, "decided", lambda *_: whole)
    monkeypatch.setattr(stages, "jobs", lambda *_: [([1], ["a"])])
    monkeypatch.setattr(stages, "working_shapes", lambda *_: [])
    monkeypatch.setattr(stages, "_predict_categories", lambda store, paths, *_: asked.extend(paths))
    spec = {key: value for key, value in predicting(recipe).items() if key != "instances"}
    stages.predict(tmp_path, spec | {"part": stages.member_part(1), "round": number})
    assert asked == [tmp_path / f"round-{number}/{team}fold-1/last.ckpt" for team in files]


def test_a_run_of_several_networks_is_fused_by_the_first_of_each_fold(tmp_path, monkeypatch):
    recipe = recipe_of("instances.workflow=ccm", TOGETHER)
    dump_recipe_to(RunFolder(tmp_path), recipe)
    known = {f"train-fold-{fold}{team}": "" for fold in (0, 1) for team in ("", "-team-1")}
    member = {"run": str(tmp_path), "predict": recipe.predict.model_dump(mode="json"), "trained": known}
    monkeypatch.setattr(fusing, "load_member", lambda paths, *_: paths)
    assert fusing._loaded(member) == [tmp_path / f"round-0/fold-{fold}/last.ckpt" for fold in (0, 1)]


def test_what_is_taken_of_several_networks_is_said(tmp_path, monkeypatch):
    said = list[str]()
    monkeypatch.setattr(finished, "say", said.append)
    for workflow, words in (("ccm", "as the first of the 2 networks of each fold has them"), ("all", "are exported")):
        recipe = recipe_of(f"instances.workflow={workflow}", TOGETHER)
        dump_recipe_to(RunFolder(tmp_path), recipe)
        finished.say_categories_alone(RunFolder(tmp_path), "exported")
        assert said.pop().endswith(words)
    dump_recipe_to(RunFolder(tmp_path), apply_settings(recipe, ["data.task=semantic"]))
    finished.say_categories_alone(RunFolder(tmp_path), "exported")
    assert not said


def test_a_workflow_without_rounds_is_said():
    idle = recipe_of("instances.workflow=icm", "selftrain.rounds=0")
    assert "maskwright selftrain" in idle_workflow(idle)
    for settings in (["instances.workflow=icm"], ["instances.workflow=ccm", TOGETHER, "selftrain.rounds=0"]):
        assert idle_workflow(recipe_of(*settings)) is None


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A data folder, a run, what it printed, and the command.

    Networks of a few steps find nothing, and any choice is as good: here one that asks two of the three.
    """
    root = tmp_path_factory.mktemp("mixed")
    make_playground(root / "data", labelled=8, unlabelled=1, size=(40, 64), planted=False)
    more = {"instances.workflow": "mix", "selftrain.method.pixels.value": "0.01", "predict.tta": "[identity]"}
    more["instances.by"] = "embeddings"
    words = command(root / "data", root / "run", **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_scores, "best_of_each", chosen)
        yield root / "data", root / "run", maskwright(*words), words


def chosen(_):
    return {"rock": "each", "plant": "all"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_chooses_the_network_of_each_thing(mixed, tmp_path):
    data, out, summary, words = mixed
    recipe = load_recipe(out / "recipe.yaml")
    things = [c.name for c in recipe.data.to_categories().items if c.isthing]
    assert things == ["rock", "plant"]
    for team in ("", "team-1/", "team-2/"):
        assert all((out / f"round-1/{team}fold-{fold}/last.ckpt").is_file() for fold in (0, 1))
    assert not (out / "round-0" / "team-1").exists()
    choice = read_json(out / "round-1" / "mix.json")
    assert choice["all"] == {"rock": "each", "plant": "all"} and set(choice["folds"]) == {"0", "1"}
    assert set(choice["pq"]) == {"all", "each"}
    assert not any(path.is_file() for level in ("all", "each") for path in (out / f"round-1/oof-{level}").rglob("*"))
    asked, _ = asked_of(RunFolder(out), recipe, [0, 1], 1)
    assert len(asked) == 4 and not any("team-2" in place for place in asked)
    assert "; 2 networks of a fold say the categories together" in summary["selftrain"]["why"]  # of three
    assert "by the networks for different things that never saw its fold" in summary["scores"]["pq"]["definition"]
    assert summary["selftrain"]["round"] == 1 and "pq" in summary["scores"]
    assert maskwright(*words)["scores"] == summary["scores"]  # nothing is left to do
    found = tmp_path / "found"
    maskwright("predict", out, data / "images", "--out", found)
    compared = 0
    for path in sorted(found.glob("*.png")):  # the run's own predictions of the pool come from the same networks
        own = out / "predictions" / "instances" / path.name
        pool = own.is_file() and path.stem not in {i.split("/")[-1].removesuffix(".png") for i in folded(out)}
        if pool:
            new, kept = read_ids(found / "instances" / path.name), read_ids(own)  # from probabilities in float16
            assert np.mean((new > 0) != (kept > 0)) < 0.01
            labels = [read_ids(place / path.name) for place in (found, out / "predictions" / "labels")]
            assert np.mean(labels[0] != labels[1]) < 0.01  # of categories, however few objects there are
            compared += 1
    assert compared


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_was_cut_short_twice_goes_on_to_the_same_numbers(mixed, tmp_path):
    """In the training of a fold's second network, which has a checkpoint by then, and between the divisions' scores."""
    out, cut = mixed[1], tmp_path / "cut"
    shutil.copytree(out, cut)
    gone = r"selftrain-1-(train-1-team-1|oof.*|choose|adopt|pool)|selftrain-adopted|tune|evaluate|suspects|report"
    for record in (cut / ".tasks").glob("*.json"):
        if re.fullmatch(gone, record.stem):
            record.unlink()
    shutil.rmtree(cut / "round-1/team-1/fold-1")
    for made in [*cut.glob("round-1/oof*"), cut / "round-1/pool", cut / "predictions"]:
        shutil.rmtree(made)
    for made in ("round-1/mix.json", "round-1/adopt.json", "adopted.json"):
        (cut / made).unlink()
    recipe = load_recipe(cut / "recipe.yaml")
    for label, least in (("train fold-1", 3), ("score the networks of each", 1)):

        def watch(heard, done, total, note, label=label, least=least):
            if heard.startswith(label) and done >= least:
                raise PowerCutError

        with listen(watch), pytest.raises(PowerCutError):
            run_pipeline(recipe, cut)
        assert not (cut / "round-1/mix.json").is_file()
    run_pipeline(recipe, cut)
    for name in ("round-1/mix.json", "round-1/adopt.json", "adopted.json", "predictions/evaluation.json"):
        assert read_json(cut / name) == read_json(out / name), name
    one, two = (torch.load(p / "round-1/team-1/fold-1/last.ckpt", weights_only=True)["state_dict"] for p in (out, cut))
    assert all(torch.equal(v, two[key]) if isinstance(v, torch.Tensor) else v == two[key] for key, v in one.items())


def folded(out):
    table = pl.read_csv(out / "folds.csv", schema_overrides={"image": pl.String})
    return table.drop_nulls("fold")["image"].to_list()

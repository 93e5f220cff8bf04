"""Fused runs through the command line, made small: members of other sizes and recipes, resumed, and told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright import pipeline
from maskwright.artifacts import RunFolder, read_json
from maskwright.cli import main
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import scored
from maskwright.data.store import ProbabilityStore
from maskwright.data.synthetic import make_playground
from maskwright.errors import DataError, StaleArtifactError, UsageError
from maskwright.metrics import SUMMARIES, Counts, overlap_table
from maskwright.pipeline.fuse import fuse, load_fused
from maskwright.pipeline.fusing import _index
from maskwright.postprocess import apply_chain
from maskwright.predict import load_ensemble, predict_files, to_full_size
from maskwright.recipe import Recipe, apply_settings, load_recipe
from maskwright.recipe.data import DataSpec
from maskwright.report.compare import compare_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = [
    "data.task=semantic",
    "model.encoder=resnet10t",
    "model.encoder_weights=none",
    "model.decoder_channels=[16, 16, 8]",
    "train.steps=12",
    "train.validate_every=3",
    "train.batch=2",
    "train.crop=[32, 64]",
    "train.scale=1",
    "train.precision=float32",
    "train.channels_last=false",
    "train.threads=1",
    "train.keep=2",
    "evaluate.samples=100",
    "split.folds=2",
    "data.group=scene",
]
OTHER = ["train.scale=0.5", "train.crop=[32, 32]", "predict.tta=[identity, rotate_90]", "predict.checkpoint=topk"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuse")
    make_playground(root / "data", labelled=20, unlabelled=2, size=(48, 64))
    return root


def train(root, name, *changes):
    recipe = apply_settings(Recipe(data=DataSpec(root=str(root / "data"))), [*SMALL, *changes])
    return pipeline.run(recipe, root / name, until="evaluate").root


@pytest.fixture(scope="module")
def runs(root):
    one = train(root, "one", "split.holdout=0.2")
    return one, train(root, "two", f"split.file={one}/folds.csv", "seed=1", *OTHER)


@pytest.fixture(scope="module")
def fused(root, runs):
    """The two runs at two scales each, by the command line."""
    out = root / "fused"
    assert main(["fuse", *map(str, runs), "--out", str(out), "--scales", "1", "0.75"]) == 0
    return out


def times(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_the_folder_says_what_ships_and_why(fused, runs):
    about, tuned = read_json(fused / "fused.json"), read_json(fused / "tuned.json")
    assert [m["name"] for m in about["members"]] == ["one@1", "one@0.75", "two@1", "two@0.75"]
    assert [m["own"] for m in about["members"]] == [True, False, True, False]
    assert sum(m["weight"] for m in about["members"]) == pytest.approx(1)
    assert all(m["seconds"] > 0 and set(m["adds"]) >= {"value", "low", "high"} for m in about["members"])
    assert about["shipped"] in ("fused", "mean", "single")
    assert about["seconds"] == pytest.approx(sum(m["seconds"] for m in about["members"] if m["weight"] > 0))
    assert set(tuned["weights"]["fold_weights"]) == {"0", "1"}
    assert tuned["weights"]["members"] == {m["name"]: m["weight"] for m in about["members"]}
    scores = read_json(fused / "predictions" / "evaluation.json")
    assert {"oof/mean_dice", "holdout/mean_dice", "mean_dice"} <= set(scores)
    assert scores["mean_dice"] == scores["holdout/mean_dice"]
    table = pl.read_parquet(fused / "predictions" / "per_image.parquet")
    folds = scored(_index(RunFolder(runs[0])), pl.read_csv(runs[0] / "folds.csv"))
    assert set(table["image"]) == set(folds["image"])
    assert set(table.filter(pl.col("part") == "holdout")["image"]) == set(folds.filter(pl.col("fold") == -1)["image"])


def test_a_member_s_store_is_the_prediction_of_its_folds_networks_at_its_scale(fused, runs):
    two = RunFolder(runs[1])
    recipe, index = load_recipe(two.recipe), _index(two)
    folds = scored(index, pl.read_csv(two.folds).filter(pl.col("fold") == 1))
    spec = recipe.predict.model_copy(update={"scales": (0.75,)})
    files = [(name_of(image), index.path(image)) for image in folds["image"][:3]]
    store = ProbabilityStore(fused / "members" / "two@0.75")
    trained = load_ensemble(two.checkpoints(1, "topk"))
    assert len(trained) == 2
    for name, _, found in predict_files(trained, files, spec):
        assert store.read(name) == pytest.approx(found, abs=1e-3)


def test_the_scores_are_those_of_maps_fused_by_hand(fused, runs):
    """Read every member's map, average with the fold's weights, apply its chain, count."""
    about, tuned = read_json(fused / "fused.json"), read_json(fused / "tuned.json")
    index = _index(RunFolder(runs[0]))
    folds = scored(index, pl.read_csv(runs[0] / "folds.csv").filter(pl.col("fold") >= 0))
    stores = [runs[0] / "round-0/oof", fused / "members/one@0.75", runs[1] / "round-0/oof", fused / "members/two@0.75"]
    tables = []
    for image, fold in folds.select("image", "fold").iter_rows():
        truth = index.only([image]).read_label(0)
        maps = [to_full_size(ProbabilityStore(s).read(name_of(image)), truth.shape) for s in stores]
        mean = np.average(maps, axis=0, weights=[*tuned["weights"]["fold_weights"][str(fold)].values()])
        chain = pipeline.stages.read_chain(tuned["fold_chains"].get(str(fold), tuned["chain"]))
        label = apply_chain(mean.astype(np.float32), chain)
        tables.append(overlap_table(truth, label, len(index.categories)))
    counts = Counts.from_table(np.stack(tables))
    value = float(SUMMARIES["pooled_miou"].function(counts, index.categories.evaluated)[0])
    scores = read_json(fused / "predictions" / "evaluation.json")
    assert scores["oof/pooled_miou"]["value"] == pytest.approx(value, abs=2e-4)
    assert about["metric"] == "pooled_miou"


def test_new_images_are_predicted_by_all_networks_that_ship(fused, root, runs, tmp_path):
    assert main(["predict", str(fused), str(root / "data/unlabeled"), "--out", str(tmp_path), "--probabilities"]) == 0
    about = read_json(fused / "fused.json")
    path = min((root / "data/unlabeled").glob("*.png"))
    size, total = read_image(path).shape[:2], 0
    for member in about["members"]:
        run = RunFolder(Path(member["run"]))
        spec = load_recipe(run.recipe).predict.model_copy(update={"scales": tuple(member["predict"]["scales"])})
        trained = load_ensemble(run.all_checkpoints(spec.checkpoint, 2))
        ((_, _, found),) = predict_files(trained, [("x", path)], spec)
        total = total + member["weight"] * to_full_size(found, size)
    assert ProbabilityStore(tmp_path / "probabilities").read(path.stem) == pytest.approx(total, abs=2e-3)
    label = np.asarray(Image.open(tmp_path / path.name))
    chain = load_fused(RunFolder(fused))[1]
    assert (label != apply_chain(total.astype(np.float32), chain)).mean() < 0.01


def test_fused_runs_stand_beside_runs(fused, runs):
    found, metric, _ = compare_runs([runs[0], fused], part="oof")
    table = pl.read_parquet(fused / "predictions" / "per_image.parquet").filter(pl.col("part") == "oof")
    assert found[1].score.n == table["image"].n_unique()
    assert found[1].score.value == read_json(fused / "predictions" / "evaluation.json")[f"oof/{metric}"]["value"]
    assert found[1].difference is not None
    weights = read_json(fused / "tuned.json")["weights"]["members"]
    assert found[1].fields["members"] == " + ".join(f"{w:.2f} {name}" for name, w in weights.items() if w > 0)
    assert found[0].fields["members"] is None


def test_the_same_again_does_nothing_and_a_lost_map_is_made_anew(fused, runs):
    before = times(fused)
    fuse(runs, fused, scales=(1.0, 0.75))
    assert times(fused) == before
    (fused / ".tasks" / "predict-two@0.75.json").rename(fused / ".tasks" / "predict-two@0.75.started.json")
    lost = next((fused / "members/two@0.75").rglob("*.npz"))
    content = ProbabilityStore(lost.parent).read(lost.stem)
    lost.unlink()
    fuse(runs, fused, scales=(1.0, 0.75))
    assert np.array_equal(ProbabilityStore(lost.parent).read(lost.stem), content)
    kept = [p for p in (fused / "members/two@0.75").rglob("*.npz") if p != lost]
    assert kept
    assert all(times(fused)[p] == before[p] for p in kept)


def test_other_settings_are_refused_until_redo(runs, tmp_path):
    fuse(runs, tmp_path / "f", method="mean")
    with pytest.raises(StaleArtifactError, match="method: mean → rank"):
        fuse(runs, tmp_path / "f", method="rank")
    fuse(runs, tmp_path / "f", method="rank", redo=True)
    assert read_json(tmp_path / "f" / "tuned.json")["weights"]["method"] == "rank"


def test_greedy_keeps_to_its_budget(runs, tmp_path, capsys):
    words = ["fuse", *map(str, runs), "--out", str(tmp_path / "f"), "--json", "--seconds-per-image"]
    assert main([*words, "1e-9"]) == 2
    assert "a member within 1e-09 seconds an image" in capsys.readouterr().err
    assert main([*words, "1000", "--redo"]) == 0
    about = json.loads(capsys.readouterr().out)["fused"]
    assert about["method"] == "greedy"
    assert about["seconds"] <= 1000


def test_maps_are_not_begun_where_the_disk_can_not_hold_them(runs, tmp_path, monkeypatch):
    fuse(runs, tmp_path / "f", method="mean")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    shutil.rmtree(tmp_path / "f" / "holdout")
    (tmp_path / "f" / ".tasks" / "holdout.json").unlink()
    with pytest.raises(DataError, match=r"GB of disk for probability maps(.|\n)*holdout"):
        fuse(runs, tmp_path / "f", method="mean")
    with pytest.raises(DataError, match=r"GB of disk for probability maps(.|\n)*one@0\.5"):
        fuse(runs, tmp_path / "g", scales=(0.5,))


def test_a_run_whose_decisions_are_gone_is_told(runs, tmp_path):
    """Its folds name a copy that took over its twin's mask; nothing says so any more."""
    given = []
    for run in runs:
        shutil.copytree(run, tmp_path / run.name)
        shutil.rmtree(tmp_path / run.name / "decided")
        given.append(tmp_path / run.name)
    with pytest.raises(DataError, match="a mask of every image in folds"):
        fuse(given, tmp_path / "f", method="mean")


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ("folds", DataError, "split.file="),
        ("categories", DataError, "the same data.categories"),
        ("unfinished", DataError, "predict-oof missing"),
        ("no run", DataError, "folders that `maskwright run` made"),
        ("twice", UsageError, "at least two members, each once"),
        ("alone", UsageError, "at least two members, each once"),
        ("budget", UsageError, "--method greedy"),
        ("into a run", UsageError, "a folder of its own"),
    ],
)
def test_what_can_not_be_fused_is_told(runs, tmp_path, change, error, told):
    other, options, out = tmp_path / "other", {}, tmp_path / "out"
    shutil.copytree(runs[1], other)
    given = [runs[0], other]
    if change == "folds":
        table = pl.read_csv(other / "folds.csv")
        table.with_columns(fold=pl.when(pl.col("fold") == 0).then(1).otherwise(pl.col("fold"))).write_csv(
            other / "folds.csv"
        )
    elif change == "categories":
        text = (other / "recipe.yaml").read_text()
        (other / "recipe.yaml").write_text(text.replace("name: rock", "name: stone"))
    elif change == "unfinished":
        (other / ".tasks" / "predict-oof.json").unlink()
    elif change == "no run":
        shutil.rmtree(other / ".tasks")
    elif change in ("twice", "alone"):
        given = [runs[0]] * (2 if change == "twice" else 1)
    elif change == "budget":
        options = {"budget": 1.0}
    else:
        out = runs[0]
    with pytest.raises(error, match=told.replace(".", r"\.")):
        fuse(given, out, **options)


def test_networks_that_were_trained_anew_are_told_from_those_that_were_fused(runs, tmp_path):
    both = [tmp_path / path.name for path in runs]
    for path, copy in zip(runs, both, strict=True):
        shutil.copytree(path, copy)
    fuse(both, tmp_path / "fused", method="mean")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (*both, tmp_path / "fused"):
        shutil.move(path, moved / path.name)
    load_fused(RunFolder(moved / "fused"))  # moved together they are found
    records = [moved / run.name / ".tasks" for run in runs]  # whichever ships
    for folder in records:
        trained = read_json(folder / "train-fold-0.json") | {"fingerprint": "0"}
        (folder / "train-fold-0.json").write_text(json.dumps(trained))
    with pytest.raises(StaleArtifactError, match="finish the run"):  # its out-of-fold predictions are older ones'
        load_fused(RunFolder(moved / "fused"))
    for folder in records:
        predicted = read_json(folder / "predict-oof.json")
        predicted["after"]["train-fold-0"] = "0"
        (folder / "predict-oof.json").write_text(json.dumps(predicted))
    with pytest.raises(StaleArtifactError, match="fuse again"):
        load_fused(RunFolder(moved / "fused"))
    words = ["predict", str(moved / "fused"), str(moved), "--out", str(tmp_path / "l"), "--checkpoint", "best"]
    assert main(words) == 2

"""Objects through the real command line, made small: panoptic and instances alone, resumed, predicted, evaluated."""

from __future__ import annotations

import contextlib
import io
import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from maskwright.cli import main
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids
from maskwright.data.synthetic import make_playground
from maskwright.errors import DataError
from maskwright.pipeline import run as run_pipeline
from maskwright.pipeline.run import progress_of
from maskwright.progress import listen
from maskwright.recipe import load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = {
    "model.encoder": "resnet10t",
    "model.encoder_weights": "none",
    "model.decoder_channels": "[16, 16, 8]",
    "model.embedding": "{channels: 4}",
    "train.steps": "6",
    "train.validate_every": "2",
    "train.batch": "2",
    "train.crop": "[32, 64]",
    "train.scale": "1",
    "train.precision": "float32",
    "train.channels_last": "false",
    "train.threads": "1",
    "train.ema": "0.5",
    "evaluate.samples": "100",
    "audit.pictures": "false",
    "instances.minimum": "1",
}


class PowerCutError(Exception):
    """Stands for the plug that was pulled."""


def maskwright(*words):
    """Give a command in this process and return what it writes to stdout, which is JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*map(str, words), "--json"]) == 0
    return json.loads(out.getvalue())


def command(data, out, *more):
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    return ("run", "--data", data, "--out", out, "--folds", 2, *settings, *more)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("objects") / "data"
    make_playground(root, labelled=6, unlabelled=1, size=(40, 64), planted=False)
    return root


@pytest.fixture(scope="module")
def panoptic(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("panoptic") / "run"
    return out, maskwright(*command(data, out, "--task", "panoptic"))


def checked_files(folder, sizes):
    """Check that PNGs and lists agree, and return how many objects there are."""
    tree, total = json.loads((folder / "panoptic.json").read_text()), 0
    things = {c["id"] for c in tree["categories"] if c["isthing"]}
    assert {entry["file_name"].removesuffix(".png") for entry in tree["annotations"]} == set(sizes)
    rows = pl.read_csv(folder / "instances" / "segments.csv", schema_overrides={"name": pl.String, "score": pl.Float64})
    for entry in tree["annotations"]:
        ids = read_ids(folder / "panoptic" / entry["file_name"])
        assert ids.shape == sizes[entry["file_name"].removesuffix(".png")]
        counts = {int(n): int(c) for n, c in zip(*np.unique(ids[ids > 0], return_counts=True), strict=True)}
        assert counts == {s["id"]: s["area"] for s in entry["segments_info"]}
        own = {s["id"] for s in entry["segments_info"] if s["category_id"] in things}
        objects = read_ids(folder / "instances" / entry["file_name"])
        assert np.array_equal(objects, np.where(np.isin(ids, list(own)), ids, 0))
        listed = rows.filter(pl.col("name") == entry["file_name"].removesuffix(".png"))
        assert set(listed["id"].to_list()) == own
        assert listed["score"].is_between(0, 1).all()
        total += len(own)
    return total


def test_a_panoptic_run_has_scores_files_and_a_section(panoptic, data):
    out, summary = panoptic
    scores = summary["scores"]
    assert {"pq", "sq", "rq", "pq_dagger", "ap", "ap50", "oof/pq_things", "oof/ap", "mean_dice"} <= scores.keys()
    assert set(scores["pq"]) == {"value", "low", "high", "n", "definition"}
    recipe = load_recipe(out / "recipe.yaml")
    assert (recipe.data.task, recipe.model.embedding.channels) == ("panoptic", 4)
    sizes = {p.stem: (40, 64) for p in (data / "images").iterdir()}
    sizes |= {f"unlabeled/{p.stem}": (40, 64) for p in (data / "unlabeled").iterdir()}
    assert checked_files(out / "predictions", sizes) > 0
    table = pl.read_parquet(out / "predictions" / "per_image.parquet")
    assert {"segments_tp", "segments_fp", "segments_fn", "sbd"} <= set(table.columns)
    metrics = pl.read_csv(out / "round-0" / "fold-0" / "metrics.csv")
    assert {"loss_embedding_pull", "loss_embedding_push", "loss_embedding_object"} <= set(metrics.columns)
    text = (out / "predictions" / "report.html").read_text()
    assert 'id="objects"' in text
    assert "data:image/jpeg" in text
    drawn = pl.read_parquet(out / "predictions" / "embeddings.parquet")
    assert drawn.group_by("part").len().sort("part").rows() == [("oof", 6), ("pool", 1)]  # 3 of each fold
    assert drawn.group_by("part", "fold").agg(pl.col("shown").n_unique())["shown"].max() == 1
    assert drawn["shown"].is_between(0, 1).all() and drawn["iou"].drop_nulls().is_between(0, 1).all()
    for image in drawn["image"]:
        with Image.open(out / "predictions" / "embeddings" / f"{name_of(image)}.jpg") as picture:
            assert picture.size == (4 * 5 * 64 + 3 * 4, 5 * 40)  # enlarged to 320 pixels
    assert "Of the variance the colours show: fold 0" in text


def test_evaluate_and_the_same_command_again_say_what_the_run_said(panoptic, data):
    out, summary = panoptic
    assert maskwright("evaluate", out) == summary["scores"]
    again = maskwright(*command(data, out, "--task", "panoptic"))
    assert again["scores"] == summary["scores"]


def test_what_was_cut_short_goes_on_to_the_same_numbers(panoptic, tmp_path):
    out, summary = panoptic
    cut = tmp_path / "cut"
    shutil.copytree(out, cut)
    first = json.loads((cut / "predictions" / "evaluation.json").read_text())
    for name in ("train-fold-1", "predict-oof", "evaluate", "report"):
        (cut / ".tasks" / f"{name}.json").unlink()
    shutil.rmtree(cut / "round-0" / "fold-1")
    shutil.rmtree(cut / "round-0" / "oof")
    recipe = load_recipe(cut / "recipe.yaml")

    def watch(label, done, total, note):
        if label.startswith("train") and done == 5:
            raise PowerCutError

    with listen(watch), pytest.raises(PowerCutError):
        run_pipeline(recipe, cut)
    assert (cut / "round-0" / "fold-1" / "last.ckpt").is_file()
    run_pipeline(recipe, cut)
    one, two = (torch.load(p / "round-0/fold-1/last.ckpt", weights_only=True)["state_dict"] for p in (out, cut))
    assert one.keys() == two.keys()
    for key, value in one.items():  # a step's draws so far are no tensor
        assert torch.equal(value, two[key]) if isinstance(value, torch.Tensor) else value == two[key]
    assert json.loads((cut / "predictions" / "evaluation.json").read_text()) == first == summary["scores"]


def test_new_images_have_labels_and_objects_and_go_on(panoptic, data, tmp_path):
    out, _ = panoptic
    found = maskwright("predict", out, data / "images", "--out", tmp_path)
    stems = sorted(p.stem for p in (data / "images").iterdir())
    assert sorted(found["files"]) == [str(tmp_path / f"{stem}.png") for stem in stems]
    assert checked_files(tmp_path, dict.fromkeys(stems, (40, 64))) > 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.png")}
    (tmp_path / f"{stems[2]}.png").unlink()
    (tmp_path / "panoptic" / f"{stems[2]}.png").unlink()
    maskwright("predict", out, data / "images", "--out", tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.png")} == before
    assert checked_files(tmp_path, dict.fromkeys(stems, (40, 64))) > 0


def test_instances_alone(data, tmp_path):
    """Of the same images, without their masks; ids beyond 255, an image without any object, one with a lone pixel."""
    root = tmp_path / "data"
    for part in ("images", "instances"):
        shutil.copytree(data / part, root / part)
    stems = sorted(p.stem for p in (root / "images").iterdir())
    for stem in stems:
        ids = np.array(Image.open(root / "instances" / f"{stem}.png")).astype(np.uint16)
        if stem == stems[0]:
            ids[:] = 0
        if stem == stems[1]:
            ids[:] = 0
            ids[5, 5] = 1
        Image.fromarray(np.where(ids > 0, 300 * ids, 0).astype(np.uint16)).save(root / "instances" / f"{stem}.png")
    out = tmp_path / "run"
    summary = maskwright(*command(root, out, "--holdout", 0.3))
    recipe = load_recipe(out / "recipe.yaml")
    assert recipe.data.task == "instances"
    assert {"pq", "ap", "ap50", "holdout/pq", "oof/pq"} <= summary["scores"].keys()
    assert "pq/background" not in summary["scores"]
    sizes = dict.fromkeys(stems, (40, 64))
    assert checked_files(out / "predictions", sizes) > 0
    # the truth beside what was predicted out of fold, as `evaluate` reads the files themselves
    folds = pl.read_csv(out / "folds.csv").filter(pl.col("fold") >= 0)
    for part, source in (("p", out / "predictions" / "instances"), ("t", root / "instances")):
        (tmp_path / part).mkdir()
        for image in folds["image"]:
            name = f"{image.removeprefix('images/').removesuffix('.png')}.png"
            shutil.copy(source / name, tmp_path / part / name)
    shutil.copy(out / "predictions" / "instances" / "segments.csv", tmp_path / "p" / "segments.csv")
    scores = maskwright("evaluate", tmp_path / "p", tmp_path / "t", "--kind", "instances")
    for name in ("pq", "sq", "rq", "pq_dagger"):
        assert scores[name]["value"] == pytest.approx(summary["scores"][f"oof/{name}"]["value"], nan_ok=True)


def test_a_network_that_has_diverged_is_named(panoptic, tmp_path, data):
    out, _ = panoptic
    broken = tmp_path / "broken"
    shutil.copytree(out, broken)
    path = broken / "round-0" / "fold-0" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    for key, value in state["state_dict"].items():
        if "segmentation_head" in key and isinstance(value, torch.Tensor):
            value.fill_(float("nan"))
    torch.save(state, path)
    (broken / ".tasks" / "predict-oof.json").unlink()
    shutil.rmtree(broken / "round-0" / "oof")
    with pytest.raises(DataError, match="diverged"):
        run_pipeline(load_recipe(broken / "recipe.yaml"), broken, redo=True)


def test_things_that_nobody_asked_for_are_stuff_in_all_that_follows(data, tmp_path):
    told = json.loads((data / "classes.json").read_text())["categories"]
    asked, *others = [category["name"] for category in told if category["isthing"]]
    out = tmp_path / "run"
    maskwright(*command(data, out, "--task", "panoptic", "--set", f"instances.only=[{asked}]"))
    predicted = json.loads((out / "predictions" / "panoptic.json").read_text())
    things = {category["name"]: category["id"] for category in predicted["categories"] if category["isthing"]}
    assert others and list(things) == [asked]
    for image in predicted["annotations"]:
        stuff = [own["category_id"] for own in image["segments_info"] if own["category_id"] != things[asked]]
        assert stuff and len(stuff) == len(set(stuff))
    table = pl.read_parquet(out / "predictions" / "per_image.parquet").filter(pl.col("category").is_in(others))
    assert (table["segments_tp"] + table["segments_fn"]).max() == 1  # one segment of an image, as of other stuff
    assert set(progress_of(out).values()) == {"done"}  # the recipe that a run writes says the same
    maskwright("predict", out, data / "unlabeled", "--out", tmp_path / "found")
    found = json.loads((tmp_path / "found" / "panoptic.json").read_text())
    assert found["categories"] == predicted["categories"]

"""The main job through the real command line, made small: complete, repeatable, and proof against being killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from make_command import run_command
from maskwright.data.categories import to_ids
from maskwright.data.images import size_of
from maskwright.data.store import ProbabilityStore
from maskwright.data.synthetic import make_playground
from maskwright.postprocess import apply_chain
from maskwright.recipe import load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL = {
    "data.task": "semantic",
    "model.encoder": "resnet10t",
    "model.encoder_weights": "none",
    "model.decoder_channels": "[16, 16, 8]",
    "train.steps": "8",
    "train.validate_every": "2",
    "train.batch": "2",
    "train.crop": "[32, 64]",
    "train.scale": "1",
    "train.precision": "float32",
    "train.channels_last": "false",
    "train.threads": "1",
    "evaluate.samples": "100",
    "predict.members": "true",
}
FILES = (
    "recipe.yaml",
    "index.parquet",
    "meta.parquet",
    "audit/findings.parquet",
    "folds.csv",
    "round-0/fold-0/best.ckpt",
    "round-0/fold-0/last.ckpt",
    "round-0/fold-0/metrics.csv",
    "round-0/fold-0/log.txt",
    "round-0/fold-1/last.ckpt",
    "tuned.json",
    "predictions/per_image.parquet",
    "predictions/calibration.parquet",
    "predictions/evaluation.json",
    "suspects/images.parquet",
    "suspects/suspects.parquet",
    "suspects/findings.parquet",
    "predictions/report.html",
)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from maskwright.cli import entry; entry()", *map(str, arguments)]


maskwright = run_command


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment, check=False)


def settings(**changes: str) -> list[str]:
    return [word for key, value in (SMALL | changes).items() for word in ("--set", f"{key}={value}")]


def run_of(data: Path, out: Path, *more: object) -> list[object]:
    return ["run", "--data", data, "--out", out, "--folds", 2, "--holdout", 0.2, "--group", "scene", *settings(), *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("playground") / "data"
    make_playground(root, labelled=24, unlabelled=4, size=(48, 64))
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """An undisturbed run; its folder and what it wrote to stdout."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = in_a_process(*run_of(data, out, "--json"))
    assert done.returncode == 0, done.stderr[-4000:]
    return out, done


def times(folder: Path) -> dict[str, int]:
    return {
        p.relative_to(folder).as_posix(): p.stat().st_mtime_ns
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


def labels(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in (folder / "predictions/labels").rglob("*.png")}


def test_the_run_folder_holds_what_the_names_say(run, data):
    out, done = run
    for name in FILES:
        assert (out / name).is_file(), name
    assert list((out / "round-0" / "oof").rglob("*.npz"))
    summary = json.loads(done.stdout)
    assert summary["scores"] == json.loads((out / "predictions" / "evaluation.json").read_text())
    for name in ("mean_dice", "pooled_miou"):
        assert set(summary["scores"][name]) == {"value", "low", "high", "n", "definition"}
    assert {"oof/mean_hd95", "holdout/mean_nsd", "oof/ece", "pixel_accuracy"} <= summary["scores"].keys()
    columns = {"image", "group", "fold", "category", "tp", "fp", "fn", "dice", "iou", "hd95", "boundary_iou"}
    assert columns <= set(pl.read_parquet(out / "predictions" / "per_image.parquet").columns)
    kinds = set(pl.read_parquet(out / "audit" / "findings.parquet")["kind"])
    assert {"duplicate_exact", "conflict"} <= kinds
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert None not in [recipe["train"][k] for k in ("steps", "batch", "scale", "crop", "precision", "threads")]


def test_the_networks_alone_are_scored_on_the_held_out_part(run):
    out, _ = run
    members = json.loads((out / "predictions" / "members.json").read_text())
    assert set(members) == {"holdout-fold-0", "holdout-fold-1"}
    whole = json.loads((out / "predictions" / "evaluation.json").read_text())["holdout/mean_dice"]
    assert all(scores["mean_dice"]["n"] == whole["n"] for scores in members.values())
    gained = [scores["gain/mean_dice"]["value"] for scores in members.values()]
    assert gained == pytest.approx([whole["value"] - scores["mean_dice"]["value"] for scores in members.values()])
    ensemble, *alone = (ProbabilityStore(out / "round-0" / name) for name in ("holdout", *sorted(members)))
    names = sorted(path.stem for path in ensemble.folder.rglob("*.npz"))
    assert len(names) == whole["n"]
    for name in names:  # what is shipped is the mean of the two
        mean = np.mean([store.read(name) for store in alone], axis=0)
        np.testing.assert_allclose(ensemble.read(name), mean, atol=2e-3)


def test_every_image_has_a_label_of_its_size(run, data):
    out, _ = run
    removed = pl.read_csv(out / "decided" / "removed.csv")
    assert removed["kind"].to_list() == ["conflict"]  # the planted one's coarse mask
    there = len(list((data / "images").rglob("*.png"))) + len(list((data / "unlabeled").glob("*")))
    assert len(labels(out)) == there - removed.height
    sizes = {p.stem: size_of(p)[:2] for part in ("images", "unlabeled") for p in (data / part).rglob("*.png")}
    for name in labels(out):
        assert size_of(out / name)[:2] == sizes[Path(name).stem]


def test_the_report_needs_no_network(run):
    text = (run[0] / "predictions" / "report.html").read_text(encoding="utf-8")
    assert "</html>" in text
    for outside in ('src="http', "src='http", '<link rel="stylesheet" href="http', "@import"):
        assert outside not in text


def test_no_group_crosses(run):
    folds = pl.read_csv(run[0] / "folds.csv")
    assert folds.group_by("group").agg(pl.col("fold").n_unique())["fold"].max() == 1
    assert set(folds["fold"]) == {-1, 0, 1}


def test_the_same_command_again_does_nothing(run, data):
    out, _ = run
    before, start = times(out), time.perf_counter()
    done = maskwright(*run_of(data, out))
    assert done.returncode == 0, done.stderr
    assert times(out) == before
    assert time.perf_counter() - start < 30


def test_the_resolved_recipe_alone_is_the_same_run(run):
    out, _ = run
    before = times(out)
    done = maskwright("run", "--recipe", out / "recipe.yaml", "--out", out)
    assert done.returncode == 0, done.stderr
    assert times(out) == before


def test_another_recipe_is_refused_with_the_field_named(run, data):
    out, _ = run
    before = times(out)
    done = maskwright(*run_of(data, out), "--set", "train.lr=0.5")
    assert done.returncode == 2
    assert "train.lr: 0.001 → 0.5" in done.stderr
    assert "--redo" in done.stderr
    assert times(out) == before


def test_an_edited_recipe_is_not_overwritten(run, data):
    out, _ = run
    path = out / "recipe.yaml"
    text = path.read_text()
    path.write_text(text.replace("overlays: 24", "overlays: 3"))
    try:
        done = maskwright(*run_of(data, out))
        assert done.returncode == 2
        assert "edited since" in done.stderr
        assert "overlays: 3" in path.read_text()
    finally:
        path.write_text(text)


def test_new_images_are_predicted_and_scored(run, data, tmp_path):
    out, _ = run
    done = maskwright("predict", out, data / "images", "--out", tmp_path / "p", "--overlays", "--json")
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)["files"]
    assert len(files) == len(list((data / "images").rglob("*.png")))
    done = maskwright("evaluate", tmp_path / "p", data / "masks", "--json")
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)["pooled_miou"]["value"] <= 1


def test_postprocess_and_evaluate_show_what_a_run_came_to(run):
    out, done = run
    before = times(out)
    tuned = maskwright("postprocess", out, "--json")
    assert tuned.returncode == 0, tuned.stderr
    assert json.loads(tuned.stdout) == json.loads((out / "tuned.json").read_text())
    scores = maskwright("evaluate", out, "--json")
    assert scores.returncode == 0, scores.stderr
    assert json.loads(scores.stdout) == json.loads(done.stdout)["scores"]
    assert times(out) == before
    for command_line in (("postprocess", out, "--minimum-area", 3), ("evaluate", out, "--classes", "binary")):
        refused = maskwright(*command_line)
        assert refused.returncode == 2
        assert str(command_line[2]) in refused.stderr
        assert "state it in the recipe" in refused.stderr


def test_what_tune_chose_travels_with_the_model(run, data, tmp_path):
    """`predict` of a copy of the run applies its chain: the labels are those of the chain on the very probabilities."""
    out, _ = run
    shutil.copytree(out, tmp_path / "run")
    chain = '[{"kind": "smooth", "sigma": 2}, {"kind": "minimum_area", "pixels": 60}]'
    tuned = maskwright("tune", tmp_path / "run", "--set", f"postprocess.chain={chain}")
    assert tuned.returncode == 0, tuned.stderr
    before = times(out / "round-0")
    assert times(tmp_path / "run" / "round-0") == before  # nothing was trained or predicted anew
    done = maskwright(
        "predict", tmp_path / "run", data / "images", "--out", tmp_path / "p", "--probabilities", "--json"
    )
    assert done.returncode == 0, done.stderr
    recipe = load_recipe(tmp_path / "run" / "recipe.yaml")
    categories, store, different = recipe.data.to_categories(), ProbabilityStore(tmp_path / "p" / "probabilities"), 0
    for file in map(Path, json.loads(done.stdout)["files"]):
        probabilities = store.read(file.relative_to(tmp_path / "p").with_suffix("").as_posix())
        label = np.asarray(Image.open(file))
        expected = to_ids(apply_chain(probabilities, recipe.postprocess.chain), categories)
        # stored in half precision: ties and values beside a border may fall otherwise
        assert np.mean(label != expected) < 0.002, file
        different += not np.array_equal(expected, to_ids(apply_chain(probabilities, ()), categories))
    assert different > 5


def test_the_report_is_written_anew(run):
    out, _ = run
    path = out / "predictions" / "report.html"
    before = path.stat().st_mtime_ns
    done = maskwright("report", out, "--json")
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mtime_ns > before


def test_the_report_without_names(run, data):
    out, _ = run
    before = (out / "predictions" / "report.html").read_bytes()
    done = maskwright("report", out, "--anonymous")
    assert done.returncode == 0, done.stderr
    text = (out / "predictions" / "report-anonymous.html").read_text(encoding="utf-8")
    assert not [told for told in (str(data), str(out), "images/", "unlabeled/") if told in text]
    assert (out / "predictions" / "report.html").read_bytes() == before


def test_a_page_compares_runs(run, tmp_path):
    done = maskwright("compare", run[0], run[0], "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "it may be chance" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_images_to_label_next_are_chosen_from_the_pool(run, data, tmp_path, monkeypatch):
    """By the run folder, and by the data folder whose run lies in runs/."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / data.name).symlink_to(run[0])
    monkeypatch.chdir(tmp_path)
    chosen = []
    for words in ((run[0],), ("--data", data)):
        done = maskwright("query", *words, "-n", 2, "--to", "cvat", "--out", tmp_path / f"task{len(words)}", "--json")
        assert done.returncode == 0, done.stderr
        chosen.append([row["image"] for row in json.loads(done.stdout)["images"]])
        for image in chosen[-1]:
            assert image.startswith("unlabeled/")
        (run[0] / "queries" / "1.csv").unlink()  # so that it may be asked for again
    assert chosen[0] == chosen[1]
    assert (tmp_path / "task1" / "annotations.xml").read_text() == (tmp_path / "task2" / "annotations.xml").read_text()


def test_one_image_is_predicted_as_in_its_folder(run, data, tmp_path):
    out, _ = run
    image = min((data / "unlabeled").glob("*.png"))
    done = maskwright("predict", out, image, "--out", tmp_path, "--probabilities")
    assert done.returncode == 0, done.stderr
    alone = ProbabilityStore(tmp_path / "probabilities").read(image.stem)
    inside = ProbabilityStore(out / "round-0" / "pool").read(f"unlabeled/{image.stem}")
    assert np.allclose(alone, inside, atol=2e-3)  # float16; a batch of another size is summed in another order
    label = np.asarray(Image.open(tmp_path / image.name))
    other = np.asarray(Image.open(out / "predictions" / "labels" / "unlabeled" / image.name))
    assert (label != other).mean() < 0.01  # where two categories are as probable


def after(seconds: float, out: Path) -> bool:
    time.sleep(seconds)
    return True


def at_first_checkpoint(fold: int, out: Path) -> bool:
    return (out / f"round-0/fold-{fold}/last.ckpt").is_file()


def killed(words: list[str], out: Path, moment: Callable[[Path], bool]) -> None:
    """Start a run and kill it at a moment, or let it end before."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet) as process:
        while process.poll() is None:
            if moment(out):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)


@pytest.mark.parametrize("when", ["random", "checkpoint"])
def test_killed_three_times_and_finished_it_gives_the_same_numbers(run, tmp_path, when):
    """SIGKILL at random moments, or in the middle of a fold's training, then the same command to the end."""
    undisturbed, _ = run
    out = tmp_path / "run"
    again = ["run", "--recipe", undisturbed / "recipe.yaml", "--out", out]
    whole = sum(json.loads((undisturbed / "run.json").read_text())["seconds"].values()) + 4  # imports
    drawn = np.random.default_rng(0).uniform(2, whole, 3)
    moments = [partial(after, seconds) for seconds in drawn]
    if when == "checkpoint":
        moments = [partial(at_first_checkpoint, 0), partial(after, 4.0), partial(at_first_checkpoint, 1)]
    for moment in moments:
        killed(command(*again), out, moment)
    done = maskwright(*again)
    assert done.returncode == 0, done.stderr
    for fold in (0, 1):
        tables = [pl.read_csv(f / f"round-0/fold-{fold}/metrics.csv") for f in (undisturbed, out)]
        assert tables[0].drop("seconds", "waited").equals(tables[1].drop("seconds", "waited"))
    one, two = (json.loads((f / "predictions/evaluation.json").read_text()) for f in (undisturbed, out))
    assert one == two
    assert labels(undisturbed) == labels(out)

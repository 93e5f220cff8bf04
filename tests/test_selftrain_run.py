"""Rounds through the real command line, made small: honest labels, adoption, kills, and pools that are unkind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from make_command import run_command
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore
from maskwright.data.synthetic import make_playground
from maskwright.errors import StaleArtifactError
from maskwright.pipeline.fuse import _read
from maskwright.predict import to_full_size
from maskwright.recipe import load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL = {
    "data.task": "semantic",
    "model.encoder": "resnet10t",
    "model.encoder_weights": "none",
    "model.decoder_channels": "[16, 16, 8]",
    "train.steps": "4",
    "train.validate_every": "1",
    "train.batch": "2",
    "train.crop": "[32, 64]",
    "train.scale": "1",
    "train.precision": "float32",
    "train.channels_last": "false",
    "train.threads": "1",
    "evaluate.samples": "100",
    "evaluate.families": "[]",
    "postprocess.chain": "[]",
    "report.thumbnails": "1",
    "audit.pictures": "false",
    "selftrain.adopt": "always",
    "selftrain.method.pixels.value": "0.25",
}


def make_data(folder: Path, **options) -> Path:
    make_playground(folder, labelled=24, unlabelled=6, size=(48, 64), **options)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("selftrain") / "data")


def command(data, out, *options, folds=2, **settings):
    pairs = [f"--set={key}={value}" for key, value in (SMALL | settings).items()]
    words = ["selftrain", "--data", str(data), "--out", str(out), "--folds", str(folds), "--json", *pairs, *options]
    return [sys.executable, "-m", "maskwright", *words]


def selftrain(data, out, *options, code=0, **settings):
    done = run_command(*command(data, out, *options, **settings)[3:])
    assert done.returncode == code, done.stderr[-3000:]
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    hard = {"selftrain.hard": '{"how": "move", "share": 0.2}'}
    return out, selftrain(data, out, "--rounds", "2", "--group", "scene", **hard)


def relatives(folder, images):
    """The images, those of their groups, and copies of any of them, from the files of the run alone."""
    index, folds = read_table(folder.root / "decided" / "images.parquet"), read_folds(folder.folds)
    found = set(images)
    for table in (index, folds):
        groups = set(table.filter(pl.col("image").is_in(list(found)))["group"].drop_nulls())
        found |= set(table.filter(pl.col("group").is_in(list(groups)))["image"])
    for cluster in [*read_json(folder.audit / "duplicates.json"), *read_json(folder.decided / "copies.json")]:
        found |= set(cluster) if found & set(cluster) else set()
    return found


def trained_on(folder, checkpoint):
    """What a checkpoint of the run has seen, worked out from folds, ledgers and the list of moved images."""
    number, fold = (int(part.split("-")[1]) for part in Path(checkpoint).parts[:2])
    folds = read_folds(folder.folds)
    seen = set(folds.filter((pl.col("fold") != fold) & (pl.col("fold") != -1))["image"])
    if number:
        ledger = read_table(folder.root / f"round-{number}" / "pseudo" / "ledger.parquet")
        seen |= set(ledger.filter((pl.col("fold") == fold) & pl.col("used"))["image"])
        hard = pl.read_csv(folder.root / "round-1" / "hard.csv")
        seen |= set(hard.filter((pl.col("fold") == fold) & pl.col("moved"))["image"])
    return seen


def test_no_network_that_labels_for_a_fold_has_seen_what_scores_it(finished):
    folder = RunFolder(finished[0])
    folds = read_folds(folder.folds)
    moved = set(pl.read_csv(folder.root / "round-1" / "hard.csv")["image"])
    apart = relatives(folder, moved)
    for number in (1, 2):
        ledger = read_table(folder.root / f"round-{number}" / "pseudo" / "ledger.parquet")
        assert set(ledger["fold"]) == {0, 1} and set(ledger["round"]) == {number}
        for fold in (0, 1):
            scored = set(folds.filter(pl.col("fold").is_in([fold, -1]))["image"]) - apart
            assert scored
            kin, rows = relatives(folder, scored), ledger.filter(pl.col("fold") == fold)
            makers = set(rows.explode("made_by")["made_by"])
            assert makers == {f"round-{number - 1}/fold-{fold}/last.ckpt"}
            for maker in makers:
                assert not trained_on(folder, maker) & kin
            assert not set(rows["image"]) & kin  # and the pool shows none of them


def test_what_was_moved_is_scored_by_the_network_that_has_not_seen_it(finished):
    folder = RunFolder(finished[0])
    hard = pl.read_csv(folder.root / "round-1" / "hard.csv")
    assert hard.height == 4  # a fifth of 24 images, some of which are groups' copies or were left out
    groups = set(hard["group"])
    folds = read_folds(folder.folds).filter(pl.col("fold") >= 0)
    for image, group in folds.select("image", "group").iter_rows():
        name = name_of(image)
        maps = [ProbabilityStore(folder.store("oof", number)).read(name) for number in (0, 2)]
        assert (maps[0] == maps[1]).all() == (group in groups)


def test_the_last_round_is_what_is_used(finished):
    out, summary = finished
    folder = RunFolder(out)
    assert summary["selftrain"]["round"] == 2 and folder.adopted_round == 2
    assert folder.checkpoints(0, "last") == [out / "round-2" / "fold-0" / "last.ckpt"]
    assert folder.store("oof") == out / "round-2" / "oof"
    assert (out / "round-2" / "pool").is_dir() and not (out / "round-0" / "pool").exists()
    definition = read_json(folder.predictions / "evaluation.json")["pooled_miou"]["definition"]
    assert "round 2 of self-training" in definition and "scored by round 0" in definition
    assert "Learning from images without masks" in (folder.predictions / "report.html").read_text()
    assert not list(out.glob("round-*/pseudo/fold-*/soft*"))


def test_labels_are_the_argmax_where_it_is_sure_enough(finished, data):
    from maskwright.predict import load_ensemble, predict_files

    folder = RunFolder(finished[0])
    recipe = load_recipe(folder.recipe)
    trained = load_ensemble([finished[0] / "round-0" / "fold-1" / "last.ckpt"])
    ledger = read_table(folder.pseudo(1, 1) / "ledger.parquet")
    checked = 0
    for image in ledger["image"].unique().to_list():
        ((_, size, probabilities),) = predict_files(trained, [("x", data / image)], recipe.predict)
        full = to_full_size(probabilities.astype(np.float16).astype(np.float32), size)
        expected = np.where(full.max(0) >= 0.25, full.argmax(0), 255)
        path = folder.pseudo(1, 1) / "labels" / f"{name_of(image)}.png"
        rows = ledger.filter(pl.col("image") == image)
        assert path.is_file() == bool(rows["used"][0]) == bool((expected != 255).any())
        if path.is_file():
            found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(found, expected)
            checked += 1
        for position, row in enumerate(rows.iter_rows(named=True)):
            said = full.argmax(0) == position
            assert row["predicted"] == pytest.approx(said.mean())
            if said.any():
                assert row["kept"] == pytest.approx((expected[said] != 255).mean())
    assert checked


def test_a_finished_run_is_not_done_again_and_more_rounds_go_on(finished, data, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")}
    hard = {"selftrain.hard": '{"how": "move", "share": 0.2}'}
    selftrain(data, out, "--rounds", "2", "--group", "scene", **hard)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")} == before
    verdict = out / "round-1" / "adopt.json"
    kept = verdict.read_text()
    verdict.unlink()  # by hand, or by a redo that was killed; nothing is trained for it
    selftrain(data, out, "--rounds", "2", "--group", "scene", **hard)
    assert verdict.read_text() == kept and {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")} == before
    said = selftrain(data, out, "--rounds", "1", "--group", "scene", code=2, **hard)
    assert "--redo" in said
    selftrain(data, out, "--rounds", "1", "--group", "scene", "--redo", **hard)
    assert RunFolder(out).adopted_round == 1 and not [p for p in out.rglob("round-2/**/*") if p.is_file()]
    kept = {p: n for p, n in before.items() if "round-2" not in p.parts}
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")} == kept


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    selftrain(data, out)
    return out


@pytest.mark.parametrize(
    "until",
    [
        "round-1/pseudo/precision.json",
        "round-1/pseudo/fold-0/soft",
        "round-1/pseudo/fold-0/labels",
        "round-1/fold-0/last.ckpt",
        "round-1/oof",
    ],
)
def test_a_killed_round_goes_on_and_gives_the_same(data, whole, tmp_path, until):
    cut = tmp_path / "cut"
    kept = {"selftrain.method.keep_soft": "true"}  # else the maps may be gone before they are seen
    process = subprocess.Popen(command(data, cut, **kept), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (cut / until).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (cut / until).exists() and not (cut / "adopted.json").exists()
    selftrain(data, cut, **kept)
    for name in ("adopted.json", "predictions/evaluation.json"):
        assert read_json(cut / name) == read_json(whole / name)


def test_an_empty_pool_is_told_before_anything_is_trained(tmp_path):
    folder = make_data(tmp_path / "data", planted=False)
    shutil.rmtree(folder / "unlabeled")
    said = selftrain(folder, tmp_path / "run", code=2)
    assert "images without masks to learn from" in said and "--labelled 1/4" in said
    assert not (tmp_path / "run" / "round-0").exists()


def test_a_pool_that_cannot_be_read_is_told_before_anything_is_trained(tmp_path):
    folder = make_data(tmp_path / "data", planted=False)
    for path in (folder / "unlabeled").glob("*.png"):
        path.write_bytes(b"nothing")
    said = selftrain(folder, tmp_path / "run", code=2, **{"audit.on_error": "drop"})
    assert "without masks" in said and not (tmp_path / "run" / "round-0").exists()


def test_a_pool_of_other_sizes_and_channels_is_learned_from(tmp_path):
    folder = make_data(tmp_path / "data", planted=False)
    rng = np.random.default_rng(0)
    for place, path in enumerate(sorted((folder / "unlabeled").glob("*.png"))):
        image = cv2.imread(str(path))
        if place == 0:
            image = cv2.resize(image, (33, 97))
        elif place == 1:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        elif place == 2:
            image = np.dstack([image, rng.integers(0, 255, image.shape[:2], np.uint8)])
        cv2.imwrite(str(path), image)
    selftrain(folder, tmp_path / "run", **{"selftrain.aliens": "keep"})
    ledger = read_table(tmp_path / "run" / "round-1" / "pseudo" / "ledger.parquet")
    assert ledger["image"].n_unique() == 6
    sizes = [cv2.imread(str(p), -1).shape for p in (tmp_path / "run/round-1/pseudo/fold-0/labels").rglob("*.png")]
    assert (97, 33) in sizes


def test_nothing_that_is_sure_leaves_the_supervised_run(tmp_path, data):
    out = tmp_path / "run"
    found = selftrain(data, out, **{"selftrain.method.pixels.value": 0.99999, "selftrain.adopt": "gain"})
    assert found["selftrain"]["round"] == 0 and "not adopted" in found["selftrain"]["why"]
    assert "folds 0, 1 kept none of their pool" in found["selftrain"]["why"]
    ledger = read_table(out / "round-1" / "pseudo" / "ledger.parquet")
    assert not ledger["used"].any()
    gain = found["selftrain"]["rounds"][0]["gain"]
    assert (gain["value"], gain["low"], gain["high"]) == (0, 0, 0)  # the very same training once more
    assert (out / "round-0" / "pool").is_dir()


def test_the_four_protocols_are_as_long_as_one_another_and_stand_side_by_side(tmp_path, data):
    soft = {"selftrain.method.labels": "soft", "selftrain.method.loss": '[{"kind": "kl"}]'}
    out = tmp_path / "run"
    found = selftrain(data, out, "--protocols", "--holdout", "0.2", **soft)["protocols"]
    check_protocols(out, found, steps=4)


def check_protocols(out, found, *, steps):
    assert list(found) == ["labelled_only", "mixed", "pretrain_finetune", "pretrain_mixed"]
    assert read_json(out / "protocols.json") == found
    for name, scores in found.items():
        images = scores.pop("images", None)
        assert (images is None) == (name == "labelled_only")
        assert images is None or [one["fold"] for one in images] == [0, 1]
        assert {key.split("/")[-1] for key in scores} == {"mean_dice", "pooled_miou"}
        for part in ("oof", "holdout"):
            gain, score, alone = (
                scores[f"gain/{part}/pooled_miou"],
                *(found[p][f"{part}/pooled_miou"] for p in (name, "labelled_only")),
            )
            assert gain["value"] == pytest.approx(score["value"] - alone["value"])
        if name == "labelled_only":
            continue
        inner = out / "protocols" / name
        places = [inner / "round-1" / "fold-0", *inner.glob("round-1/pretrain/fold-0")]
        assert len(places) == (2 if name.startswith("pretrain") else 1)
        assert sum(pl.read_csv(place / "metrics.csv")["step"].max() for place in places) == steps
        assert (inner / "round-0").resolve() == (out / "round-0").resolve()
        assert not list(inner.glob("round-1/pseudo/fold-*/soft")) and not list(inner.glob("round-*/pool"))


def test_sac_goes_on_from_the_supervised_network_of_its_own_fold(tmp_path, data):
    method = {"selftrain.method": '{"kind": "sac"}'}
    words = [word for word in command(data, tmp_path / "run", **method) if "method.pixels" not in word]
    done = run_command(*words[3:])
    assert done.returncode == 0, done.stderr[-3000:]
    for fold in (0, 1):
        note = read_json(tmp_path / "run" / "round-1" / f"fold-{fold}" / "start.json")
        assert Path(note["checkpoint"]) == tmp_path / "run" / "round-0" / f"fold-{fold}" / "last.ckpt"
        folds = read_folds(tmp_path / "run" / "folds.csv")
        assert not set(note["seen"]) & set(folds.filter(pl.col("fold") == fold)["image"])
        columns = read_table(tmp_path / "run" / "round-1" / f"fold-{fold}" / "metrics.csv").columns
        assert any(name.startswith("prior_") for name in columns)
    assert read_json(tmp_path / "run" / "adopted.json")


def test_fuse_knows_the_trainings_of_the_round_that_is_used(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    number = read_json(run / "adopted.json")["round"]
    assert number > 0
    assert set(_read(run).trained()) == {f"selftrain-{number}-train-{fold}" for fold in (0, 1)}
    record = run / ".tasks" / f"selftrain-{number}-train-0.json"
    record.write_text(json.dumps(read_json(record) | {"fingerprint": "0"}))
    with pytest.raises(StaleArtifactError, match="finish the run"):
        _read(run)

"""`maskwright tune RUN` on a run whose training and prediction are planted, through pipeline and command line."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from maskwright.artifacts import RunFolder, read_folds, read_json, write_json
from maskwright.cli import main
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore
from maskwright.pipeline import progress_of, run, stages
from maskwright.recipe import Recipe, apply_settings, load_recipe
from maskwright.recipe.data import DataSpec

SIZE, COUNT = (40, 48), 30
SETTINGS = (
    "data.classes=binary", "split.folds=3", "split.holdout=0.2", "audit.pictures=false", "evaluate.samples=200",
    "report.thumbnails=1", "predict.overlays=1",
    "postprocess.search=[{kind: threshold, value: [0.3, 0.7]}, {kind: minimum_area, pixels: [6]}]",
)  # fmt: skip


def write_data(root):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(COUNT):
        mask = np.zeros(SIZE, np.uint8)
        cv2.circle(mask, tuple(int(v) for v in rng.integers(14, 26, 2)), int(rng.integers(6, 11)), 1, -1)
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(root / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
    return root


def planted(truth, seed):
    """Objects are .4 to .6 sure, so that .3 is the right threshold; specks of 2 pixels are .9 sure."""
    rng = np.random.default_rng(seed)
    p = np.where(truth > 0, rng.uniform(0.35, 0.6, SIZE), rng.uniform(0.05, 0.25, SIZE))
    for _ in range(8):
        row, column = rng.integers(1, 38), rng.integers(1, 44)
        if truth[row - 1 : row + 2, column - 1 : column + 3].max() == 0:
            p[row, column : column + 2] = 0.9
    return np.stack([1 - p, p]).astype(np.float32)


RAN: list[str] = []
"""What was trained and predicted."""


def plan(root, spec):
    write_json(root / "plan.json", {})
    return dict(spec)


def train(root, spec):
    RAN.append("train")
    folder = RunFolder(root).fold(spec["fold"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("best.ckpt", "last.ckpt"):
        (folder / name).write_text("")
    (folder / "metrics.csv").write_text("step,seconds,lr,loss\n1,1,0.1,0.5\n")


def predict(root, spec):
    RAN.append(spec["part"])
    folder, whole = RunFolder(root), stages.decided(RunFolder(root), spec)
    held = spec["part"] == "holdout"
    folds = read_folds(folder.folds)
    images = whole.only(folds.filter((folds["fold"] == -1) == held)["image"].to_list())
    store = ProbabilityStore(folder.store(spec["part"]))
    for row, image in enumerate(images.images):
        store.write(name_of(image), planted(images.read_label(row), row + 100 * held))


@pytest.fixture(scope="module", autouse=True)
def nothing_is_trained():
    with pytest.MonkeyPatch.context() as patch:
        for function in (plan, train, predict):
            patch.setattr(stages, function.__name__, function)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory, nothing_is_trained):
    """A run until its report; what trains and predicts only writes files."""
    root = tmp_path_factory.mktemp("tune")
    recipe = Recipe(data=DataSpec(root=str(write_data(root / "data"))))
    return run(apply_settings(recipe, SETTINGS), root / "run")


@pytest.fixture
def trained(original, tmp_path):
    """A copy of the run, and the list of what is trained and predicted from here on."""
    shutil.copytree(original.root, tmp_path / "run")
    RAN.clear()
    return RunFolder(tmp_path / "run"), RAN


def tuned_of(folder):
    return read_json(folder.tuned)


def kinds(chain):
    return [step["kind"] for step in chain]


def times(folder):
    return {str(p): p.stat().st_mtime_ns for p in folder.root.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_run_finds_what_was_planted_and_tells_it(trained):
    folder, _ = trained
    tuned = tuned_of(folder)
    assert tuned["adopted"]
    assert [(s["kind"], s.get("value", s.get("pixels"))) for s in tuned["chain"]] == [
        ("threshold", 0.3),
        ("minimum_area", 6),
    ]
    assert tuned["agreement"] == 1
    # the same distribution everywhere: gains agree
    for key in ("naive_gain", "held_out_gain"):
        assert tuned[key]["value"] == pytest.approx(tuned["gain"]["value"], abs=0.1)
    assert tuned["held_out_gain"]["low"] > 0
    scores = read_json(folder.predictions / "evaluation.json")
    assert scores["holdout/mean_dice"]["value"] > 0.99
    page = (folder.predictions / "report.html").read_text(encoding="utf-8")
    for said in ("threshold 0.3 → minimum_area 6", "claims +", "3 of 3 folds chose the same chain", "held-out part"):
        assert said in page, said


def test_other_candidates_train_and_predict_nothing_and_stay_in_the_recipe(trained, capsys):
    folder, ran = trained
    setting = "postprocess.search=[{kind: threshold, value: [0.3]}]"
    assert main(["tune", str(folder.root), "--set", setting, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == tuned_of(folder)
    assert kinds(tuned_of(folder)["chain"]) == ["threshold"]
    assert ran == []
    assert "chain: threshold 0.3" in captured.err
    assert "claims" in captured.err
    assert "threshold 0.3 → minimum_area" not in (folder.predictions / "report.html").read_text(encoding="utf-8")
    (entry,) = load_recipe(folder.recipe).postprocess.search
    assert entry.value == (0.3,)
    before = times(folder)
    run(load_recipe(folder.recipe), folder.root)  # all of it stands
    assert times(folder) == before
    assert main(["tune", str(folder.root)]) == 0  # nothing asked for: shown again
    assert times(folder) == before


def test_redo_searches_again_and_finds_the_same(trained):
    folder, ran = trained
    known, before = tuned_of(folder), folder.tuned.stat().st_mtime_ns
    assert main(["tune", str(folder.root), "--redo"]) == 0
    assert folder.tuned.stat().st_mtime_ns > before
    assert tuned_of(folder) == known
    assert ran == []


def test_what_was_cut_short_goes_on(trained, monkeypatch):
    folder, ran = trained
    setting = "postprocess.search=[{kind: threshold, value: [0.3]}]"
    with monkeypatch.context() as patch:
        patch.setattr(stages, "tune", interrupted)
        assert main(["tune", str(folder.root), "--set", setting]) == 130
    assert not folder.tuned.exists()
    assert main(["tune", str(folder.root)]) == 0
    assert kinds(tuned_of(folder)["chain"]) == ["threshold"]
    assert "threshold 0.3 → minimum_area" not in (folder.predictions / "report.html").read_text(encoding="utf-8")
    assert set(progress_of(folder.root).values()) == {"done"}
    assert ran == []


def interrupted(root, spec):
    raise KeyboardInterrupt


def test_a_stated_chain_and_an_empty_search(trained):
    folder, _ = trained
    assert main(["tune", str(folder.root), "--set", "postprocess.chain=[{kind: majority}]"]) == 0
    assert kinds(tuned_of(folder)["chain"]) == ["majority"]
    assert main(["tune", str(folder.root), "--set", "postprocess.chain=null", "--set", "postprocess.search=[]"]) == 0
    tuned = tuned_of(folder)
    assert (tuned["chain"], tuned["adopted"]) == ([], False)
    assert "no candidates" in tuned["fitted_on"]


def test_another_metric_is_raised(trained):
    folder, _ = trained
    assert main(["tune", str(folder.root), "--set", "postprocess.metric=mean_precision"]) == 0
    tuned = tuned_of(folder)
    assert tuned["metric"] == "mean_precision"
    # every pixel above .5 is right but the specks: a lower threshold adds no precision
    assert kinds(tuned["chain"]) == ["minimum_area"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.lr=1"], "fields of postprocess"),
        (["--set", "postprocess.metric=boundary_f"], "postprocess.metric: a metric that adds up"),
        (["--set", "postprocess.metrik=auto"], "did you mean postprocess.metric"),
    ],
)
def test_wrong_use_changes_nothing(trained, capsys, arguments, said):
    folder, _ = trained
    before = times(folder)
    assert main(["tune", str(folder.root), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert times(folder) == before


def test_an_unfinished_run_is_named(tmp_path, capsys):
    assert main(["tune", str(tmp_path)]) == 2
    assert "recipe.yaml" in capsys.readouterr().err

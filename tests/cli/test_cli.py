"""The command line: exit codes, what goes to stdout, what is imported, options that set recipe fields."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys

import cyclopts
import numpy as np
import polars as pl
import pytest
from PIL import Image

import make_images as make
from maskwright import pipeline
from maskwright.artifacts import RunFolder, write_json, write_text
from maskwright.cli import COMMANDS, main
from maskwright.errors import UsageError
from maskwright.recipe import Recipe, apply_settings, dump_recipe
from maskwright.recipe.data import DataSpec
from maskwright.tasks import lock

HEAVY = ("torch", "lightning", "timm", "segmentation_models_pytorch", "torchvision")


@pytest.fixture
def data(tmp_path):
    """Six pairs of gray images and binary masks."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(6):
        values = rng.integers(0, 255, (24, 32), np.uint8)
        Image.fromarray(values).save(root / "images" / f"s{i % 3}_{i}.png")
        Image.fromarray(((values > 99) * 255).astype(np.uint8)).save(root / "masks" / f"s{i % 3}_{i}.png")
    return root


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_audit_writes_findings_and_one_json(capsys, data, tmp_path):
    make.truncated_png(data / "images", "s9_9")
    make.palette_png(data / "masks", "s9_9")
    code, out, err = call(capsys, "audit", "--data", data, "--classes", "binary", "--out", tmp_path / "run", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["classes"][1]["category"] == "foreground"
    assert "unreadable" in {f["kind"] for f in found["findings"]}
    assert "s9_9" in err
    assert (tmp_path / "run" / "audit" / "findings.parquet").is_file()
    table = pl.read_parquet(tmp_path / "run" / "audit" / "classes.parquet")
    for kind in ("pixel", "image"):
        drawn = (tmp_path / "run" / "audit" / f"{kind}_shares.svg").read_text()
        assert all(f">{100 * share:.1f}<" in drawn for share in table[f"{kind}_share"])


def test_without_json_stdout_is_empty(capsys, data, tmp_path):
    code, out, err = call(capsys, "audit", "--data", data, "--out", tmp_path / "run")
    assert (code, out) == (0, "")
    assert "Categories" in err


def test_split_prints_the_certificate(capsys, data, tmp_path):
    arguments = ("--data", data, "--out", tmp_path / "run", "--folds", 3, "--group-regex", r"^s\d", "--json")
    code, out, err = call(capsys, "split", *arguments)
    assert code == 0
    assert json.loads(out)["crossing_groups"] == []
    assert json.loads(out)["groups"] == 3
    assert "no group crosses a border" in err
    folds = pl.read_csv(tmp_path / "run" / "folds.csv")
    assert folds.columns == ["image", "group", "fold"]
    assert folds.group_by("group").agg(pl.col("fold").n_unique())["fold"].to_list() == [1, 1, 1]


def test_images_that_can_not_be_used_stop_the_split_until_one_says_drop(capsys, data, tmp_path):
    make.truncated_png(data / "images", "s9_9")
    make.palette_png(data / "masks", "s9_9")
    arguments = ("--data", data, "--classes", "binary", "--out", tmp_path / "run", "--folds", 2)
    code, _, err = call(capsys, "split", *arguments)
    assert code == 2
    assert "s9_9.png: unreadable" in err
    assert "audit.on_error=drop" in err
    code, _, err = call(capsys, "split", *arguments, "--set", "audit.on_error=drop", "--redo")
    assert code == 0
    assert pl.read_csv(tmp_path / "run" / "folds.csv").height == 6


def test_evaluate_scores_folders(capsys, data, tmp_path):
    masks, half = data / "masks", tmp_path / "scores" / ".0123456789ab.tmp.json"
    half.parent.mkdir()
    half.touch()
    code, out, _ = call(capsys, "evaluate", masks, masks, "--out", tmp_path / "scores", "--json")
    assert code == 0
    assert json.loads(out)["mean_dice"]["value"] == 1
    files = {p.name for p in (tmp_path / "scores").iterdir()}
    assert files == {".lock", "evaluation.json", "confusion.json", "per_image.parquet"}
    assert json.loads((tmp_path / "scores" / "evaluation.json").read_text()) == json.loads(out)


def test_evaluate_takes_families_files_and_processes(capsys, data, tmp_path):
    masks = data / "masks"
    first = sorted(masks.glob("*.png"))[0]
    code, out, err = call(capsys, "evaluate", first, first, "--families", "none", "--json")
    assert code == 0
    assert json.loads(out)["mean_iou"] == {"value": 1.0, "low": None, "high": None, "n": 1} | {
        "definition": json.loads(out)["mean_iou"]["definition"]
    }
    assert "mean_hd95" not in json.loads(out)
    words = ("--families", "boundary,dental", "--tolerance", "1.5", "--workers", "1", "--classes", "binary", "--json")
    code, out, _ = call(capsys, "evaluate", masks, masks, *words)
    found = json.loads(out)
    assert (code, found["mean_hd95"]["value"], found["dental_score"]["value"]) == (0, 0, 1)
    assert "within 1.5 pixels" in found["mean_nsd"]["definition"]
    assert "hd95/foreground" in found and "hd95/foreground" not in err  # of single categories only IoU is printed
    code, _, err = call(capsys, "evaluate", masks, masks, "--kind", "instances", "--group-regex", "^s[0-9]")
    assert code == 0 and "sbd" in err


def test_postprocess_cleans_copies(capsys, tmp_path):
    label = np.zeros((9, 9), np.uint8)
    label[1:6, 1:6], label[3, 3], label[8, 8] = 1, 0, 1
    (tmp_path / "in").mkdir()
    Image.fromarray(label).save(tmp_path / "in" / "a.png")
    arguments = ("--out", tmp_path / "out", "--minimum-area", 2, "--fill-holes", 1, "--json")
    code, out, _ = call(capsys, "postprocess", tmp_path / "in", *arguments)
    assert (code, json.loads(out)) == (0, {"files": [str(tmp_path / "out" / "a.png")]})
    cleaned = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert cleaned.sum() == 25  # the hole is filled, the lone pixel gone
    assert np.array_equal(np.asarray(Image.open(tmp_path / "in" / "a.png")), label)
    assert call(capsys, "postprocess", tmp_path / "in", "--out", tmp_path / "in")[0] == 2


def test_a_stage_is_done_anew_only_in_a_folder_that_is_free(data, tmp_path):
    recipe, records = Recipe(data=DataSpec(root=str(data))), tmp_path / "run" / ".tasks"
    pipeline.run(recipe, tmp_path / "run", until="audit")
    before = {path: path.stat().st_mtime_ns for path in records.glob("*.json")}
    with lock(tmp_path / "run"), pytest.raises(UsageError):
        pipeline.run(recipe, tmp_path / "run", until="audit", anew="audit")
    assert {path: path.stat().st_mtime_ns for path in records.glob("*.json")} == before
    pipeline.run(recipe, tmp_path / "run", until="audit", anew="audit")
    assert {path.name for path, time in before.items() if path.stat().st_mtime_ns != time} == {
        "audit.json",
        "decide.json",  # a task of the same stage
    }


def test_a_report_that_is_refused_leaves_the_old_one_on_record(capsys, tmp_path):
    run = RunFolder(tmp_path / "run")
    for name in ("train-fold-0", "report"):
        write_json(run.records / f"{name}.json", {})
    write_text(run.recipe, dump_recipe(apply_settings(Recipe(data=DataSpec(root="none")), ["split.folds=1"])))
    with lock(run.root):
        code, _, err = call(capsys, "report", run.root)
    assert (code, "another process" in err) == (2, True)
    assert (run.records / "report.json").is_file()


def test_schema_goes_to_stdout_or_a_file(capsys, tmp_path):
    code, out, _ = call(capsys, "schema")
    assert code == 0
    assert set(json.loads(out)["properties"]) == set(Recipe.model_fields)
    code, nothing, _ = call(capsys, "schema", "--out", tmp_path / "schema.json")
    assert (code, nothing) == (0, "")
    assert (tmp_path / "schema.json").read_text() == out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "--data FOLDER or --recipe FILE"),
        (["rnu"], "run"),
        (["run", "--foldz", "3"], "--folds"),
        (["selftrain", "--data", "DATA", "--pool", "more"], "they lie in unlabeled/"),
        (["selftrain", "--data", "NOWHERE", "--out", "x"], "a data folder"),
        (["curve", "--data", "NOWHERE", "--out", "x"], "a data folder"),
        (["curve", "--data", "DATA", "--shares", "0,1"], "got shares of 0 "),
        (["curve", "--data", "DATA", "--repeats", "0"], "got 0 repeats"),
        (["watch", "DATA/masks/a.txt"], "the folder of a run, got nothing"),
        (["audit", "--data", "DATA/.."], "give one of the data folders in it"),
        (["audit", "--data", "NOWHERE"], "a data folder"),
        (["audit", "--recipe", "NOWHERE.yaml"], "a recipe file"),
        (["audit", "--data", "DATA", "--set", "train.lrr=1"], "did you mean train.lr?"),
        (["audit", "--data", "DATA", "--set", "train.lr"], "key.path=value"),
        (["audit", "--data", "DATA", "--classes", "tooth"], "names among background, foreground"),
        (["audit", "--data", "DATA", "--ignore", "void"], "--ignore"),
        (["split", "--data", "DATA", "--holdout", "0", "--labelled", "100"], "got 6 (6 with a usable label, 0 of them"),
        (["split", "--data", "DATA", "--folds", "9"], "at least 9 groups"),
        (["split", "--data", "DATA", "--folds", "0"], "split.folds"),
        (["split", "--data", "DATA", "--group", "patient"], "meta.csv"),
        (["evaluate", "DATA/masks", "NOWHERE"], "a folder"),
        (["evaluate", "DATA/masks"], "PREDICTION TRUTH"),
        (["evaluate", "DATA/masks", "DATA/masks", "--families", "hausdorf"], "--families"),
        (["evaluate", "DATA/masks", "DATA/masks", "--tolerance", "0"], "--tolerance"),
        (["evaluate", "DATA/masks", "DATA/masks", "--kind", "panoptic"], "segments_info"),
        (["evaluate", "DATA/masks", "DATA/masks", "--group", "patient"], "a group for every image"),
        (["postprocess", "DATA/masks"], "--out FOLDER"),
        (["evaluate", "DATA/masks", "DATA/masks", "--ignore", "void"], "numbers"),
        (["evaluate", "DATA/masks", "DATA/masks", "--leave-out", "tooth"], "--leave-out"),
        (["predict", "NOWHERE", "DATA/images", "--out", "x"], "a recipe file"),
        (["report", "NOWHERE"], "a recipe file"),
    ],
)
def test_wrong_use_recipe_or_data_is_2_and_said(capsys, data, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    given = [a.replace("DATA", str(data)) for a in arguments]
    code, out, err = call(capsys, *given)
    assert code == 2, err
    assert out == ""
    assert words in " ".join(err.split()), err
    assert "Traceback" not in err
    assert not (tmp_path / "x").exists()  # nothing is left of what could not begin


def test_paragraphs_of_a_help_are_as_wide_as_the_terminal(capsys, monkeypatch):
    """And not broken where the source is."""
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = call(capsys, "selftrain", "--help")
    prose = out[out.index("After the supervised training") : out.index("Examples:")].strip().splitlines()
    assert len(prose) > 3
    room = [len(line.rstrip()) + 1 + len(after.split()[0]) for line, after in itertools.pairwise(prose)]
    assert min(room) > max(len(line.rstrip()) for line in prose)  # no word would have had room in the line before


def test_an_interruption_is_130(capsys, data, tmp_path, monkeypatch):
    from maskwright import pipeline

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", interrupted)
    code, out, err = call(capsys, "run", "--data", data, "--out", tmp_path / "run")
    assert (code, out) == (130, "")
    assert "goes on" in err


def test_other_data_or_recipe_in_the_run_folder_is_refused_with_what_changed(capsys, data, tmp_path):
    arguments = ("split", "--data", data, "--out", tmp_path / "run", "--folds", 2)
    assert call(capsys, *arguments)[0] == 0
    code, _, err = call(capsys, *arguments, "--seed", 1)
    assert code == 2
    assert "seed: 0 → 1" in err
    assert call(capsys, *arguments, "--seed", 1, "--redo")[0] == 0
    (data / "meta.csv").write_text("name\n")
    code, _, err = call(capsys, *arguments, "--seed", 1)
    assert code == 2
    assert "meta.csv" in err


def test_shortcuts_only_set_recipe_fields(data):
    from maskwright.cli.options import Options

    options = Options(
        data=data, classes="a, b", ignore="255,void", leave_out="a", group="patient", folds=3, holdout=0.1, minutes=2,
        seed=4, workers=2, settings=("train.lr=1e-3", "seed=5"),
    )  # fmt: skip
    recipe = options.to_recipe()
    assert recipe.data.classes == ("a", "b")
    assert recipe.data.ignore == (255, "void")
    assert recipe.data.leave_out == ("a",)
    assert recipe.data.group == "patient"
    assert (recipe.split.folds, recipe.split.holdout) == (3, 0.1)
    assert (recipe.train.minutes, recipe.train.workers, recipe.train.lr) == (2, 2, 0.001)
    assert recipe.seed == 5  # --set comes last
    assert Options(data=data).to_recipe() == Recipe(data=recipe.data.model_validate({"root": str(data)}))
    assert str(options.folder(recipe)) == os.path.join("runs", "data")


def test_every_command_is_there_and_explains_itself(capsys):
    for name in COMMANDS:
        code, out, _ = call(capsys, name, "--help")
        assert code == 0
        assert f"maskwright {name}" in out
        command = importlib.import_module(f"maskwright.cli.{COMMANDS[name][0]}").__dict__[name]
        text = command.help if isinstance(command, cyclopts.App) else command.__doc__  # an App has commands of its own
        assert text.strip()[:25] in out
    code, out, _ = call(capsys, "--help")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("│ ")][: len(COMMANDS)] == list(COMMANDS)


def modules_after(*arguments, cwd):
    code = (
        "import sys\n"
        "from maskwright.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\nLOADED ' + ' '.join(m for m in sys.modules if '.' not in m))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=True
    )
    return set(done.stderr.rsplit("LOADED ", 1)[1].split()), done.stdout


@pytest.mark.parametrize(
    "command", ["help", "version", "audit", "doctor", "evaluate", "split", "schema", "measure", "submit"]
)
def test_what_needs_no_torch_loads_none(data, tmp_path, command):
    arguments = {
        "help": ["--help"],
        "version": ["--version"],
        "audit": ["audit", "--data", data, "--out", tmp_path / "run"],
        "split": ["split", "--data", data, "--out", tmp_path / "run", "--folds", 2],
        "doctor": ["doctor", data / "images" / "s0_0.png"],
        "evaluate": ["evaluate", data / "masks", data / "masks"],
        "schema": ["schema"],
        "measure": ["measure", data / "masks", "--out", tmp_path / "measured.csv"],
        "submit": ["submit", data / "masks", "--to", "rle_csv", "--out", tmp_path / "submission.csv"],
    }[command]
    loaded, out = modules_after(*arguments, cwd=tmp_path)
    assert not loaded & set(HEAVY)
    if command == "help":
        assert all(name in out for name in ("demo", "run", "audit", "evaluate", "schema"))


def test_the_package_loads_neither_torch_nor_numpy_before_it_is_used(tmp_path):
    code = "import sys, maskwright; dir(maskwright); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert not set(done.stdout.split()) & {*HEAVY, "numpy", "polars", "cv2"}


def test_every_public_name_is_there():
    import maskwright

    for name in maskwright.__all__:
        assert getattr(maskwright, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        maskwright.nothing  # noqa: B018


def test_classes_on_a_resolved_recipe_asks_for_other_categories(tmp_path):
    from maskwright.cli.options import Options
    from maskwright.recipe import dump_recipe
    from maskwright.types import Category

    listed = (Category(0, "sky", values=(0,)), Category(1, "rock", values=(1,)))
    data = {"root": "x", "categories": listed, "leave_out": ("sky",)}
    (tmp_path / "recipe.yaml").write_text(dump_recipe(Recipe(data=data)))
    same = Options(recipe=tmp_path / "recipe.yaml").to_recipe().data
    assert (same.categories, same.leave_out) == (listed, ("sky",))
    asked = Options(recipe=tmp_path / "recipe.yaml", classes="binary").to_recipe().data
    assert (asked.classes, asked.categories, asked.leave_out) == ("binary", None, None)

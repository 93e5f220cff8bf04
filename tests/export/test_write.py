"""Exporting a run: what is written, what is refused, and that a wrong graph is found out."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import onnx
import openvino
import polars as pl
import pytest
import torch

from make_export import make_run
from maskwright.artifacts import RunFolder, read_folds, read_json
from maskwright.cli import main
from maskwright.data.images import read_image
from maskwright.data.index import scored
from maskwright.errors import DataError, UsageError
from maskwright.export import loss, write
from maskwright.export.graphs import Shape, write_graph
from maskwright.export.manifest import read_manifest, sha256
from maskwright.export.runner import Runner
from maskwright.export.variants import spread
from maskwright.export.write import export_run
from maskwright.metrics import SUMMARIES, Counts, EmptyCases, overlap_table
from maskwright.recipe import load_recipe
from maskwright.statistics import paired_difference


def test_the_manifest_says_what_the_run_says(folder, export):
    manifest, recipe = read_manifest(export), load_recipe(folder.recipe)
    assert [graph.file for graph in manifest.graphs] == ["fold-0-last.onnx", "fold-1-last.onnx"]
    assert [graph.checkpoint_sha256 for graph in manifest.graphs] == [
        sha256(folder.fold(k) / "last.ckpt") for k in (0, 1)
    ]
    assert manifest.predict == recipe.predict
    assert (manifest.mean, manifest.std, manifest.channels) == (recipe.data.mean, recipe.data.std, recipe.data.channels)
    assert [c["name"] for c in manifest.categories] == [c.name for c in recipe.data.categories]
    assert (manifest.multiple, manifest.smallest, manifest.fixed_size, manifest.fixed_batch) == (32, 32, None, None)
    assert manifest.versions["torch"] == torch.__version__.partition("+")[0]
    assert manifest.check.images == 8
    assert manifest.check.largest_difference < 1e-5
    assert manifest.check.clear_labels_differ == 0
    assert manifest.loss is None
    assert "licences of the images" in manifest.licence
    assert "onnxruntime" in manifest.runs_in


def test_graphs_are_valid_and_name_their_ends(export):
    graph = onnx.load(export / "fold-0-last.onnx")
    onnx.checker.check_model(graph)
    assert [i.name for i in graph.graph.input] == ["images"]
    assert [o.name for o in graph.graph.output] == ["probabilities"]
    channels = graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    assert channels == read_manifest(export).channels


def test_members_through_the_command(folder, tmp_path, capsys):
    out = tmp_path / "second"
    words = ["export", str(folder.root), "--out", str(out), "--members", "1", "--check", "2", "--json"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert [graph["fold"] for graph in json.loads(told.out)["graphs"]] == [1]
    assert "checked on 2 images of the run" in told.err
    assert sorted(p.name for p in out.iterdir()) == ["fold-1-last.onnx", "manifest.json"]
    assert main(words) == 2
    assert "--redo to replace" in capsys.readouterr().err
    assert main([*words, "--redo"]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"members": [0, 2]}, "folds from 0 to 1, got 2"),
        ({"precision": "bf16"}, "--format openvino"),
    ],
)
def test_what_cannot_be_asked_for(options, said, folder, tmp_path):
    with pytest.raises(UsageError, match=said):
        export_run(folder.root, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(folder, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    for redo in (False, True):
        with pytest.raises(UsageError, match="one that holds other things"):
            export_run(folder.root, tmp_path, redo=redo)
    assert (tmp_path / "kept.txt").read_text() == "mine"


def test_an_unfinished_run_is_named(folder, tmp_path, capsys):
    shutil.copytree(folder.root, tmp_path / "run")
    (tmp_path / "run" / ".tasks" / "train-fold-1.json").unlink()
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    assert "1 of them unfinished" in capsys.readouterr().err


def test_an_export_of_other_networks_fails_its_check_and_leaves_nothing(folder, tmp_path, monkeypatch):
    def other(network, path, **options):
        changed = copy.deepcopy(network)
        with torch.no_grad():
            next(changed.parameters()).add_(0.05)
        return write_graph(changed, path, **options)

    monkeypatch.setattr(write, "write_graph", other)
    with pytest.raises(DataError, match=r"probabilities within 0\.001"):
        export_run(folder.root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_networks_whose_graphs_take_other_images_are_named(folder, tmp_path, monkeypatch):
    shapes = iter([Shape(None, None, 32), Shape((32, 64), 1, 32)])
    monkeypatch.setattr(write, "write_graph", lambda network, path, **options: next(shapes))
    with pytest.raises(DataError, match=r"take the same images, got .*\(32, 64\)(.|\n)*fold-0-last(.|\n)*--members"):
        export_run(folder.root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_its_images_a_run_is_exported_unchecked(folder, tmp_path):
    assert export_run(folder.root, tmp_path / "out", members=[0], images=0).check is None


def test_int8_states_its_loss_on_images_that_the_networks_never_saw(folder, tmp_path):
    manifest = export_run(folder.root, tmp_path / "out", precision="int8", images=2)
    runner, told = Runner(tmp_path / "out"), manifest.loss
    assert "8-bit" in manifest.runs_in
    operators = {node.op_type for node in onnx.load(tmp_path / "out" / "fold-0-last.onnx").graph.node}
    assert "QuantizeLinear" in operators
    assert (told.part, manifest.check.bound) == ("oof", None)
    assert told.change == pytest.approx(told.dice - told.fp32)
    assert told.low <= told.change <= told.high
    # the mean Dice of each fold by its own network, worked out anew
    recipe, index, counts = load_recipe(folder.recipe), write._index(folder, load_recipe(folder.recipe)), []
    folds = dict(scored(index, read_folds(folder.folds)).select("image", "fold").iter_rows())
    for fold in (0, 1):
        alone = Runner(tmp_path / "out", members=[fold])
        for row, image in enumerate(index.images):
            if folds.get(image) == fold:
                found = alone.label(read_image(index.path(image)))
                counts.append(Counts.from_table(overlap_table(index.read_label(row), found, len(runner.categories))))
    assert len(counts) == told.images
    dice = SUMMARIES["mean_dice"].function(
        Counts.stack(counts),
        runner.categories.evaluated,
        np.ones((1, len(counts))),
        EmptyCases.of(recipe.evaluate),
    )
    assert told.dice == pytest.approx(float(dice[0]))


def test_a_loss_is_one_of_images_and_its_interval_one_of_groups(folder, tmp_path, monkeypatch):
    """A copy with a twin's mask is learned from with its twin, never scored; images of a group are drawn together."""
    root = tmp_path / "run"
    shutil.copytree(folder.root, root)
    run = RunFolder(root)
    folds = read_folds(run.folds).drop_nulls("fold")
    copies, rest = folds["image"].to_list()[:3], folds["image"].to_list()[3:]
    decided = pl.read_parquet(run.decided / "images.parquet")
    twins = pl.when(pl.col("image").is_in(copies)).then(pl.lit(rest[0])).otherwise(None)
    decided.with_columns(twin_of=twins).write_parquet(run.decided / "images.parquet")
    groups = {image: f"group {place % 3}" for place, image in enumerate(folds["image"])}
    grouped = pl.col("image").replace_strict(groups, default=None)
    read_folds(run.folds).with_columns(group=grouped).write_csv(run.folds)
    seen = []

    def drawn(*args, groups, **options):
        seen.append(groups)
        return paired_difference(*args, groups=groups, **options)

    monkeypatch.setattr(loss, "paired_difference", drawn)
    found = export_run(root, tmp_path / "out", precision="int8", images=1).loss
    assert found.images == len(rest)
    in_order = sorted((f, k) for k, f in enumerate(folds["fold"]) if folds["image"][k] in rest)
    assert seen == [[groups[folds["image"][k]] for _, k in in_order]]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_openvino_computes_in_the_precision_that_was_asked_for(precision, folder, tmp_path):
    if precision == "bf16" and not has_bfloat16():
        with pytest.raises(DataError, match="no bfloat16"):
            export_run(folder.root, tmp_path / "out", form="openvino", precision=precision, members=[0])
        return
    manifest = export_run(folder.root, tmp_path / "out", form="openvino", precision=precision, members=[0])
    assert manifest.runs_in.startswith({"fp32": "float32", "bf16": "bfloat16"}[precision])
    assert (manifest.check.largest_difference < 1e-5) == (precision == "fp32")
    assert manifest.check.largest_difference < 0.1
    assert (manifest.loss is None) == (precision == "fp32")


def has_bfloat16():
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("count", [0, 1, 3, 8, 20])
def test_spread_is_even_and_without_doubles(count):
    found = list(spread(count, 8))
    assert len(found) == len(set(found)) == min(count, 8)
    assert all(0 <= place < 8 for place in found)


def test_a_bfloat16_recipe_is_checked_in_float32_and_says_what_it_differs_by(tmp_path):
    folder = make_run(tmp_path, "train.precision=bfloat16")
    manifest = export_run(folder.root, tmp_path / "out", members=[0])
    assert manifest.check.recipe_precision == "bfloat16"
    assert manifest.check.largest_difference < 1e-5
    assert 0 <= manifest.check.predict_labels_differ < 0.1


def test_a_fused_folder_is_refused(tmp_path, capsys):
    (tmp_path / "fused.json").write_text("{}")
    assert RunFolder(tmp_path).fused.is_file()
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "one by one" in capsys.readouterr().err


def test_the_tuned_chain_travels(folder, tmp_path):
    shutil.copytree(folder.root, tmp_path / "run")
    chain = [{"kind": "minimum_area", "category": None, "pixels": 30}]
    (tmp_path / "run" / "tuned.json").write_text(json.dumps({"chain": chain}))
    manifest = export_run(tmp_path / "run", tmp_path / "out", members=[0], images=1)
    assert [step.pixels for step in manifest.chain] == [30]
    assert read_json(tmp_path / "out" / "manifest.json")["chain"] == chain

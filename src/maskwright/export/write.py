"""From a run to an export folder: graphs, manifest, and the check that they give what the run gives."""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

from maskwright.artifacts import RunFolder, is_export, read_folds, read_json, read_table
from maskwright.checkpoint import Trained
from maskwright.data.index import Index, load_index
from maskwright.data.intensity import working_size
from maskwright.errors import UsageError, problem
from maskwright.export.check import compare
from maskwright.export.graphs import CLOSE, Shape, write_graph
from maskwright.export.loss import calibration_images, measure_loss
from maskwright.export.manifest import (
    SCHEMA,
    CheckSpec,
    Format,
    GraphSpec,
    LossSpec,
    Manifest,
    Precision,
    sha256,
    write_manifest,
)
from maskwright.export.runner import Runner
from maskwright.export.variants import quantise, spread, to_openvino
from maskwright.inference import STRIDE
from maskwright.predict import load_ensemble
from maskwright.progress import track
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.encoder import EncoderSpec
from maskwright.split import HELD_OUT

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "numpy", "opencv-python-headless")


def export_run(
    run: Path,
    out: Path,
    *,
    form: Format = "onnx",
    precision: Precision = "fp32",
    members: Sequence[int] | None = None,
    checkpoint: str | None = None,
    images: int = 8,
    redo: bool = False,
) -> Manifest:
    """Export the networks of a run, one graph each, with all that using them needs; return the manifest.

    The folder is there when all is done and checked, or not at all.

    Args:
        run: run folder whose trainings are finished.
        out: new folder for the export.
        form: of the graphs.
        precision: of their arithmetic: fp32; bf16 (OpenVINO alone computes in it on a processor); int8.
        members: folds whose networks are exported; None: all.
        checkpoint: last or best; None: the recipe's.
        images: of the run, that the runner is checked on; 0: no check.
        redo: replace an export that stands there.

    Raises:
        UsageError: `out` is taken, a fold doesn't exist, the precision isn't there in this form, or a package isn't.
        DataError: a network can't be written, or the runner's results are not the run's.
    """
    folder, recipe = RunFolder(run), load_recipe(RunFolder(run).recipe)
    _check_wanted(recipe, out, form, precision, members, redo=redo)
    folds = list(range(recipe.split.folds)) if members is None else sorted(set(members))
    paths = [folder.fold(k) / f"{checkpoint or recipe.predict.checkpoint}.ckpt" for k in folds]
    trained, index = load_ensemble(paths), _index(folder, recipe)
    part = out.with_name(f".{out.name}-{uuid.uuid4().hex[:8]}.part")
    part.mkdir(parents=True)
    try:
        shapes = _write_graphs(part, trained, folds, _one_size(index, recipe, trained[0]))
        if precision == "int8":
            for k in track(folds, "quantise"):
                source, target = part / f"fold-{k}.onnx", part / f"fold-{k}.int8.onnx"
                quantise(source, target, calibration_images(folder, index, trained[0], recipe.predict, k))
                target.replace(source)
        if form == "openvino":
            for k in folds:
                to_openvino(part / f"fold-{k}.onnx", part / f"fold-{k}.xml")
                (part / f"fold-{k}.onnx").unlink()
        manifest = _manifest(folder, recipe, trained, folds, shapes, form, precision, part)
        write_manifest(part, manifest)
        manifest = _checked(folder, index, recipe, trained, folds, part, manifest, images)
        write_manifest(part, manifest)
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _check_wanted(
    recipe: Recipe, out: Path, form: Format, precision: Precision, members: Sequence[int] | None, *, redo: bool
) -> None:
    if precision == "bf16" and form == "onnx":
        raise UsageError(
            problem(
                "a runtime that computes in bfloat16",
                "onnxruntime, which has no convolution in it on processors",
                where="--precision bf16",
                next_move="add --format openvino, or take --precision int8",
            )
        )
    if wrong := sorted(set(members or ()) - set(range(recipe.split.folds))):
        raise UsageError(
            problem(
                f"folds from 0 to {recipe.split.folds - 1}",
                ", ".join(map(str, wrong)),
                where="--members",
                next_move="name folds of the run, or leave it out to export all",
            )
        )
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not (redo and is_export(out)):
        raise UsageError(
            problem(
                "a new folder",
                "an export" if is_export(out) else "one that holds other things",
                where=str(out),
                next_move="give another --out" + (", or add --redo to replace the export" if is_export(out) else ""),
            )
        )


def _write_graphs(part: Path, trained: Sequence[Trained], folds: Sequence[int], fixed: tuple[int, int] | None) -> Shape:
    """Write fold-K.onnx; return what all of them take."""
    shapes = {
        write_graph(one.network, part / f"fold-{k}.onnx", channels=one.intensity.channels, fixed=fixed)
        for one, k in track(list(zip(trained, folds, strict=True)), "export")
    }
    assert len(shapes) == 1, "networks of one recipe take the same images"
    return shapes.pop()


def _one_size(index: Index, recipe: Recipe, trained: Trained) -> tuple[int, int] | None:
    """Return the (height, width) that all images of the run, or their tiles, fill up; None if they differ."""
    side = -(-recipe.predict.tile // STRIDE) * STRIDE
    sizes = set()
    for size in zip(index.table["height"], index.table["width"], strict=True):
        height, width = working_size(size, trained.scale)
        if max(height, width) > recipe.predict.tile:
            height, width = min(height, side), min(width, side)
        sizes.add((-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE))
    return sizes.pop() if len(sizes) == 1 else None


def _manifest(
    folder: RunFolder,
    recipe: Recipe,
    trained: Sequence[Trained],
    folds: Sequence[int],
    shape: Shape,
    form: Format,
    precision: Precision,
    part: Path,
) -> Manifest:
    first = trained[0]
    graphs = [
        GraphSpec(
            file=f"fold-{k}.{'xml' if form == 'openvino' else 'onnx'}",
            sha256={path.name: sha256(path) for path in sorted(part.glob(f"fold-{k}.*"))},
            fold=k,
            checkpoint=one.path.relative_to(folder.root).as_posix(),
            checkpoint_sha256=sha256(one.path),
        )
        for one, k in zip(trained, folds, strict=True)
    ]
    tree = {
        "schema": SCHEMA,
        "maskwright": version("maskwright"),
        "versions": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "format": form,
        "precision": precision,
        "runs_in": "not looked at yet",
        "graphs": [graph.model_dump() for graph in graphs],
        "channels": first.intensity.channels,
        "value_range": first.intensity.value_range,
        "mean": first.intensity.mean,
        "std": first.intensity.std,
        "scale": first.scale,
        "multiple": STRIDE,
        "smallest": shape.smallest,
        "fixed_size": shape.size,
        "fixed_batch": shape.batch,
        "predict": recipe.predict.model_dump(mode="json"),
        "chain": read_json(folder.tuned)["chain"] if folder.tuned.is_file() else [],
        "categories": [
            {"id": c.id, "name": c.name, "color": c.color, "isthing": c.isthing} for c in first.categories.items
        ],
        "left_out": sorted(first.categories.left_out),
        "licence": _licence(recipe),
    }
    return Manifest.model_validate(tree)


def _checked(
    folder: RunFolder,
    index: Index,
    recipe: Recipe,
    trained: Sequence[Trained],
    folds: Sequence[int],
    part: Path,
    manifest: Manifest,
    images: int,
) -> Manifest:
    """Return the manifest with what the runner came to."""
    runner = Runner(part)
    check: CheckSpec | None = None
    loss: LossSpec | None = None
    if images > 0:
        files = [(str(row), index.path(index.images[row])) for row in spread(images, len(index))]
        check = compare(runner, trained, files, CLOSE if manifest.precision == "fp32" else None)
        if manifest.precision != "fp32":
            loss = measure_loss(folder, index, recipe, trained, folds, part)
    return manifest.model_copy(update={"check": check, "loss": loss, "runs_in": runner.runs_in})


def _index(folder: RunFolder, recipe: Recipe) -> Index:
    """Return the images of the folds and the held-out part, as the decisions leave them."""
    whole = load_index(folder.index, recipe.data)
    whole = replace(whole, table=read_table(folder.decided / "images.parquet"))
    folds = read_folds(folder.folds)
    held = folds.filter(pl.col("fold") == HELD_OUT)["image"].to_list()
    return whole.only([*held, *folds.filter(pl.col("fold") != HELD_OUT)["image"].to_list()])


def _licence(recipe: Recipe) -> str:
    said = "The networks are yours, as far as the licences of the images and masks that they learned from allow."
    if isinstance(recipe.model, EncoderSpec) and recipe.model.encoder_weights not in (None, "none"):
        said += (
            f" The encoder {recipe.model.encoder} started from published weights ({recipe.model.encoder_weights}), "
            "which have a licence of their own."
        )
    return said


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""From a run to an export folder: graphs, manifest, and the check that they give what the run gives."""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, is_export, read_folds, read_json
from maskwright.checkpoint import Trained
from maskwright.data.index import Index, decided_index
from maskwright.data.intensity import working_size
from maskwright.errors import DataError, UsageError, problem
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
from maskwright.tasks import check_fresh

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class _Job:
    """What is exported.

    Attributes:
        folder: the run.
        recipe: its own.
        index: the images of its folds and of its held-out part.
        folds: of the networks, one each.
        trained: the networks.
        form: of the graphs.
        precision: of their arithmetic.
        part: the folder that is written into.
    """

    folder: RunFolder
    recipe: Recipe
    index: Index
    folds: tuple[int, ...]
    trained: tuple[Trained, ...]
    form: Format
    precision: Precision
    part: Path

    @property
    def stems(self) -> list[str]:
        """Names of the graphs without suffix."""
        return [f"fold-{fold}-{one.path.stem}" for fold, one in zip(self.folds, self.trained, strict=True)]


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

    One graph a network, not one for all: so each can be left out, and scored on the fold that it never saw.

    The folder is there when all is done and checked, or not at all.

    Args:
        run: run folder whose trainings are finished.
        out: new folder for the export.
        form: of the graphs.
        precision: of their arithmetic: fp32; bf16 (OpenVINO alone computes in it on a processor); int8.
        members: folds whose networks are exported; None: all.
        checkpoint: last, best or topk; None: the recipe's.
        images: of the run, that the runner is checked on; 0: no check.
        redo: replace an export that stands there.

    Raises:
        UsageError: `out` is taken, a fold doesn't exist, the precision isn't there in this form, or a package isn't.
        DataError: a network can't be written, or the runner's results are not the run's.
    """
    folder, recipe, out = RunFolder(run), load_recipe(RunFolder(run).recipe), out.resolve()
    _check_wanted(recipe, out, form, precision, members, redo=redo)
    kind = checkpoint or recipe.predict.checkpoint
    folds = range(recipe.split.folds) if members is None else sorted(set(members))
    kept = [(fold, path) for fold in folds for path in folder.checkpoints(fold, kind)]
    trained, places = load_ensemble([path for _, path in kept]), tuple(fold for fold, _ in kept)
    part = out.with_name(f".{out.name}-{uuid.uuid4().hex[:8]}.part")
    job = _Job(folder, recipe, _index(folder, recipe), places, tuple(trained), form, precision, part)
    part.mkdir(parents=True)
    try:
        manifest = _manifest(job, _write_graphs(job))
        write_manifest(part, manifest)
        manifest = _checked(job, manifest, images)
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


def _write_graphs(job: _Job) -> Shape:
    """Write the graphs; return what all of them take."""
    fixed, shapes = _one_size(job), set()
    for stem, fold, one in track(list(zip(job.stems, job.folds, job.trained, strict=True)), "export"):
        source = job.part / f"{stem}.onnx"
        shape = write_graph(one.network, source, channels=one.intensity.channels, fixed=fixed)
        shapes.add(shape)
        if job.precision == "int8":
            seen = calibration_images(job.folder, job.index, one, job.recipe.predict, fold, shape.smallest)
            quantise(source, source.with_suffix(".int8"), seen)
            source.with_suffix(".int8").replace(source)
        if job.form == "openvino":
            to_openvino(source, source.with_suffix(".xml"))
            for path in job.part.glob(f"{stem}.onnx*"):
                path.unlink()
    if len(shapes) > 1:
        several = "; ".join(sorted(f"smallest {s.smallest}, size {s.size}, batch {s.batch}" for s in shapes))
        raise DataError(
            problem(
                "networks whose graphs take the same images",
                several,
                where=", ".join(job.stems),
                next_move="export them one by one with --members",
            )
        )
    return shapes.pop()


def _one_size(job: _Job) -> tuple[int, int] | None:
    """Return the (height, width) that all images of the run, or their tiles, fill up; None if they differ."""
    spec, scale, table = job.recipe.predict, job.trained[0].scale, job.index.table
    side = -(-spec.tile // STRIDE) * STRIDE
    sizes = set()
    for size in zip(table["height"], table["width"], strict=True):
        height, width = working_size(size, scale)
        if max(height, width) > spec.tile:
            height, width = min(height, side), min(width, side)
        sizes.add((-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE))
    return sizes.pop() if len(sizes) == 1 else None


def _chain(job: _Job) -> list[Any]:
    """Return what was tuned, or what the recipe states where `tune` has not run yet."""
    check_fresh(job.folder.root, "tune")
    if job.folder.tuned.is_file():
        return list(read_json(job.folder.tuned)["chain"])
    return [step.model_dump(mode="json") for step in job.recipe.postprocess.chain or ()]


def _manifest(job: _Job, shape: Shape) -> Manifest:
    first = job.trained[0]
    graphs = [
        GraphSpec(
            file=f"{stem}.{'xml' if job.form == 'openvino' else 'onnx'}",
            sha256={path.name: sha256(path) for path in sorted(job.part.glob(f"{stem}.*"))},
            fold=fold,
            checkpoint=one.path.relative_to(job.folder.root).as_posix(),
            checkpoint_sha256=sha256(one.path),
        )
        for stem, fold, one in zip(job.stems, job.folds, job.trained, strict=True)
    ]
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "maskwright": version("maskwright"),
        "versions": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "format": job.form,
        "precision": job.precision,
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
        "predict": job.recipe.predict.model_dump(mode="json"),
        "chain": _chain(job),
        "categories": [
            {"id": c.id, "name": c.name, "color": c.color, "isthing": c.isthing} for c in first.categories.items
        ],
        "left_out": sorted(first.categories.left_out),
        "licence": _licence(job.recipe),
    }
    return Manifest.model_validate(tree)


def _checked(job: _Job, manifest: Manifest, images: int) -> Manifest:
    """Return the manifest with what the runner came to."""
    runner = Runner(job.part)
    check: CheckSpec | None = None
    loss: LossSpec | None = None
    if images > 0:
        files = [(str(row), job.index.path(job.index.images[row])) for row in spread(images, len(job.index))]
        check = compare(runner, job.trained, files, CLOSE if manifest.precision == "fp32" else None)
        if manifest.precision != "fp32":
            loss = measure_loss(job.folder, job.index, job.recipe, job.trained, job.folds, job.part)
    return manifest.model_copy(update={"check": check, "loss": loss, "runs_in": runner.runs_in})


def _index(folder: RunFolder, recipe: Recipe) -> Index:
    """Return the images of the folds and the held-out part, as the decisions leave them."""
    whole, folds = decided_index(folder, recipe.data), read_folds(folder.folds)
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

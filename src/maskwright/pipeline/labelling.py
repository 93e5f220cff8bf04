"""Pseudo-labels as a stage: what the networks of a fold say of its pool, what of it is kept, and the ledger of both."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, write_json, write_table
from maskwright.audit.replay import CLEARED
from maskwright.data.formats.files import name_of
from maskwright.data.index import Index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.pipeline import labellers, stages
from maskwright.pipeline.folds import copies_of, pool_of
from maskwright.predict import to_full_size
from maskwright.predict.files import write_label
from maskwright.processes import cores
from maskwright.progress import track
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import PredictSpec
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.selftrain import (
    LEDGER_SCHEMA,
    PoolCounts,
    PrecisionTable,
    blocked_images,
    class_thresholds,
    keep_pixels,
    ledger_rows,
    most_reliable,
    pool_images,
    suspect_regions,
)
from maskwright.selftrain.selection import needs_pool
from maskwright.types import IGNORE

_CLEARED = pl.col("decision").fill_null("").str.starts_with(CLEARED)


@dataclass(frozen=True)
class _Job:
    """One labelling: which networks, which images, where the labels go.

    Attributes:
        folder: of the run.
        whole: its index.
        method: of the recipe.
        number: of the round.
        fold: whose training the labels are for.
        again: whether it is the second pass of a round.
    """

    folder: RunFolder
    whole: Index
    method: PseudoLabelsSpec
    number: int
    fold: int
    again: bool

    @property
    def place(self) -> Path:
        """Folder of the labels of this fold."""
        return self.folder.pseudo(self.number, self.fold)

    def named(self, name: str) -> Path:
        """Return a file or folder of this pass."""
        path = self.place / name
        return path.with_name(f"{path.stem}-2{path.suffix}") if self.again else path

    @property
    def soft(self) -> ProbabilityStore:
        """Probability maps of the pool."""
        return ProbabilityStore(self.named("soft"), quantised=self.method.soft_type == "uint8")

    @classmethod
    def of(cls, root: Path, spec: dict[str, Any], *, again: bool) -> _Job:
        """Return the job that a task's spec describes."""
        folder, method = RunFolder(root), SelftrainSpec.model_validate(spec["selftrain"]).method
        assert isinstance(method, PseudoLabelsSpec)
        return cls(folder, stages.decided(folder, spec), method, spec["round"], spec["fold"], again)


def pool_of_fold(folder: RunFolder, whole: Index, spec: SelftrainSpec, fold: int) -> list[str]:
    """Return the images without masks that a fold's training may learn from."""
    folds = read_folds(folder.folds)
    pool = pool_of(whole.table, folds)["image"].to_list()
    left_out = {*read_json(folder.audit / "unusable.json")}
    if spec.aliens == "drop":
        left_out |= strangers(folder)
    return pool_images(pool, blocked(folder, whole, folds, fold), left_out)


def blocked(folder: RunFolder, whole: Index, folds: pl.DataFrame, fold: int) -> set[str]:
    """Return what a network that labels for a fold must not have seen: see `blocked_images`."""
    return blocked_images(whole.table, folds, copies_of(folder), fold)


def strangers(folder: RunFolder) -> set[str]:
    """Return the images that the audit finds unlike all others, and no person says belong to them."""
    return set(_strange(folder).filter(~_CLEARED)["image"])


def cleared_state(root: Path) -> dict[str, list[str]]:
    """Return which strangers people say belong to the others, for telling whether labels were made without them."""
    folder = RunFolder(root)
    cleared = sorted(set(_strange(folder).filter(_CLEARED)["image"])) if folder.findings.is_file() else []
    return {"cleared": cleared} if cleared else {}


def _strange(folder: RunFolder) -> pl.DataFrame:
    return read_table(folder.findings).filter(pl.col("kind").str.starts_with("outlier_"))


def label(root: Path, spec: dict[str, Any]) -> None:
    """Label the pool of a fold by the networks of the round before: round-R/pseudo/fold-K/labels, ledger.parquet."""
    job = _Job.of(root, spec, again=False)
    selftrain = SelftrainSpec.model_validate(spec["selftrain"])
    images = pool_of_fold(job.folder, job.whole, selftrain, job.fold)
    kind = PredictSpec.model_validate(spec["predict"]).checkpoint
    training = job.folder.fold(job.fold, job.number - 1)
    labellers.check_honest(job.folder, job.whole, job.fold, job.number - 1)
    rows = _labelled(job, spec, images, job.folder.kept_in(training, kind), ranked=True)
    write_table(job.place / "ledger.parquet", pl.DataFrame(rows, schema=LEDGER_SCHEMA))


def relabel(root: Path, spec: dict[str, Any]) -> None:
    """Label the images that were not relied on by the networks trained on those that were: labels-2, ledger-2.parquet.

    That ledger is the one of all images.
    """
    job = _Job.of(root, spec, again=True)
    known = read_table(job.place / "ledger.parquet")
    first = known.filter(pl.col("used"))
    rest = known.join(first, on="image", how="anti")["image"].unique(maintain_order=True).to_list()
    kind = PredictSpec.model_validate(spec["predict"]).checkpoint
    paths = job.folder.kept_in(job.folder.root / f"round-{job.number}" / "first" / f"fold-{job.fold}", kind)
    rows = _labelled(job, spec, rest, paths, ranked=False)
    write_table(job.place / "ledger-2.parquet", pl.concat([first, pl.DataFrame(rows, schema=LEDGER_SCHEMA)]))


def precision(root: Path, spec: dict[str, Any]) -> None:
    """Count how often out-of-fold predictions of the round before are right: round-R/pseudo/precision.json."""
    folder, number = RunFolder(root), spec["round"]
    whole = stages.decided(folder, spec)
    folds = scored(whole, read_folds(folder.folds).filter(pl.col("fold") >= 0))
    images, store = whole.only(folds["image"].to_list()), ProbabilityStore(folder.store("oof", number - 1))
    table = PrecisionTable.of(len(whole.categories))
    for row, image in enumerate(track(images.images, "estimate precision", len(images))):
        truth = images.read_label(row)
        assert truth is not None
        table.add(to_full_size(store.read(name_of(image)), (truth.shape[0], truth.shape[1])), truth)
    write_json(folder.root / f"round-{number}" / "pseudo" / "precision.json", vars(table))


def restore_soft(root: Path, spec: dict[str, Any], images: Sequence[str]) -> None:
    """Predict the maps of soft labels anew that were cleaned away since."""
    method = SelftrainSpec.model_validate(spec["selftrain"]).method
    assert isinstance(method, PseudoLabelsSpec)
    for again in (False, True) if method.relabels else (False,):
        job = _Job.of(root, spec, again=again)
        wanted = [i for i in images if job.named("labels").joinpath(f"{name_of(i)}.png").is_file()]
        kind = PredictSpec.model_validate(spec["predict"]).checkpoint
        first = job.folder.root / f"round-{job.number}" / "first" / f"fold-{job.fold}"
        training = first if again else job.folder.fold(job.fold, job.number - 1)
        _predict_soft(job, spec, wanted, job.folder.kept_in(training, kind), ranked=not again)


def clean_soft(folder: RunFolder, number: int) -> None:
    """Remove the probability maps of a round's pool, and the scores that images were ranked by."""
    for place in (folder.root / f"round-{number}" / "pseudo").glob("fold-*/s[oc]*"):
        shutil.rmtree(place)


def _labelled(
    job: _Job, spec: dict[str, Any], images: list[str], paths: Sequence[Path], *, ranked: bool
) -> list[dict[str, Any]]:
    """Write the label files of the images that are relied on; return the ledger's rows of all."""
    job.named("labels").mkdir(parents=True, exist_ok=True)
    made_by = _predict_soft(job, spec, images, paths, ranked=ranked)
    chosen = set(images)
    scores = dict[str, float]()
    if ranked and job.method.images.kind != "all":
        scores = {image: read_json(_score_file(job, image))["score"] for image in images}
        chosen = set(most_reliable(scores, job.method.images.share))
    counts = PoolCounts.of(len(job.whole.categories))
    if needs_pool(job.method.pixels):
        for image in track(images, f"count the pool, fold {job.fold}", len(images)):
            counts.add(job.soft.read(name_of(image)))
    thresholds = class_thresholds(job.method.pixels, counts)
    table = read_json(job.folder.root / f"round-{job.number}" / "pseudo" / "precision.json")
    known = PrecisionTable(np.array(table["right"], np.int64), np.array(table["all"], np.int64))
    rows = list[dict[str, Any]]()
    shared = {"round": job.number, "fold": job.fold, "pass": 2 if job.again else 1, "made_by": made_by}
    for image in track(images, f"choose labels, fold {job.fold}", len(images)):
        about = shared | {"image": image, "score": scores.get(image), "used": image in chosen}
        rows += _label_one(job, image, thresholds, known, about)
    return rows


def _label_one(
    job: _Job, image: str, thresholds: Any, table: PrecisionTable, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Write the label file of an image, unless nothing of it is learned from; return its rows."""
    row = job.whole.only([image]).table.row(0, named=True)
    probabilities = to_full_size(job.soft.read(name_of(image)), (row["height"], row["width"]))
    kept, confidence, limits = keep_pixels(job.method.pixels, thresholds, probabilities)
    said = probabilities.argmax(0).astype(np.uint8)
    kept[suspect_regions(said, confidence, job.method.regions)] = IGNORE
    about["used"] = bool(about["used"] and (kept != IGNORE).any())
    if about["used"]:
        write_label(job.named("labels") / f"{name_of(image)}.png", kept, job.whole.categories)
    return ledger_rows(
        names=job.whole.categories.names,
        label=said,
        kept=kept,
        confidence=confidence,
        thresholds=limits,
        table=table,
        shared=about,
    )


def _score_file(job: _Job, image: str) -> Path:
    return job.named("scores") / f"{name_of(image)}.json"


def _predict_soft(
    job: _Job, spec: dict[str, Any], images: list[str], paths: Sequence[Path], *, ranked: bool
) -> list[str]:
    """Predict what isn't there into the store of the pool; return which checkpoints label."""
    wanted = PredictSpec.model_validate(spec["predict"])
    recipe = load_recipe(job.folder.recipe)
    kind = job.method.images.kind if ranked else "all"
    speaker = labellers.Labellers.of(
        job.folder, job.whole, wanted, paths, kind, job.method.fused_with, job.fold, recipe.train.accelerator
    )
    store = job.soft
    missing = [image for image in images if name_of(image) not in store]
    if missing:
        store.folder.mkdir(parents=True, exist_ok=True)
        store.check_room(stages.working_shapes(recipe, job.whole.only(missing)))
        todo = [(name_of(image), job.whole.path(image)) for image in missing]
        seconds = _write_all(job, store, track(speaker.predict(todo), f"label fold {job.fold}", len(todo)))
        write_json(job.named("seconds.json"), seconds | {"images": len(todo)})
    return speaker.made_by


def _write_all(job: _Job, store: ProbabilityStore, found: Iterator[labellers.Said]) -> dict[str, float]:
    """Write maps and scores while the networks go on; return how long was waited for which."""
    pending, network, started, writers = deque[Future[None]](), 0.0, time.perf_counter(), max(2, cores() // 2)

    def write(said: labellers.Said) -> None:
        if said.score == said.score:
            write_json(job.named("scores") / f"{said.name}.json", {"score": said.score})
        store.write(said.name, said.probabilities)

    with ThreadPoolExecutor(writers, "labels") as pool:
        asked = time.perf_counter()
        for said in found:
            network += time.perf_counter() - asked
            pending.append(pool.submit(write, said))
            if len(pending) > 2 * writers:  # so many maps are held, however large the pool
                pending.popleft().result()
            asked = time.perf_counter()
        for future in pending:
            future.result()
    return {"networks": network, "all": time.perf_counter() - started}

"""Pseudo-labels as a stage: what the networks of a fold say of its pool, what of it is kept, and the ledger of both."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import START, RunFolder, read_folds, read_json, write_json
from maskwright.data.formats.files import name_of
from maskwright.data.index import Index, scored
from maskwright.data.intensity import resize_label
from maskwright.data.store import ProbabilityStore
from maskwright.data.written import write_array
from maskwright.instances.features import FEATURES
from maskwright.instances.objectness import Objectness
from maskwright.instances.pseudo import ObjectLabels, object_labels
from maskwright.instances.store import read_features, read_objects, write_objects
from maskwright.labels import relabel_consecutive
from maskwright.pipeline import labellers, stages
from maskwright.pipeline.honest import check_honest, seen_by
from maskwright.pipeline.objectness import JUDGES, Judges, fit_judges
from maskwright.pipeline.pool import pool_of_fold
from maskwright.pipeline.teams import Asked, networks_asked
from maskwright.pipeline.telling import Way
from maskwright.pipeline.truths import true_label, true_objects
from maskwright.predict import to_full_size
from maskwright.predict.files import write_label
from maskwright.processes import in_order
from maskwright.progress import track
from maskwright.recipe import load_recipe
from maskwright.recipe.executor import at_a_time
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import PredictSpec
from maskwright.recipe.selftrain import AllImagesSpec, PseudoLabelsSpec, SelftrainSpec
from maskwright.selftrain import (
    PoolCounts,
    PrecisionTable,
    class_thresholds,
    highest,
    keep_pixels,
    ledger_rows,
    suspect_regions,
)
from maskwright.selftrain.ledger import write_ledger
from maskwright.selftrain.selection import needs_pool
from maskwright.types import IGNORE, LabelMap


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
        told: how objects are told apart; None: they aren't.
    """

    folder: RunFolder
    whole: Index
    method: PseudoLabelsSpec
    number: int
    fold: int
    again: bool
    told: InstancesSpec | None

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
        told = InstancesSpec.model_validate(spec["instances"]) if "instances" in spec else None
        told = told and told.at(1 - 1 / spec["round"])
        return cls(folder, stages.decided(folder, spec), method, spec["round"], spec["fold"], again, told)


def label(root: Path, spec: dict[str, Any]) -> None:
    """Label the pool of a fold by the networks of the round before: round-R/pseudo/fold-K/labels, ledger.parquet."""
    job = _Job.of(root, spec, again=False)
    selftrain = SelftrainSpec.model_validate(spec["selftrain"])
    images = pool_of_fold(job.folder, job.whole, selftrain, job.fold)
    kind = PredictSpec.model_validate(spec["predict"]).checkpoint
    training = job.folder.fold(job.fold, job.number - 1)
    check_honest(job.folder, job.whole, job.fold, seen_by(job.folder, job.number - 1, job.fold))
    paths = job.folder.kept_in(training, kind) if job.told is None else _asked(job, kind).paths
    rows = _labelled(job, spec, images, paths, ranked=True)
    write_ledger(job.place / "ledger.parquet", rows)
    _clean(job)


def relabel(root: Path, spec: dict[str, Any]) -> None:
    """Label the images that were not relied on by the networks trained on those that were: labels-2, ledger-2.parquet.

    That ledger is the one of all images.
    """
    job = _Job.of(root, spec, again=True)
    known = pl.scan_parquet(job.place / "ledger.parquet")
    rest = known.filter(~pl.col("used")).select("image").unique(maintain_order=True).collect()["image"].to_list()
    kind = PredictSpec.model_validate(spec["predict"]).checkpoint
    first = job.folder.root / f"round-{job.number}" / "first" / f"fold-{job.fold}"
    paths = job.folder.kept_in(first, kind)
    if (note := first / START).is_file():  # none in earlier versions' runs
        check_honest(job.folder, job.whole, job.fold, read_json(note)["seen"])
    rows = _labelled(job, spec, rest, paths, ranked=False)
    write_ledger(job.place / "ledger-2.parquet", rows, before=known.filter(pl.col("used")))
    _clean(job)


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


def judge_objects(root: Path, spec: dict[str, Any]) -> None:
    """Fit what tells true objects from false ones on those of the round before: round-R/pseudo/objectness.json.

    What a fold learns from is chosen by a classifier that has seen none of its truth.
    """
    folder, number = RunFolder(root), spec["round"]
    found = fit_judges(folder, stages.decided(folder, spec), number - 1)
    write_json(folder.root / f"round-{number}" / "pseudo" / JUDGES, found.to_plain())


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
) -> Iterator[list[dict[str, Any]]]:
    """Write the label files of the images that are relied on; yield the ledger's rows of each, as they are asked for.

    What is held meanwhile is a few maps, however large the pool.
    """
    started = time.perf_counter()
    for kind in ("labels",) if job.told is None else ("labels", "objects"):  # also where nothing can be relied on
        job.named(kind).mkdir(parents=True, exist_ok=True)
    made_by, waited = _predict_soft(job, spec, images, paths, ranked=ranked)
    scores, chosen = dict[str, float](), set(images)
    if ranked and job.method.images.kind != "all":
        read = in_order(lambda image: float(read_json(_score_file(job, image))["score"]), images)
        scores = dict(zip(images, read, strict=True))
        chosen = set(highest(scores, job.method.images.share))
    counts = PoolCounts.of(len(job.whole.categories))
    if needs_pool(job.method.pixels):
        maps = in_order(lambda image: job.soft.read(name_of(image)), images)
        for found in track(maps, f"count the pool, fold {job.fold}", len(images)):
            counts.add(found)
    thresholds = class_thresholds(job.method.pixels, counts)
    table = read_json(job.folder.root / f"round-{job.number}" / "pseudo" / "precision.json")
    known = PrecisionTable(np.array(table["right"], np.int64), np.array(table["all"], np.int64))
    judge = _judge(job)
    sizes = job.whole.table.select("image", "height", "width")
    size_of = {image: (height, width) for image, height, width in sizes.iter_rows()}
    shared = {"round": job.number, "fold": job.fold, "pass": 2 if job.again else 1, "made_by": made_by}

    def choose(image: str) -> list[dict[str, Any]]:
        about = shared | {"image": image, "score": scores.get(image), "used": image in chosen}
        return _label_one(job, size_of[image], thresholds, known, about, judge)

    yield from track(in_order(choose, images), f"choose labels, fold {job.fold}", len(images))
    if waited is not None and waited["images"] == len(images):  # else this is the rest of what was cut short
        write_json(job.named("seconds.json"), waited | {"all": time.perf_counter() - started})


def _label_one(
    job: _Job,
    size: tuple[int, int],
    thresholds: Any,
    table: PrecisionTable,
    about: dict[str, Any],
    judge: Objectness | None,
) -> list[dict[str, Any]]:
    """Write the label file of an image of a size, unless nothing of it is learned from; return its rows."""
    name = name_of(about["image"])
    probabilities = to_full_size(job.soft.read(name), size)
    kept, confidence, limits = keep_pixels(job.method.pixels, thresholds, probabilities)
    said = probabilities.argmax(0).astype(np.uint8)
    kept[suspect_regions(said, confidence, job.method.regions)] = IGNORE
    objects = None if judge is None else _objects(job, about["image"], kept, said, judge)
    taught = kept if objects is None else objects.label
    about["used"] = bool(about["used"] and (taught != IGNORE).any())
    if about["used"]:
        write_label(job.named("labels") / f"{name}.png", taught, job.whole.categories)
    if about["used"] and objects is not None:
        path = job.named("objects") / name
        write_array(path.with_name(f"{path.name}.png"), relabel_consecutive(objects.ids))
    rows = ledger_rows(
        names=job.whole.categories.names,
        label=said,
        kept=kept if objects is None else objects.before,
        confidence=confidence,
        thresholds=limits,
        table=table,
        shared=about,
    )
    for key, counts in ({} if objects is None else objects.counts()).items():
        for row, count in zip(rows, counts.tolist(), strict=False):
            row[key] = count
    return rows


def _judge(job: _Job) -> Objectness | None:
    """Return who says which objects the fold learns from, None where objects aren't told apart."""
    if job.told is None:
        return None
    plain = read_json(job.folder.root / f"round-{job.number}" / "pseudo" / JUDGES)
    judges = Judges.from_plain(plain)
    assert judges is not None
    return judges.of(job.fold)


def _objects(job: _Job, image: str, kept: LabelMap, said: LabelMap, judge: Objectness) -> ObjectLabels:
    """Return what is learned from an image, by its objects."""
    assert job.told is not None
    name, wanted = name_of(image), job.method.objects
    features = read_features(job.soft, name)
    return object_labels(
        kept,
        true_label(job.whole, image) if wanted.guide == "true" else said,
        read_objects(job.soft, name),
        judge.predict(features),
        job.whole.categories.things,
        wanted,
        job.told,
        stability=features[:, FEATURES.index("stability")],
        voters=true_objects(job.whole, image) if wanted.votes == "true" else None,
    )


def _asked(job: _Job, kind: str) -> Asked:
    """Return the networks of the round before that label, where objects are told apart."""
    assert job.told is not None
    return networks_asked(job.folder, job.told, job.whole.categories, [job.fold], kind, job.number - 1)


def _way(job: _Job, kind: str) -> Way | None:
    """Return how objects are told apart, None where they aren't."""
    if job.told is None:
        return None
    wanted, images = job.method.objects, {name_of(image): image for image in job.whole.images}

    def guide(name: str, size: tuple[int, int]) -> LabelMap:
        return resize_label(true_label(job.whole, images[name]), size)

    asked = None if job.again else _asked(job, kind).things
    known = guide if wanted.guide == "true" else None
    return Way(job.told, stable=wanted.stable is not None, guide=known, asked=asked)


def _score_file(job: _Job, image: str) -> Path:
    return job.named("scores") / f"{name_of(image)}.json"


def _predict_soft(
    job: _Job, spec: dict[str, Any], images: list[str], paths: Sequence[Path], *, ranked: bool
) -> tuple[list[str], dict[str, float] | None]:
    """Predict what isn't there into the store of the pool.

    Returns:
        Which checkpoints label, and how long they were waited for and for how many images; None for none.
    """
    method = job.method if ranked else job.method.model_copy(update={"images": AllImagesSpec()})
    predict = PredictSpec.model_validate(spec["predict"])
    speaker = labellers.Labellers.of(
        job.folder, job.whole, job.fold, paths, method, predict, _way(job, predict.checkpoint)
    )
    store = job.soft
    missing = [image for image in images if name_of(image) not in store]
    if not missing:
        return speaker.made_by, None
    store.folder.mkdir(parents=True, exist_ok=True)
    store.check_room(_shapes(job, missing, full_size=speaker.full_size))
    todo = [(name_of(image), job.whole.path(image)) for image in missing]
    networks = _write_all(job, store, track(speaker.predict(todo), f"label fold {job.fold}", len(todo)))
    return speaker.made_by, {"networks": networks, "images": len(todo)}


def _write_all(job: _Job, store: ProbabilityStore, found: Iterator[labellers.Said]) -> float:
    """Write maps and scores while the networks go on; return how many seconds these were waited for."""
    waited = 0.0

    def write(said: labellers.Said) -> None:
        if said.score == said.score:
            write_json(job.named("scores") / f"{said.name}.json", {"score": said.score})
        if said.told is not None and said.told.features is not None:
            write_objects(store, said.name, said.told.objects, said.told.features)
        store.write(said.name, said.probabilities)

    def timed() -> Iterator[labellers.Said]:
        nonlocal waited
        asked = time.perf_counter()
        for said in found:
            waited += time.perf_counter() - asked
            yield said
            asked = time.perf_counter()

    for _ in in_order(write, timed()):
        pass
    return waited


def _shapes(job: _Job, missing: list[str], *, full_size: bool) -> list[tuple[int, int, int]]:
    """Return the (C, h, w) of the maps that will lie on the disk at a time, beside those that are there already.

    Those of hard labels go when their fold has its labels; others stay until the round is adopted, those of all folds.
    """
    recipe, wanted = load_recipe(job.folder.recipe), list(missing)
    count, copies = recipe.split.folds, 1
    if _keeps(job):
        for fold in (k for k in range(count) if k != job.fold):
            other = replace(job, fold=fold)
            pool = pool_of_fold(job.folder, job.whole, recipe.selftrain, fold)
            wanted += [image for image in pool if name_of(image) not in other.soft]
    else:
        copies = at_a_time(recipe.executor, count)
    images = job.whole.only(wanted)
    if not full_size:
        return stages.working_shapes(recipe, images) * copies
    sizes = images.table.select("height", "width").iter_rows()
    return [(len(job.whole.categories), height, width) for height, width in sizes] * copies


def _keeps(job: _Job) -> bool:
    """Return whether the maps are needed when the labels are there; what is asked for may have changed since."""
    method = load_recipe(job.folder.recipe).selftrain.method
    return isinstance(method, PseudoLabelsSpec) and (method.keep_soft or method.labels == "soft")


def _clean(job: _Job) -> None:
    if not _keeps(job):
        for name in ("soft", "scores"):
            shutil.rmtree(job.named(name), ignore_errors=True)

"""A round as stages: trainings on labelled images and pool, out-of-fold predictions, and whether it pays."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import MADE, START, RunFolder, atomic, read_folds, read_json, write_json, write_table
from maskwright.data.formats.files import name_of
from maskwright.data.index import Index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate import Overlaps
from maskwright.instances.store import copy_objects
from maskwright.metrics import SUMMARIES, Counts, EmptyCases
from maskwright.pipeline import labelling, stages
from maskwright.pipeline.accepted import with_accepted
from maskwright.pipeline.honest import check_honest, seen_by
from maskwright.pipeline.pool import pool_of_fold
from maskwright.pipeline.teams import team_recipe, training_teams
from maskwright.predict import to_full_size
from maskwright.progress import track
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.predict import EvaluateSpec
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.selftrain import hard_table, highest, kept_apart, scaled_steps, split_steps, training_index
from maskwright.split import HELD_OUT

_TOGETHER = 256
"""Images that are scored at once, each with weights over all of these."""
_OTHER_DRAWS = 1_000_003
"""What the seed of a round's training is raised by for each round before it but the supervised one."""


def training_folder(number: int, fold: int, step: str, team: int = 0) -> str:
    """Return where a training of a round lies in the run folder.

    Args:
        number: of the round.
        fold: of the training.
        step: train; pretrain for what comes before it; first for that on the images that are relied on.
        team: which of a fold's networks for different things.
    """
    place = f"round-{number}" if step == "train" else f"round-{number}/{step}"
    return f"{place}/team-{team}/fold-{fold}" if team else f"{place}/fold-{fold}"


def train(root: Path, spec: dict[str, Any]) -> None:
    """Train one fold of a round: round-R/fold-K/, or what comes before it."""
    from maskwright.train.fit import train_fold
    from maskwright.train.memory import check_whole

    folder, fold, number, step = RunFolder(root), spec["fold"], spec["round"], spec["step"]
    recipe = team_recipe(load_recipe(folder.recipe), spec)
    wanted = SelftrainSpec.model_validate(spec["selftrain"])
    whole, folds = stages.decided(folder, spec), read_folds(folder.folds)
    apart = kept_apart(folder, folds)
    held = folds.filter((pl.col("fold") == fold) & ~pl.col("image").is_in(list(apart)))
    validation = scored(whole, held)["image"].to_list()
    place = root / training_folder(number, fold, step, spec.get("team", 0))
    check_whole(place / "last.ckpt")
    images, pool = _images(folder, whole, folds, spec, wanted)
    start = _start(folder, spec, wanted)
    place.mkdir(parents=True, exist_ok=True)
    seen = {*images.images, *(() if pool is None else pool.images), *_seen_before(folder, spec, wanted)}
    check_honest(folder, whole, fold, seen)
    note = {"checkpoint": None if start is None else str(start), "checked": True, "leaked": [], "seen": sorted(seen)}
    write_json(place / START, note)
    held_back, own = whole.only(validation) if validation else None, round_recipe(recipe, wanted, spec, start)
    train_fold(place, images, held_back, own, fold=fold, start=start, pool=pool)


def find_hard(root: Path, spec: dict[str, Any]) -> None:
    """Rank labelled images by their out-of-fold score: round-1/hard.csv."""
    folder, wanted = RunFolder(root), SelftrainSpec.model_validate(spec["selftrain"])
    assert wanted.hard is not None
    whole = stages.decided(folder, spec)
    rows, counts = counts_of(folder, whole, 0)
    cases = EmptyCases.of(EvaluateSpec.model_validate(spec["evaluate"]))
    each = _one_by_one(counts, spec["metric"], whole.categories.evaluated, cases)
    known = {image: -value for image, value in zip(rows["image"], each, strict=True) if value == value}
    lowest = highest(known, wanted.hard.share)
    table = rows.filter(pl.col("image").is_in(lowest)).with_columns(
        score=pl.col("image").replace_strict({i: -known[i] for i in lowest}, return_dtype=pl.Float64),
        moved=pl.lit(wanted.hard.how == "move"),
    )
    write_table(root / "round-1" / "hard.csv", table.sort("score", "image"))


def predict_oof(root: Path, spec: dict[str, Any]) -> None:
    """Predict each fold by the round's own network: round-R/oof/. What was moved has the prediction of round 0."""
    folder = RunFolder(root)
    before, now = (ProbabilityStore(folder.store("oof", number)) for number in (0, spec["round"]))
    now.folder.mkdir(parents=True, exist_ok=True)
    moved = sorted(kept_apart(folder, read_folds(folder.folds)))
    copy_objects(before, now, [name_of(image) for image in moved])
    for image in moved:
        name = name_of(image)
        if name in before and name not in now:
            with atomic(now.path(name)) as temporary:
                shutil.copyfile(before.path(name), temporary)
    stages.predict(root, spec)


def last_ledger(folder: RunFolder, number: int, fold: int, method: PseudoLabelsSpec) -> Path:
    """Return the ledger of what a fold of a round learns from in the end."""
    return folder.pseudo(number, fold) / ("ledger-2.parquet" if method.relabels else "ledger.parquet")


def counts_of(folder: RunFolder, whole: Index, number: int, *, part: str = "oof") -> tuple[pl.DataFrame, Counts]:
    """Return the scored rows of folds.csv, and (images, C) counts of the most probable labels of a round.

    Args:
        folder: of the run.
        whole: its index.
        number: of the round.
        part: oof or holdout.
    """
    held = (pl.col("fold") == HELD_OUT) == (part == "holdout")
    rows = scored(whole, read_folds(folder.folds).filter(held))
    images, store = whole.only(rows["image"].to_list()), ProbabilityStore(folder.store(part, number))
    overlaps = Overlaps(whole.categories)
    for row, image in enumerate(track(images.images, f"score round {number}", len(images))):
        truth = images.read_label(row)
        assert truth is not None
        found = to_full_size(store.read(name_of(image)), (truth.shape[0], truth.shape[1]))
        overlaps.add(image, truth, found.argmax(0).astype(np.uint8))
    return rows, overlaps.stacked()


def _one_by_one(counts: Counts, metric: str, evaluated: Sequence[int], cases: EmptyCases) -> list[float]:
    """Return the score of each image alone."""
    found = list[float]()
    for start in range(0, len(counts.tp), _TOGETHER):
        some = Counts(*(values[start : start + _TOGETHER] for values in (counts.tp, counts.fp, counts.fn)))
        found += SUMMARIES[metric].function(some, evaluated, np.eye(len(some.tp)), cases).tolist()
    return found


def _images(
    folder: RunFolder, whole: Index, folds: pl.DataFrame, spec: dict[str, Any], wanted: SelftrainSpec
) -> tuple[Index, Index | None]:
    """Return what a training learns from with labels, and without."""
    fold, step = spec["fold"], spec["step"]
    hard = hard_table(folder)
    moved = hard.filter(pl.col("moved") & (pl.col("fold") == fold))["image"].to_list()
    inside = folds.filter((pl.col("fold") != HELD_OUT) & (pl.col("fold") != fold))["image"].to_list()
    often = hard.filter(pl.col("fold") != fold)["image"].to_list()
    whole, accepted = with_accepted(folder, whole, fold)
    inside += accepted
    times = wanted.hard.times if wanted.hard is not None and wanted.hard.how == "oversample" else 1.0
    if not isinstance(wanted.method, PseudoLabelsSpec) or wanted.protocol == "labelled_only":
        alone = wanted.protocol == "labelled_only"
        pool = None if alone else _without_masks(whole.only(pool_of_fold(folder, whole, wanted, fold)))
        return training_index(whole, [*inside, *moved], {}, often=often, times=times), pool
    number = spec["round"]
    first = folder.pseudo(number, fold) / "ledger.parquet"
    ledger = first if step == "first" else last_ledger(folder, number, fold, wanted.method)
    labels = label_files(folder, number, fold, ledger)
    made_alone = labels and (step == "pretrain" or wanted.method.labelled_share == 0)
    real = [] if made_alone else [*inside, *moved]
    if wanted.protocol == "pretrain_finetune" and step == "train":
        labels, real = {}, [*inside, *moved]
    soft = soft_files(folder, spec, labels) if wanted.method.labels == "soft" else None
    share = wanted.method.labelled_share or None
    objects = object_files(folder, labels) if "instances" in spec else None
    return training_index(whole, real, labels, share=share, often=often, times=times, soft=soft, objects=objects), None


def _without_masks(pool: Index) -> Index:
    """Return a pool that nobody can look up masks in: with `split.labelled` its images have some."""
    nothing = pl.lit(None, pl.String)
    return replace(pool, table=pool.table.with_columns(mask=nothing, instances=nothing))


def label_files(folder: RunFolder, number: int, fold: int, ledger: Path) -> dict[str, str]:
    """Return image → label file, as the index reads it, of what a fold of a round learns from by a ledger."""
    place = folder.pseudo(number, fold)
    rows = pl.scan_parquet(ledger).filter(pl.col("used")).select("image", "pass")
    used = rows.unique("image", maintain_order=True).collect()
    base = f"{MADE}{place.relative_to(folder.root).as_posix()}"
    folders = {1: "labels", 2: "labels-2"}
    return {image: f"{base}/{folders[number]}/{name_of(image)}.png" for image, number in used.iter_rows()}


def object_files(folder: RunFolder, labels: dict[str, str]) -> dict[str, str]:
    """Return image → file with the objects of a label file, beside it in objects/ or objects-2/."""
    found = {image: label.replace("/labels", "/objects", 1) for image, label in labels.items()}
    there = {image: (folder.root / file.removeprefix(MADE)).is_file() for image, file in found.items()}
    return {image: file if there[image] else f"{file.removesuffix('.png')}.tif" for image, file in found.items()}


def soft_files(folder: RunFolder, spec: dict[str, Any], labels: dict[str, str]) -> dict[str, str]:
    """Return image → file of its probabilities; what was cleaned away is predicted anew."""
    place = folder.pseudo(spec["round"], spec["fold"])
    recipe = load_recipe(folder.recipe)
    again = spec | recipe.model_dump(mode="json", include={"data", "split", "predict"})
    labelling.restore_soft(folder.root, again, list(labels))
    second = f"{MADE}{place.relative_to(folder.root).as_posix()}/labels-2/"
    kinds = {image: "soft-2" if label.startswith(second) else "soft" for image, label in labels.items()}
    return {image: str(place / kind / f"{name_of(image)}.npz") for image, kind in kinds.items()}


def _start(folder: RunFolder, spec: dict[str, Any], wanted: SelftrainSpec) -> Path | None:
    """Return the checkpoint that a training starts from."""
    if spec["step"] == "train" and wanted.protocol.startswith("pretrain"):
        return folder.root / training_folder(spec["round"], spec["fold"], "pretrain") / "last.ckpt"
    if wanted.goes_on:
        team, before = spec.get("team", 0), spec["round"] - 1
        several = len(training_teams(load_recipe(folder.recipe), before))  # the first round may have had one network
        return folder.fold(spec["fold"], before, team if team < several else 0) / "last.ckpt"
    note = folder.fold(spec["fold"], 0) / START
    return Path(read_json(note)["checkpoint"]) if note.is_file() else None


def _seen_before(folder: RunFolder, spec: dict[str, Any], wanted: SelftrainSpec) -> set[str]:
    """Return what the networks that this training starts from have seen."""
    note = folder.fold(spec["fold"], 0) / START
    known = seen_by(folder, 0, spec["fold"]) if note.is_file() else set()
    if wanted.goes_on:
        known |= seen_by(folder, spec["round"] - 1, spec["fold"])
    if spec["step"] == "train":
        before = folder.root / training_folder(spec["round"], spec["fold"], "pretrain") / START
        known |= set(read_json(before)["seen"]) if before.is_file() else set()
    return known


def round_recipe(recipe: Recipe, wanted: SelftrainSpec, spec: dict[str, Any], start: Path | None) -> Recipe:
    """Return the recipe of a training: the loss of rounds, its share of the steps, and a seed of its own.

    The first round draws as the supervised training does, so that what differs between both is the pool; each further
    one draws other crops, and other images of a pool that is larger than what a round sees.
    """
    train, step = recipe.train, spec["step"]
    assert train.steps is not None and train.validate_every is not None
    whole, between = scaled_steps(train.steps, train.validate_every, wanted.length)
    train = train.model_copy(update={"steps": whole, "validate_every": between})
    if wanted.protocol.startswith("pretrain") and step in ("pretrain", "train"):
        first, rest = split_steps(whole, between, wanted.pretraining)
        steps, every = first if step == "pretrain" else rest
        train = train.model_copy(update={"steps": steps, "validate_every": every})
    train = train.model_copy(update={"start": None if start is None else str(start)})
    loss = wanted.method.loss if isinstance(wanted.method, PseudoLabelsSpec) else None
    seed = recipe.seed + (spec["round"] - 1) * _OTHER_DRAWS
    assert train.steps is not None
    partner = min(recipe.instances.partner_every, train.steps)  # what is shipped moves by the end of a short training
    return recipe.model_copy(
        update={
            "train": train,
            "seed": seed,
            "loss": recipe.loss if loss is None else loss,
            "instances": recipe.instances.model_copy(update={"partner_every": partner}),
        }
    )

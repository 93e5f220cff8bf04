"""From probability stores to label files, overlays and scores, part by part."""

from __future__ import annotations

import shutil
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, write_json, write_table
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate import (
    CALIBRATION_SCHEMA,
    PER_IMAGE_SCHEMA,
    Overlaps,
    calibration_table,
    gains,
    per_image_table,
    summarise,
    summarise_by,
)
from maskwright.pipeline import stages
from maskwright.pipeline.embedding_pictures import draw_embeddings
from maskwright.pipeline.folds import pool_of
from maskwright.pipeline.objects import ToldApart
from maskwright.pipeline.paths import OF_OBJECTS
from maskwright.pipeline.teams import training_teams
from maskwright.postprocess import apply_chain
from maskwright.predict import to_full_size
from maskwright.predict.files import write_label, write_overlay
from maskwright.progress import track
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import EvaluateSpec, PostprocessStep, PredictSpec
from maskwright.split import HELD_OUT
from maskwright.types import LabelMap, Probabilities

_MADE_BY = {
    "oof": "Each image was predicted by the one network that never saw its fold.",
    "holdout": "Images that no training saw, predicted by the mean of all folds' networks: what `predict` ships.",
}
_MADE_BY_SEVERAL = "Each image was predicted by the networks for different things that never saw its fold."
_MEMBERS = "Images that no training saw, predicted by one fold's network alone."
_MEMBERS_LABELS = " Their categories alone: objects are told apart by all networks together."
_GAIN = "What all folds' networks together score more than this one alone, on the same images, paired."
_DIVIDING = ("domain", "part", "label_source")
"""Columns of the index by whose values images are scored, too, where there are several."""
_ADOPTED = (
    " Each fold's post-processing was chosen on the other folds; that there is any, by its gain on all of them: a "
    "little optimistic."
)
_PARTIAL = (
    " Objects are missing from the maps (data.drawn): pixels of no object don't count, so what is found too much goes "
    "unseen."
)
_SELECTED = " Each network's checkpoints were selected on the fold that is scored here: optimistic."


def score_run(
    folder: RunFolder,
    whole: Index,
    parts: list[str],
    evaluate: EvaluateSpec,
    predict: PredictSpec,
    *,
    seed: int,
    told: dict[str, Any] | None = None,
) -> None:
    """Write predictions/ afresh: labels, overlays, per_image.parquet, confusion.json, evaluation.json.

    The headline scores are those of the held-out part where there is one, else the out-of-fold ones. Where objects are
    told apart, as `told`, the sections data and instances, say, also instances/, panoptic/, panoptic.json, pictures/,
    embeddings/ and embeddings.parquet.
    """
    tuned = read_json(folder.tuned)
    folds = read_folds(folder.folds)
    for name in ("labels", "overlays", *(OF_OBJECTS if told else ())):
        shutil.rmtree(folder.predictions / name, ignore_errors=True)
        (folder.predictions / name).mkdir(parents=True)
    tables, bins = list[pl.DataFrame](), [pl.DataFrame(schema=CALIBRATION_SCHEMA)]
    confusion, scores = dict[str, Any](categories=whole.categories.names), dict[str, Any]()
    together: Overlaps | None = None
    objects = None if told is None else ToldApart(folder, whole, told, evaluate, tuned)
    divisions = _divisions(whole.table, folds)
    for part in ("oof", "holdout"):
        if part not in parts:
            continue
        rows = folds.filter((pl.col("fold") == HELD_OUT) == (part == "holdout"))
        overlaps = _score_part(folder, whole, part, rows, tuned, evaluate, predict, objects)
        note = _MADE_BY_SEVERAL if part == "oof" and told and _are_several(folder) else _MADE_BY[part]
        note += _SELECTED if part == "oof" and predict.checkpoint != "last" else ""
        note += _ADOPTED if part == "oof" and tuned["fold_chains"] else ""
        note += _note_of_round(folder, part) + (_PARTIAL if whole.partial else "")
        found = summarise(overlaps, evaluate, seed=seed, note=note)
        for column, values in divisions.items():
            found |= summarise_by(overlaps, column, values, evaluate, seed=seed, note=note)
        tables.append(per_image_table(overlaps, evaluate, part))
        bins.append(calibration_table(overlaps, part))
        confusion[part] = overlaps.table
        headline, together = dict(found), overlaps if part == "holdout" else None
        scores = {f"{part}/{name}": value for name, value in found.items()} | scores
    if members := [part for part in parts if stages.is_member(part)]:
        note = _MEMBERS + ("" if told is None else _MEMBERS_LABELS)
        _score_members(folder, whole, members, together, evaluate, seed=seed, note=note)
    if "pool" in parts:
        _write_pool(folder, whole, stages.read_chain(tuned["chain"]), predict, objects)
    if objects is not None:
        objects.finish()
        told_apart = [part for part in parts if not stages.is_member(part)] if predict.overlays else []
        draw_embeddings(folder, whole, told_apart, objects.spec)
    write_json(folder.predictions / "confusion.json", confusion)
    write_json(folder.predictions / "evaluation.json", (headline if tables else {}) | scores)
    write_table(
        folder.predictions / "per_image.parquet", pl.concat(tables) if tables else pl.DataFrame(schema=PER_IMAGE_SCHEMA)
    )
    write_table(folder.predictions / "calibration.parquet", pl.concat(bins))


def _are_several(folder: RunFolder) -> bool:
    """Return whether a fold has several networks for different things."""
    return len(training_teams(load_recipe(folder.recipe), folder.adopted_round)) > 1


def _note_of_round(folder: RunFolder, part: str) -> str:
    """Return what the scores of a round of self-training must be read with."""
    number = folder.adopted_round
    if not number:
        return ""
    note = f" The networks are those of round {number} of self-training"
    if part != "oof":
        return f"{note}."
    verdict = read_json(folder.adopted)["rounds"][number - 1]
    moved = verdict["scored_by_round_0"]
    apart = f"; {moved} images that were moved into their fold's training are scored by round 0" if moved else ""
    chosen = "" if verdict.get("rule") == "always" else ", adopted by these very scores: a little optimistic"
    return f"{note}{chosen}{apart}."


def _divisions(index: pl.DataFrame, folds: pl.DataFrame) -> dict[str, dict[str, str]]:
    """Return the columns of the index that divide the out-of-fold images or the held-out ones, and image → value."""
    inside = index.join(folds.drop_nulls("fold").select("image", held=pl.col("fold") == HELD_OUT), on="image")
    found = {}
    for column in _DIVIDING:
        known = inside.drop_nulls(column)
        if known.group_by("held").agg(pl.col(column).n_unique()).filter(pl.col(column) > 1).height:
            found[column] = dict(known.select("image", column).iter_rows())
    return found


def _score_part(
    folder: RunFolder,
    whole: Index,
    part: str,
    rows: pl.DataFrame,
    tuned: dict[str, Any],
    evaluate: EvaluateSpec,
    predict: PredictSpec,
    objects: ToldApart | None,
) -> Overlaps:
    images = whole.only(rows["image"].to_list())
    store, overlaps = ProbabilityStore(folder.store(part)), Overlaps(whole.categories, evaluate)
    shipped, counted = stages.read_chain(tuned["chain"]), set(scored(whole, rows)["image"])
    own = {int(fold): stages.read_chain(chain) for fold, chain in tuned["fold_chains"].items()}
    for row, (image, group, fold) in enumerate(track(rows.iter_rows(), f"score {part}", rows.height)):
        truth = images.read_label(row)
        assert truth is not None
        chain = own.get(fold, shipped)
        probabilities = to_full_size(store.read(name_of(image)), (truth.shape[0], truth.shape[1]))
        label = _cleaned(whole, image, probabilities, chain)
        if objects is not None:
            found = objects.panoptic(part, image, label, probabilities, fold)
            if image in counted:
                measured = objects.measured(row, images, truth, label, found, probabilities)
                overlaps.put(image, measured, group=group, fold=fold)
            if row < predict.overlays:
                objects.draw(image, found, (truth, images.read_instances(row)))
        elif image in counted:
            overlaps.add(image, truth, label, group=group, fold=fold, probabilities=probabilities)
        _write(folder, whole, image, label, overlay=row < predict.overlays)
    return overlaps


def _score_members(
    folder: RunFolder,
    whole: Index,
    parts: list[str],
    together: Overlaps | None,
    evaluate: EvaluateSpec,
    *,
    seed: int,
    note: str,
) -> None:
    """Write members.json: {part: {metric: value, low, high, n, definition}} of the networks one by one.

    `gain/METRIC` is what all of them together score more on the same images, paired.
    """
    chain = stages.read_chain(read_json(folder.tuned)["chain"])
    rows = read_folds(folder.folds).filter(pl.col("fold") == HELD_OUT)
    images, counted = whole.only(rows["image"].to_list()), set(scored(whole, rows)["image"])
    found = {}
    for part in parts:
        store, overlaps = ProbabilityStore(folder.store(part)), Overlaps(whole.categories)
        for row, (image, group, _) in enumerate(track(rows.iter_rows(), f"score {part}", rows.height)):
            if image in counted and (truth := images.read_label(row)) is not None:
                label = _label(store, whole, image, (truth.shape[0], truth.shape[1]), chain)
                overlaps.add(image, truth, label, group=group, fold=HELD_OUT)
        found[part] = summarise(overlaps, evaluate, seed=seed, note=note)
        if together is not None:
            gained = gains(together, overlaps, evaluate, seed=seed)
            found[part] |= {f"gain/{metric}": value | {"definition": _GAIN} for metric, value in gained.items()}
    write_json(folder.predictions / "members.json", found)


def _write_pool(
    folder: RunFolder,
    whole: Index,
    chain: tuple[PostprocessStep, ...],
    predict: PredictSpec,
    objects: ToldApart | None,
) -> None:
    store = ProbabilityStore(folder.store("pool"))
    table = pool_of(whole.table, read_folds(folder.folds))
    sizes = zip(table["image"], table["height"], table["width"], strict=True)
    for row, (image, height, width) in enumerate(track(sizes, "write pool", table.height)):
        if name_of(image) in store:
            probabilities = to_full_size(store.read(name_of(image)), (height, width))
            label = _cleaned(whole, image, probabilities, chain)
            if objects is not None:
                found = objects.panoptic("pool", image, label, probabilities)
                if row < predict.overlays:
                    objects.draw(image, found)
            _write(folder, whole, image, label, overlay=row < predict.overlays)


def _label(
    store: ProbabilityStore, whole: Index, image: str, size: tuple[int, int], chain: tuple[PostprocessStep, ...]
) -> LabelMap:
    return _cleaned(whole, image, to_full_size(store.read(name_of(image)), size), chain)


def _cleaned(whole: Index, image: str, probabilities: Probabilities, chain: tuple[PostprocessStep, ...]) -> LabelMap:
    return apply_chain(probabilities, chain, image=lambda: read_image(whole.path(image)))


def _write(folder: RunFolder, whole: Index, image: str, label: LabelMap, *, overlay: bool) -> None:
    name = name_of(image)
    write_label(folder.predictions / "labels" / f"{name}.png", label, whole.categories)
    if overlay:
        pixels = read_image(whole.path(image))
        write_overlay(folder.predictions / "overlays" / f"{name}.jpg", pixels, label, whole.categories)

"""Of several divisions of things among networks, the one that tells each thing best out of fold: round-R/mix.json."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, write_json
from maskwright.data.index import Index, scored
from maskwright.evaluate import Overlaps
from maskwright.metrics import PanopticCounts
from maskwright.pipeline import stages
from maskwright.pipeline.object_scores import AS_FOUND, best_of_things, measurer, segments_of
from maskwright.pipeline.objectness import JUDGES, Judges
from maskwright.pipeline.teams import CHOICE
from maskwright.progress import track
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import EvaluateSpec
from maskwright.recipe.workflow import Level
from maskwright.selftrain import kept_apart
from maskwright.split import HELD_OUT


def choose_divisions(root: Path, spec: dict[str, Any]) -> None:
    """Write which division each thing has its network from, for each fold and for new images: round-R/mix.json.

    For an image of a fold it is the one with the highest PQ of the thing over the images of the other folds, so that
    nothing is chosen by what it is scored on; for other images, over all folds. Of equal ones it is the first; where
    no true object of a thing is there, one that finds none is better than one that does.
    """
    folder, number = RunFolder(root), spec["round"]
    whole, folds = stages.decided(folder, spec), read_folds(folder.folds)
    rows = scored(whole, folds.filter(pl.col("fold") != HELD_OUT))
    rows = rows.filter(~pl.col("image").is_in(list(kept_apart(folder, folds))))
    counts = {level: _counts(folder, whole, rows, spec, level) for level in spec["levels"]}
    chosen = best_of_things(counts, rows["fold"].to_list(), whole.categories)
    others = {str(fold): chosen["all"] for fold in range(spec["split"]["folds"])}  # of whose images none is scored
    write_json(root / f"round-{number}" / CHOICE, chosen | {"folds": others | chosen["folds"]})


def clean(folder: RunFolder, number: int) -> None:
    """Remove what each division predicted: the choice and the predictions of a round are there."""
    for level in get_args(Level):
        place = folder.store(part_of(level), number)
        for made in place.iterdir() if place.is_dir() else ():
            shutil.rmtree(made) if made.is_dir() else made.unlink()


def _counts(folder: RunFolder, whole: Index, rows: pl.DataFrame, spec: dict[str, Any], level: Level) -> PanopticCounts:
    """Return (images, C) counts of segments as the networks of a division have them."""
    evaluate = EvaluateSpec.model_validate(spec["evaluate"] | {"families": ["panoptic"]})
    known = folder.root / f"round-{spec['round']}" / "pseudo" / JUDGES
    asks = spec["instances"]["score"] == "objectness" and known.is_file()
    judges = Judges.from_plain(read_json(known)) if asks else None
    images, recipe = whole.only(rows["image"].to_list()), load_recipe(folder.recipe)
    again = {key: spec[key] for key in ("data", "split", "instances", "round")}
    again |= recipe.model_dump(mode="json", include={"predict"}) | {"accelerator": recipe.train.accelerator}
    stages.predict(folder.root, again | {"part": part_of(level), "level": level})  # what was cleaned away since
    measured = measurer(folder, images, spec["round"], spec, evaluate, judges=judges, part=part_of(level))
    overlaps = Overlaps(whole.categories, evaluate)
    each = track(rows.select("image", "group", "fold").iter_rows(), f"score the networks of {level}", rows.height)
    for row, (image, group, fold) in enumerate(each):
        overlaps.put(image, measured(row, fold, (), AS_FOUND)[0], group=group, fold=fold)
    return segments_of(overlaps)


def part_of(level: Level) -> str:
    """Return what the out-of-fold part is called where the networks of one division predict it."""
    return f"oof-{level}"

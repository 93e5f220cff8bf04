"""Post-processing fitted on out-of-fold predictions, as a stage: tuned.json."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, read_folds, write_json
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.pipeline.object_chains import gain_in_pq
from maskwright.pipeline.object_scores import Chain
from maskwright.pipeline.object_ways import choose_ways
from maskwright.pipeline.objectness import Judges, fit_judges
from maskwright.predict import to_full_size
from maskwright.recipe.predict import EvaluateSpec, PostprocessSpec
from maskwright.split import HELD_OUT
from maskwright.tune import Read, ReadImage, chain_gain, tune_chain
from maskwright.types import LabelMap, Probabilities


def tune_run(folder: RunFolder, whole: Index, spec: dict[str, Any]) -> None:
    """Write tuned.json: the chain that ships, what it gains on folds that it wasn't fitted on, what was tried.

    The held-out part, where there is one, has no say: what the chain gains there is only told. Where objects are told
    apart, a chain that raises the score of pixels is only adopted if their PQ doesn't fall by it; where the score of an
    object is its objectness, there are also the classifiers that say it.
    """
    asked = spec.get("instances", {}).get("score") == "objectness"
    judges = fit_judges(folder, whole) if asked else None
    more = {} if judges is None else judges.to_plain()
    known, chains = _tuned(folder, whole, spec, judges)
    if "instances" in spec:
        rows = scored(whole, read_folds(folder.folds)).filter(pl.col("fold") != HELD_OUT)
        ways = choose_ways(folder, whole, rows, chains, spec, judges=judges)
        more |= {"ways": ways} if ways else {}
    write_json(folder.tuned, known | more)


def _tuned(
    folder: RunFolder, whole: Index, spec: dict[str, Any], judges: Judges | None
) -> tuple[dict[str, Any], dict[int, Chain]]:
    """Return what is known of the chain that ships, as plain data, and of each fold the chain that its images get."""
    wanted, evaluate = (
        PostprocessSpec.model_validate(spec["postprocess"]),
        EvaluateSpec.model_validate(spec["evaluate"]),
    )
    if (why := _nothing_to_tune(wanted, spec["split"]["folds"], partial=whole.partial)) is not None:
        chain = [step.model_dump(mode="json") for step in wanted.chain or ()]
        known = {"adopted": bool(chain), "chain": chain, "fold_chains": {}, "gain": None, "fitted_on": why}
        return known, dict.fromkeys(range(spec["split"]["folds"]), wanted.chain or ())
    folds = scored(whole, read_folds(folder.folds))
    inside, held = (folds.filter((pl.col("fold") == HELD_OUT) == there) for there in (False, True))
    images = whole.only(inside["image"].to_list())
    how: dict[str, Any] = {"metric": spec["metric"], "evaluate": evaluate, "seed": spec["seed"]}
    tuned = tune_chain(
        _reader(images, folder, "oof"),
        inside["fold"].to_list(),
        inside["group"].to_list(),
        (images.table["width"] * images.table["height"]).to_list(),
        wanted,
        images.categories,
        image=_image_reader(images),
        **how,
    )
    if held.height:
        images, groups = whole.only(held["image"].to_list()), held["group"].to_list()
        read, image = _reader(images, folder, "holdout"), _image_reader(images)
        found = chain_gain(tuned.best, read, groups, images.categories, image=image, **how)
        tuned = replace(tuned, held_out_gain=found)
    if tuned.adopted and "instances" in spec:
        found = gain_in_pq(folder, whole, inside, tuned.fold_chains, spec, judges=judges)
        tuned = replace(tuned if found["value"] >= 0 else tuned.not_adopted(), pq_gain=found)
    return tuned.to_plain(), dict(tuned.fold_chains) if tuned.adopted else {}


def _nothing_to_tune(wanted: PostprocessSpec, folds: int, *, partial: bool) -> str | None:
    if wanted.chain is not None:
        return "stated in the recipe"
    if partial:
        return "nothing: where objects are missing from the maps, nobody knows what is found too much"
    if folds == 1:
        return "nothing: one fold has no out-of-fold predictions"
    return None if wanted.search else "nothing: the recipe names no candidates"


def _reader(images: Index, folder: RunFolder, part: str) -> Read:
    """Return what reads the probabilities and the mask of a row."""
    store = ProbabilityStore(folder.store(part))

    def read(row: int) -> tuple[Probabilities, LabelMap]:
        truth = images.read_label(row)
        assert truth is not None
        return to_full_size(store.read(name_of(images.images[row])), (truth.shape[0], truth.shape[1])), truth

    return read


def _image_reader(images: Index) -> ReadImage:
    return lambda row: read_image(images.path(images.images[row]))

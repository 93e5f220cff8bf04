"""The tasks of `fuse` as functions of (folder, spec): members predicted, timed, weighted, scored."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, write_json, write_table
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, decided_index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError, problem
from maskwright.evaluate import Overlaps, per_image_table, summarise
from maskwright.pipeline.stages import read_chain, working_shapes
from maskwright.postprocess import apply_chain
from maskwright.predict import load_ensemble, predict_files, to_full_size
from maskwright.predict.ensembles import Member, load_member, predict_fused, seconds_an_image
from maskwright.progress import track
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import EvaluateSpec, PostprocessSpec, PredictSpec
from maskwright.selftrain import kept_apart
from maskwright.split import HELD_OUT
from maskwright.statistics import Interval
from maskwright.tune import Fitted, Mixture, Read, fit_fusion, tune_chain
from maskwright.types import Array, LabelMap, Probabilities

_TIMED = 4
"""Images that a member's time is taken on."""
_FITTED_ON = "out-of-fold predictions; each fold's images are scored with weights fitted on the others"
_TUNED_ON = (
    "out-of-fold predictions as they are fused; each fold's gain is measured with weights and a chain that were fitted "
    "on the others"
)
_SELECTED = " Networks' checkpoints were selected on the folds that are scored here: optimistic."
_MADE_BY = {
    "oof": "Each image was predicted by networks that never saw its fold, fused with weights fitted on other folds.",
    "holdout": "Images that no training saw, predicted by all networks that are fused: what `predict` ships.",
}


def predict(root: Path, spec: dict[str, Any]) -> None:
    """Predict the labelled images of a member out of fold: members/NAME/. What was moved is predicted by round 0."""
    member = spec["member"]
    run, wanted = RunFolder(Path(member["run"])), PredictSpec.model_validate(member["predict"])
    store, index, folds = ProbabilityStore(root / "members" / member["name"]), _index(run), read_folds(run.folds)
    store.folder.mkdir(parents=True, exist_ok=True)
    recipe, known = load_recipe(run.recipe), scored(index, folds.filter(pl.col("fold") >= 0))["image"].to_list()
    store.check_room(working_shapes(recipe, index.only([image for image in known if name_of(image) not in store])))
    apart = kept_apart(run, folds)  # the networks of rounds have seen them
    for fold, number in itertools.product(range(recipe.split.folds), (None, 0)):
        images = _rows(index, folds.filter(pl.col("fold") == fold))["image"]
        mine = [image for image in images if (image in apart) == (number == 0)]
        todo = [(name_of(image), index.path(image)) for image in mine if name_of(image) not in store]
        if not todo:
            continue
        trained = load_ensemble(run.checkpoints(fold, wanted.checkpoint, number))
        found = predict_files(trained, todo, wanted, accelerator=recipe.train.accelerator)
        for name, _, probabilities in track(found, f"predict {member['name']}, fold {fold}", len(todo)):
            store.write(name, probabilities)


def seconds(root: Path, spec: dict[str, Any]) -> None:
    """Take the time of every member on a few images, with all its folds' networks: members/seconds.json."""
    found = {}
    for member in track(spec["members"], "take times", len(spec["members"])):
        index = _index(RunFolder(Path(member["run"]))).labelled
        images = [index.path(image) for image in index.images[:: max(1, len(index) // _TIMED)][:_TIMED]]
        found[member["name"]] = seconds_an_image(_loaded(member), images, spec["accelerator"])
    write_json(root / "members" / "seconds.json", found)


def weights(root: Path, spec: dict[str, Any]) -> None:
    """Fit how the members are fused, then the post-processing: fused.json, tuned.json."""
    cost = read_json(root / "members" / "seconds.json")
    members = {member["name"]: cost[member["name"]] for member in spec["members"]}
    first = RunFolder(Path(spec["members"][0]["run"]))
    index, folds = _index(first), read_folds(first.folds)
    rows = _rows(index, folds.filter(pl.col("fold") != HELD_OUT))
    read = _Reader(root, index.only(rows["image"].to_list()), spec["members"])
    options: dict[str, Any] = {"metric": spec["metric"], "evaluate": EvaluateSpec.model_validate(spec["evaluate"])}
    options["seed"] = spec["seed"]
    fitted = fit_fusion(
        read,
        rows["fold"].to_list(),
        rows["group"].to_list(),
        members,
        index.categories,
        method=spec["method"],
        budget=spec["budget"],
        **options,
    )
    chain = _chain(read, rows, fitted, spec, options)
    named = list(members)
    said = {
        "adopted": fitted.shipped == "fused",
        "method": spec["method"],
        "shipped": fitted.shipped,
        "members": dict(zip(named, fitted.mixture.weights, strict=True)),
        "fold_weights": {k: dict(zip(named, m.weights, strict=True)) for k, m in fitted.fold_mixtures.items()},
        "gain": vars(fitted.gain),
        "against": fitted.against,
        "fitted_on": _FITTED_ON,
    }
    write_json(root / "tuned.json", chain | {"weights": said})
    write_json(root / "fused.json", _about(root, spec, fitted, members))


def holdout(root: Path, spec: dict[str, Any]) -> None:
    """Predict the held-out images with what ships: holdout/."""
    about = read_json(root / "fused.json")
    run = RunFolder(Path(spec["members"][0]["run"]))
    index, folds = _index(run), read_folds(run.folds)
    store = ProbabilityStore(root / "holdout")
    store.folder.mkdir(parents=True, exist_ok=True)
    images = _rows(index, folds.filter(pl.col("fold") == HELD_OUT))["image"].to_list()
    missing = [image for image in images if name_of(image) not in store]
    table = index.only(missing).table
    sizes = zip(table["height"], table["width"], strict=True)
    store.check_room([(len(index.categories), height, width) for height, width in sizes])
    todo = [(name_of(image), index.path(image)) for image in missing]
    members = [_loaded(member, member["weight"]) for member in about["members"] if member["weight"] > 0]
    found = predict_fused(members, todo, fusion=about["fusion"], accelerator=spec["accelerator"])
    for name, _, probabilities in track(found, "predict holdout", len(todo)):
        store.write(name, probabilities)


def evaluate(root: Path, spec: dict[str, Any]) -> None:
    """Score what is fused: predictions/per_image.parquet, predictions/evaluation.json."""
    about, tuned = read_json(root / "fused.json"), read_json(root / "tuned.json")
    run = RunFolder(Path(about["members"][0]["run"]))
    index, folds, wanted = _index(run), read_folds(run.folds), EvaluateSpec.model_validate(spec["evaluate"])
    shipped, own = read_chain(tuned["chain"]), {int(k): read_chain(c) for k, c in tuned["fold_chains"].items()}
    mixtures = {
        int(k): Mixture(tuple(w.values()), about["fusion"]) for k, w in tuned["weights"]["fold_weights"].items()
    }
    tables, scores = [], dict[str, Any]()
    selected = any(m["weight"] > 0 and m["predict"]["checkpoint"] != "last" for m in about["members"])
    for part in ("oof", "holdout") if spec["held"] else ("oof",):
        rows = _rows(index, folds.filter((pl.col("fold") == HELD_OUT) == (part == "holdout")))
        read, overlaps = (
            _Reader(root, index.only(rows["image"].to_list()), about["members"]),
            Overlaps(index.categories, wanted),
        )
        for row, (image, group, fold) in enumerate(track(rows.iter_rows(), f"score {part}", rows.height)):
            if part == "oof":
                maps, truth = read(row)
                found = mixtures[fold].fuse(maps)
            else:
                truth = read.truth(row)
                store = ProbabilityStore(root / "holdout")
                found = to_full_size(store.read(name_of(image)), (truth.shape[0], truth.shape[1]))
            label = apply_chain(found, own.get(fold, shipped), image=partial(read.image, row))
            overlaps.add(image, truth, label, group=group, fold=fold, probabilities=found)
        note = _MADE_BY[part] + (_SELECTED if part == "oof" and selected else "")
        headline = summarise(overlaps, wanted, seed=spec["seed"], note=note)
        tables.append(per_image_table(overlaps, wanted, part))
        scores |= {f"{part}/{name}": value for name, value in headline.items()}
    write_json(root / "predictions" / "evaluation.json", headline | scores)
    write_table(root / "predictions" / "per_image.parquet", pl.concat(tables))


class _Reader:
    """Row number → (each member's out-of-fold maps at full size, truth); see `maskwright.tune.weights.ReadMembers`."""

    def __init__(self, root: Path, images: Index, members: Sequence[dict[str, Any]]) -> None:
        self.images = images
        places = [RunFolder(Path(m["run"])).store("oof") if m["own"] else root / "members" / m["name"] for m in members]
        self.stores = [ProbabilityStore(place) for place in places]

    def __call__(self, row: int) -> tuple[list[Probabilities], LabelMap]:
        truth, name = self.truth(row), name_of(self.images.images[row])
        size = (truth.shape[0], truth.shape[1])
        return [to_full_size(store.read(name), size) for store in self.stores], truth

    def image(self, row: int) -> Array:
        return read_image(self.images.path(self.images.images[row]))

    def truth(self, row: int) -> LabelMap:
        truth = self.images.read_label(row)
        if truth is None:
            next_move = "finish the run that it is of, whose decided/ is gone, with maskwright run"
            got, where = f"none of {self.images.images[row]}", str(self.images.root)
            raise DataError(problem("a mask of every image in folds.csv", got, where=where, next_move=next_move))
        return truth


def _index(run: RunFolder) -> Index:
    return decided_index(run, load_recipe(run.recipe).data)


def _rows(index: Index, folds: pl.DataFrame) -> pl.DataFrame:
    return scored(index, folds.drop_nulls("fold"))


def _loaded(member: dict[str, Any], weight: float = 1.0) -> Member:
    run, spec = RunFolder(Path(member["run"])), PredictSpec.model_validate(member["predict"])
    return load_member(run.all_checkpoints(spec.checkpoint, load_recipe(run.recipe).split.folds), spec, weight)


def _chain(
    read: _Reader, rows: pl.DataFrame, fitted: Fitted, spec: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """Return tuned.json's post-processing: the first run's if it is stated there, else tuned on maps as they ship.

    A fold's chain is searched, and its gain taken, on maps that are fused as without the fold.
    """
    wanted = PostprocessSpec.model_validate(spec["postprocess"])
    if wanted.chain is not None:
        steps = [step.model_dump(mode="json") for step in wanted.chain]
        why = "stated in the recipe of the first run"
        return {"adopted": bool(steps), "chain": steps, "fold_chains": {}, "gain": None, "fitted_on": why}

    @cache  # folds of one mixture have one reader: what they try is counted once
    def fused_by(mixture: Mixture) -> Read:
        def fused(row: int) -> tuple[Probabilities, LabelMap]:
            maps, truth = read(row)
            return mixture.fuse(maps), truth

        return fused

    table = read.images.table
    tuned = tune_chain(
        fused_by(fitted.mixture),
        rows["fold"].to_list(),
        rows["group"].to_list(),
        (table["width"] * table["height"]).to_list(),
        wanted,
        read.images.categories,
        image=read.image,
        without={fold: fused_by(mixture) for fold, mixture in fitted.fold_mixtures.items()},
        **(options | {"metric": spec["tuned_metric"]}),
    )
    return tuned.to_plain() | {"fitted_on": _TUNED_ON}


def _about(root: Path, spec: dict[str, Any], fitted: Fitted, cost: dict[str, float]) -> dict[str, Any]:
    """Return fused.json."""
    members = []
    for member, weight in zip(spec["members"], fitted.mixture.weights, strict=True):
        name = member["name"]
        figures = {"weight": weight, "seconds": cost[name], "adds": vars(fitted.adds[name])}
        beside = os.path.relpath(member["run"], root.resolve())
        members.append(member | figures | {"alone": vars(fitted.scores[f"alone/{name}"]), "beside": beside})
    scores: dict[str, Interval] = {name: fitted.scores[name] for name in ("fused", "mean", "single")}
    return {
        "members": members,
        "fusion": fitted.mixture.fusion,
        "method": spec["method"],
        "shipped": fitted.shipped,
        "metric": spec["metric"],
        "scores": {name: vars(score) for name, score in scores.items()},
        "gain": vars(fitted.gain),
        "against": fitted.against,
        "seconds": sum(member["seconds"] for member in members if member["weight"] > 0),
        "accelerator": spec["accelerator"],
        "fitted_on": _FITTED_ON,
    }

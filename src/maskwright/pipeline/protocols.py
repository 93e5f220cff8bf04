"""The four protocols of learning from pseudo-labels side by side: the same folds, labels and steps."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import numpy as np

from maskwright.artifacts import RunFolder, read_folds, read_json, write_json
from maskwright.errors import DataError, UsageError, problem
from maskwright.evaluate import statistic_of
from maskwright.metrics import EmptyCases
from maskwright.pipeline import labelling, rounds, stages
from maskwright.pipeline.object_scores import object_statistics
from maskwright.pipeline.pool import all_strangers
from maskwright.pipeline.sharing import SHARED, copy_records, link_to
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.effort import all_rounds
from maskwright.recipe.file import parse_recipe
from maskwright.recipe.selftrain import Protocol, PseudoLabelsSpec, SelftrainSpec
from maskwright.split import HELD_OUT
from maskwright.statistics import Interval, Statistic, bootstrap, paired_difference
from maskwright.tasks import lock

METRICS = ("mean_dice", "pooled_miou")
OF_OBJECTS = "pq"
"""Beside these where objects are told apart."""

PROTOCOLS = tuple(name for name in get_args(Protocol) if name != "labelled_only")
"""Those that look at the pool."""

Part = tuple[str, list[str], dict[str, Statistic]]
"""Its name, the groups of its scored images, and {metric: score as a function of image weights}."""

_SHARED = (*SHARED, "decided", "decisions.jsonl", "review", "folds.csv", "folds.json", "plan.json", "round-0")
_DONE = ("index", "audit", "decide", "split", "plan", "train-fold-*", "predict-*")


def run_protocols(recipe: Recipe, out: str | Path, *, redo: bool = False, command: str | None = None) -> dict[str, Any]:
    """Train by each protocol and compare them on the same out-of-fold and held-out images: OUT/protocols.json.

    The supervised training lies in OUT, the others below OUT/protocols: their folders share its data, folds and round
    0. All have as many steps; none is adopted or not: each is shown as it is.

    Args:
        recipe: with `selftrain.rounds` of at least 1; the protocol is set here.
        out: run folder.
        redo: replace results that were made from another recipe or other data.
        command: what the user typed, for the report.

    Returns:
        {protocol: {part/metric: {value, low, high, n}, "gain/…": the same of the gain over labelled_only, "images":
        of each fold the pool's and those of them that are learned from}}; metrics are `METRICS` and, where objects are
        told apart, `OF_OBJECTS`.
    """
    from maskwright.pipeline import run

    _check_wanted(recipe)
    mixed = _sharing_budget(
        recipe.model_copy(update={"selftrain": recipe.selftrain.model_copy(update={"protocol": "mixed"})})
    )
    base = run(mixed, out, until="plan", redo=redo, command=command)
    if (why := all_strangers(base, load_recipe(base.recipe))) is not None:
        next_move = "keep them: --set selftrain.aliens=keep, or put other images into unlabeled/"
        raise DataError(problem("images without masks to learn from", why, where="--protocols", next_move=next_move))
    base = run(mixed, base.root, until="predict", redo=redo, command=command)
    with lock(base.root):  # what the others read of it stays as it is
        return _compare(recipe.selftrain, base, redo=redo)


def _compare(spec: SelftrainSpec, base: RunFolder, *, redo: bool) -> dict[str, Any]:
    """Train by the protocols that look at the pool, below a finished supervised run; return and write the scores."""
    from maskwright.pipeline import run

    resolved = load_recipe(base.recipe)
    alone = _statistics(base, 0)
    found = {"labelled_only": _scores(resolved, alone, alone)}
    without_pool = resolved.predict.model_copy(update={"pool": False})  # nobody asks for these predictions
    for protocol in PROTOCOLS:
        inner, wanted = RunFolder(base.root / "protocols" / protocol), _by(spec, protocol)
        _share(base, inner)
        if protocol != PROTOCOLS[0]:
            _share_labels(RunFolder(base.root / "protocols" / PROTOCOLS[0]), inner, resolved, wanted.method)
        run(
            resolved.model_copy(update={"selftrain": wanted, "predict": without_pool}),
            inner.root,
            since="selftrain",
            until="selftrain",
            redo=redo,
        )
        found[protocol] = _scores(resolved, alone, _statistics(inner, wanted.rounds)) | _images_of(inner)
    if isinstance(spec.method, PseudoLabelsSpec) and not spec.method.keep_soft:
        for protocol, number in itertools.product(PROTOCOLS, range(1, spec.rounds + 1)):
            labelling.clean_soft(RunFolder(base.root / "protocols" / protocol), number)
    write_json(base.root / "protocols.json", found)
    return found


def _images_of(folder: RunFolder) -> dict[str, Any]:
    """Return how many images of the pool the first round learned from, by fold."""
    return {"images": read_json(folder.root / "round-1" / "adopt.json").get("images", [])}


def _by(spec: SelftrainSpec, protocol: str) -> SelftrainSpec:
    """Return the section with a protocol; its rounds are used whatever they gain, maps of soft labels by the others."""
    method = spec.method
    if isinstance(method, PseudoLabelsSpec) and method.labels == "soft":
        method = method.model_copy(update={"keep_soft": True})
    return spec.model_copy(update={"protocol": protocol, "adopt": "always", "method": method})


def _sharing_budget(recipe: Recipe) -> Recipe:
    """Return the recipe with the part of its budget that the supervised training and the rounds of one protocol get."""
    if recipe.train.minutes is None:
        return recipe
    rounds = all_rounds(recipe.selftrain, recipe.train.batch)
    minutes = recipe.train.minutes * (1 + rounds) / (1 + len(PROTOCOLS) * rounds)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"minutes": round(minutes, 4)})})


def _check_wanted(recipe: Recipe) -> None:
    """Raise before anything is trained where a protocol can't be."""
    if recipe.selftrain.rounds < 1:
        next_move = "leave out --rounds, or give 1 or more"
        raise UsageError(problem("at least one round", "none", where="--protocols", next_move=next_move))
    tree = recipe.model_dump(mode="json")
    for protocol in PROTOCOLS:
        parse_recipe(tree | {"selftrain": tree["selftrain"] | {"protocol": protocol}}, where="--protocols")


def _scores(recipe: Recipe, alone: list[Part], own: list[Part]) -> dict[str, Any]:
    """Return the scores of a round, and its gains over the supervised training, `alone`."""
    options: dict[str, Any] = {"samples": recipe.evaluate.samples, "confidence": recipe.evaluate.confidence}
    found = dict[str, Any]()
    for (part, groups, old), (_, _, new) in zip(alone, own, strict=True):
        for metric, two in new.items():
            rng = [np.random.default_rng((recipe.seed, 8)) for _ in range(2)]
            score = bootstrap(two, len(groups), groups=groups, rng=rng[0], **options)
            gain = paired_difference(two, old[metric], len(groups), groups=groups, rng=rng[1], **options)
            found[f"{part}/{metric}"] = vars(score)
            found[f"gain/{part}/{metric}"] = vars(gain if own is not alone else Interval(0.0, 0.0, 0.0, score.n))
    return found


def _statistics(folder: RunFolder, number: int) -> list[Part]:
    """Return what a round is scored by, out of fold and, where images are held out, on these."""
    recipe = load_recipe(folder.recipe)
    spec = recipe.model_dump(mode="json", include={"data", "evaluate", "instances"})
    whole, cases = stages.decided(folder, {"data": spec["data"]}), EmptyCases.of(recipe.evaluate)
    parts = list[Part]()
    for part in _parts(folder):
        rows, counts = rounds.counts_of(folder, whole, number, part=part)
        found = {metric: statistic_of(counts, metric, whole.categories.evaluated, cases) for metric in METRICS}
        if recipe.tells_instances:
            found[OF_OBJECTS] = object_statistics(folder, whole, number, spec, part=part)[1][OF_OBJECTS]
        parts.append((part, rows["group"].to_list(), found))
    return parts


def _parts(folder: RunFolder) -> list[str]:
    held = (read_folds(folder.folds)["fold"] == HELD_OUT).any()
    return ["oof", "holdout"] if held else ["oof"]


def _share(base: RunFolder, inner: RunFolder) -> None:
    """Give a protocol's folder the data, folds and supervised trainings of the base, and their records."""
    link_to(base, inner, _SHARED)
    copy_records(base, inner, _DONE)


def _share_labels(first: RunFolder, inner: RunFolder, recipe: Recipe, method: Any) -> None:
    """Let a protocol use the labels that the first one made in round 1: they come from the same networks."""
    if not isinstance(method, PseudoLabelsSpec) or method.relabels:
        return
    place = inner.root / "round-1" / "pseudo"
    if not place.exists():
        link_to(first, inner, ["round-1/pseudo"])
    if place.is_symlink():
        names = (f"selftrain-1-pseudo-{fold}" for fold in range(recipe.split.folds))
        copy_records(first, inner, ["selftrain-1-precision", "selftrain-1-objectness", *names])

"""By what the objects of each thing are parted, embeddings or shape: chosen by out-of-fold PQ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder
from maskwright.data.index import Index
from maskwright.evaluate import Overlaps
from maskwright.pipeline.object_scores import Chain, best_of_things, measurer, segments_of
from maskwright.pipeline.objectness import Judges
from maskwright.progress import track
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories

EMBEDDINGS = "embeddings"
"""The way without a distance."""


@dataclass(frozen=True)
class Ways:
    """Which things are parted by their shape, and how far apart two middles are at least, in pixels of the image.

    Attributes:
        whole: for images that are in no fold: position of the thing → distance.
        folds: fold → the same, chosen without its images.
    """

    whole: Mapping[int, int]
    folds: Mapping[int, Mapping[int, int]]

    def of(self, fold: int) -> Mapping[int, int]:
        """Return the things that are parted by their shape in an image of a fold."""
        return self.folds.get(fold, self.whole)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], categories: Categories) -> Ways:
        """Return what tuned.json says; where it says nothing, embeddings part everything."""
        known = plain.get("ways") or {"all": {}, "folds": {}}
        place = {name: position for position, name in enumerate(categories.names)}

        def read(ways: Mapping[str, int | None]) -> dict[int, int]:
            return {place[name]: distance for name, distance in ways.items() if distance is not None}

        return cls(read(known["all"]), {int(fold): read(ways) for fold, ways in known["folds"].items()})


def choose_ways(
    folder: RunFolder,
    whole: Index,
    rows: pl.DataFrame,
    chains: Mapping[int, Chain],
    spec: dict[str, Any],
    *,
    judges: Judges | None = None,
) -> dict[str, Any]:
    """Return by what the objects of each thing are parted, as plain data.

    For an image of a fold it is the way with the highest PQ of the thing over the images of the other folds, so that
    nothing is chosen by what it is scored on; for other images, over all folds. Of equal ones it is the first.
    How large objects are is counted in all masks, as a size of crops is.

    Args:
        folder: of the run.
        whole: its index.
        rows: of folds.csv, what is scored.
        chains: fold → the chain that was fitted without it.
        spec: of the stage: seed, data, evaluate, and all of `instances` that is done after predicting.
        judges: who says how likely objects are true; None: their score is the mean probability of their category.

    Returns:
        `all` and of each fold `folds`: thing → distance of two middles in pixels of the image, None for embeddings;
        `pq`: way → thing → its PQ over all folds; `diameter`: thing → median diameter of the true objects.
        Nothing where embeddings part all.
    """
    told, images = InstancesSpec.model_validate(spec["instances"]), whole.only(rows["image"].to_list())
    sizes = diameters(images) if told.by != "embeddings" else {}
    tried = _candidates(told, sizes, images.categories)
    if not tried:
        return {}
    names = images.categories.names
    known: dict[str, Any] = {"diameter": {names[thing]: size for thing, size in sizes.items()}}
    if rows["fold"].n_unique() < 2 or whole.partial:
        return {} if told.by == "best" else known | _unmeasured(tried, images.categories)
    if told.by == "best":
        tried = {EMBEDDINGS: {}} | tried
    evaluate = EvaluateSpec.model_validate(spec["evaluate"] | {"families": ("panoptic",)})
    measured = measurer(folder, images, None, spec, evaluate, judges=judges)
    sides = {way: Overlaps(images.categories, evaluate) for way in tried}
    each = track(rows.select("image", "group", "fold").iter_rows(), "part by embeddings and by shape", rows.height)
    for row, (image, group, fold) in enumerate(each):
        found = measured(row, fold, chains.get(fold, ()), list(tried.values()))
        for overlaps, one in zip(sides.values(), found, strict=True):
            overlaps.put(image, one, group=group, fold=fold)
    chosen = best_of_things(
        {way: segments_of(one) for way, one in sides.items()}, rows["fold"].to_list(), whole.categories
    )

    def distances(best: Mapping[str, str]) -> dict[str, int | None]:
        return {names[thing]: tried[best[names[thing]]].get(thing) for thing in images.categories.things}

    return known | {
        "all": distances(chosen["all"]),
        "folds": {fold: distances(best) for fold, best in chosen["folds"].items()},
        "pq": chosen["pq"],
    }


def diameters(images: Index) -> dict[int, float]:
    """Return the median diameter in pixels of the true objects of each thing, of discs of their area; where there are.

    Args:
        images: of which the maps are read.
    """
    areas = dict[int, list[float]]()
    for row in track(range(len(images)), "measure the true objects", len(images)):
        label, ids = images.read_label(row), images.read_instances(row)
        if label is None or ids is None:
            continue
        for thing in images.categories.things:
            counts = np.bincount(ids[label == thing])[1:]
            areas.setdefault(thing, []).extend(counts[counts > 0].tolist())
    return {thing: math.sqrt(4 * float(np.median(own)) / math.pi) for thing, own in areas.items() if own}


def _candidates(told: InstancesSpec, sizes: Mapping[int, float], categories: Categories) -> dict[str, dict[int, int]]:
    """Return way → things that are parted by their shape → distance; none where no object is known."""
    things = [thing for thing in categories.things if told.only is None or categories.names[thing] in told.only]
    known = [thing for thing in things if thing in sizes]
    ways = {f"shape {share:g}": {t: max(1, round(share * sizes[t])) for t in known} for share in told.middles}
    return ways if known else {}


def _unmeasured(tried: Mapping[str, Mapping[int, int]], categories: Categories) -> dict[str, dict[str, int | None]]:
    """Return the middle way, where there is nothing to measure ways on."""
    middle = list(tried.values())[len(tried) // 2]
    return {"all": {categories.names[thing]: distance for thing, distance in middle.items()}, "folds": {}}

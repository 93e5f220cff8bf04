"""Objects of a round scored as they were predicted: what the round is adopted by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate import Overlaps, statistics_of
from maskwright.evaluate.measure import Measured
from maskwright.instances.measuring import measure_objects
from maskwright.instances.objectness import object_scores
from maskwright.instances.store import read_features, read_objects
from maskwright.instances.telling import to_panoptic
from maskwright.metrics import PanopticCounts, panoptic_quality
from maskwright.pipeline.objectness import Judges, fit_judges
from maskwright.postprocess import apply_chain
from maskwright.predict import to_full_size
from maskwright.progress import track
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec, PostprocessStep
from maskwright.split import HELD_OUT
from maskwright.statistics import Statistic
from maskwright.types import Array, Categories

FALSE_OBJECTS = "false_objects"
"""Mean number of predicted things in an image that match no true one."""
TRUE_OBJECTS = "true_objects"
"""Mean number of those that match one."""

Chain = Sequence[PostprocessStep]
Key = TypeVar("Key", bound=str)
AS_FOUND: tuple[Mapping[int, int], ...] = ({},)
"""The one way in which nothing is parted by its shape."""
_NAMES = ("pq", "sq", "rq", "ap")


def object_statistics(
    folder: RunFolder, whole: Index, number: int, spec: dict[str, Any], *, part: str = "oof"
) -> tuple[pl.DataFrame, dict[str, Statistic]]:
    """Return the scored rows of folds.csv, and {metric: score as a function of image weights} of a round's objects.

    Without post-processing. Metrics are pq, sq, rq, ap where objects have scores, `FALSE_OBJECTS` and `TRUE_OBJECTS`.

    Args:
        folder: of the run.
        whole: its index.
        number: of the round.
        spec: of the stage: data, evaluate, instances.
        part: oof or holdout.
    """
    held = (pl.col("fold") == HELD_OUT) == (part == "holdout")
    rows = scored(whole, read_folds(folder.folds).filter(held))
    overlaps = _measured(folder, whole, rows, number, spec, part)
    evidence, evaluate = overlaps.evidence(), overlaps.spec
    known = statistics_of(evidence, whole.categories, evaluate)
    found = {name: known[name][1] for name in _NAMES if name in known}
    assert evidence.segments is not None
    sides = {FALSE_OBJECTS: evidence.segments.fp, TRUE_OBJECTS: evidence.segments.tp}
    return rows, found | {name: _mean_number(counts[:, whole.categories.things]) for name, counts in sides.items()}


def _mean_number(counts: Array) -> Statistic:
    """Return the mean number in an image as a function of image weights, of counts (images, things)."""
    each = counts.sum(axis=1).astype(np.float64)

    def mean(weights: Array) -> Array:
        return np.asarray(weights @ each / weights.sum(axis=1))

    return mean


def segments_of(overlaps: Overlaps) -> PanopticCounts:
    """Return (images, C) counts of segments."""
    found = overlaps.evidence().segments
    assert found is not None
    return found


def best_of_each(scores: Mapping[Key, Mapping[str, float]]) -> dict[str, Key]:
    """Return thing → the way with its highest score, of way → thing → score; of equal ones the first.

    NaN, nothing true and nothing found, is the highest.
    """
    things = list(next(iter(scores.values())))
    return {thing: max(scores, key=lambda way: np.nan_to_num(scores[way][thing], nan=1.0)) for thing in things}


def best_of_things(
    counts: Mapping[Key, PanopticCounts], folds: Sequence[int], categories: Categories
) -> dict[str, dict[str, Any]]:
    """Return, of several ways to find objects, the one that finds each thing best: for new images and for each fold.

    For a fold it is the one with the highest PQ of the thing over the images of the other folds, so that nothing is
    chosen by what it is scored on; for new images, over all. Of equal ones it is the first;
    where no true object of a thing is there, one that finds none is better than one that does.

    Args:
        counts: way → its counts of segments (images, C).
        folds: of the images.
        categories: their things are chosen for.

    Returns:
        `all`: thing → way; `folds`: fold, as a word, → the same; `pq`: way → thing → PQ over all, None where there is
        none.
    """
    own = np.asarray(folds)

    def scores(weights: Array) -> dict[Key, dict[str, float]]:
        values = {
            way: panoptic_quality(found.pooled(weights[None].astype(np.float64)))[0] for way, found in counts.items()
        }
        return {way: {categories.names[p]: float(one[p]) for p in categories.things} for way, one in values.items()}

    over_all = scores(np.ones(len(own)))
    return {
        "all": best_of_each(over_all),
        "folds": {str(fold): best_of_each(scores(own != fold)) for fold in sorted(set(own.tolist()))},
        "pq": {
            way: {thing: None if np.isnan(value) else value for thing, value in one.items()}
            for way, one in over_all.items()
        },
    }


def measurer(
    folder: RunFolder,
    images: Index,
    number: int | None,
    spec: dict[str, Any],
    evaluate: EvaluateSpec,
    *,
    judges: Judges | None,
    part: str = "oof",
) -> Callable[[int, int, Chain, Sequence[Mapping[int, int]]], list[Measured]]:
    """Return what measures the out-of-fold objects of a row, in a fold, under a chain, parted in several ways.

    A way is the things that are parted by their shape, as the `middles` of `to_panoptic`.

    Args:
        folder: of the run.
        images: that are scored.
        number: of the round; None: the adopted one.
        spec: of the stage: data and instances.
        evaluate: which families.
        judges: who says how likely objects are true; None: their score is the mean probability of their category.
        part: whose store has the objects, another one than that of the round.
    """
    told, store = InstancesSpec.model_validate(spec["instances"]), ProbabilityStore(folder.store(part, number))
    things, stuff = images.categories.things, spec["data"]["task"] == "panoptic"

    def measured(row: int, fold: int, chain: Chain, ways: Sequence[Mapping[int, int]]) -> list[Measured]:
        image, truth = images.images[row], images.read_label(row)
        name = name_of(image)
        assert truth is not None
        probabilities = to_full_size(store.read(name), (truth.shape[0], truth.shape[1]))
        label = apply_chain(probabilities, chain, image=lambda: read_image(images.path(image)))
        scores = None if judges is None else object_scores(judges.of(fold), read_features(store, name))
        objects = read_objects(store, name)
        ids, about = images.read_instances(row), (images.categories, evaluate)
        found = [
            to_panoptic(label, objects, probabilities, things, told, scores=scores, middles=way, where=image)
            for way in ways
        ]
        return [measure_objects(truth, ids, label, one, *about, stuff=stuff, where=image) for one in found]

    return measured


def _measured(
    folder: RunFolder, whole: Index, rows: pl.DataFrame, number: int, spec: dict[str, Any], part: str
) -> Overlaps:
    evaluate = EvaluateSpec.model_validate(spec["evaluate"] | {"families": ["panoptic", "instances"]})
    judges = fit_judges(folder, whole, number) if spec["instances"]["score"] == "objectness" else None
    images = whole.only(rows["image"].to_list())
    measured = measurer(folder, images, number, spec, evaluate, judges=judges, part=part)
    overlaps = Overlaps(whole.categories, evaluate)
    each = track(rows.select("image", "group", "fold").iter_rows(), f"score round {number}", rows.height)
    for row, (image, group, fold) in enumerate(each):
        overlaps.put(image, measured(row, fold, (), AS_FOUND)[0], group=group, fold=fold)
    return overlaps

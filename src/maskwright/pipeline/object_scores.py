"""Out-of-fold objects of a round scored as they were predicted: what the round is adopted by."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds
from maskwright.data.formats.files import name_of
from maskwright.data.index import Index, scored
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate import Overlaps, statistics_of
from maskwright.instances.measuring import measure_objects
from maskwright.instances.store import read_features, read_objects
from maskwright.instances.telling import to_panoptic
from maskwright.pipeline.objectness import fit_judges
from maskwright.predict import to_full_size
from maskwright.progress import track
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.split import HELD_OUT
from maskwright.statistics import Statistic
from maskwright.types import Array

FALSE_OBJECTS = "false_objects"
"""Mean number of predicted things in an image that match no true one."""

_NAMES = ("pq", "sq", "rq", "ap")


def object_statistics(
    folder: RunFolder, whole: Index, number: int, spec: dict[str, Any]
) -> tuple[pl.DataFrame, dict[str, Statistic]]:
    """Return the scored rows of folds.csv, and {metric: score as a function of image weights} of a round's objects.

    Without post-processing. Metrics are pq, sq, rq, ap where objects have scores, and `FALSE_OBJECTS`.

    Args:
        folder: of the run.
        whole: its index.
        number: of the round.
        spec: of the stage: data, evaluate, instances.
    """
    rows = scored(whole, read_folds(folder.folds).filter(pl.col("fold") != HELD_OUT))
    overlaps = _measured(folder, whole, rows, number, spec)
    evidence, evaluate = overlaps.evidence(), overlaps.spec
    known = statistics_of(evidence, whole.categories, evaluate)
    found = {name: known[name][1] for name in _NAMES if name in known}
    assert evidence.segments is not None
    made_up = evidence.segments.fp[:, whole.categories.things].sum(axis=1).astype(np.float64)

    def false_objects(weights: Array) -> Array:
        return np.asarray(weights @ made_up / weights.sum(axis=1))

    return rows, found | {FALSE_OBJECTS: false_objects}


def _measured(folder: RunFolder, whole: Index, rows: pl.DataFrame, number: int, spec: dict[str, Any]) -> Overlaps:
    told, things = InstancesSpec.model_validate(spec["instances"]), whole.categories.things
    evaluate = EvaluateSpec.model_validate(spec["evaluate"] | {"families": ["panoptic", "instances"]})
    judges = fit_judges(folder, whole, number) if told.score == "objectness" else None
    images, store = whole.only(rows["image"].to_list()), ProbabilityStore(folder.store("oof", number))
    overlaps = Overlaps(whole.categories, evaluate)
    for row, (image, group, fold) in enumerate(track(rows.iter_rows(), f"score round {number}", rows.height)):
        truth, name = images.read_label(row), name_of(image)
        assert truth is not None
        probabilities = to_full_size(store.read(name), (truth.shape[0], truth.shape[1]))
        label = probabilities.argmax(0).astype(np.uint8)
        scores = None if judges is None else judges.of(fold).predict(read_features(store, name))
        found = to_panoptic(label, read_objects(store, name), probabilities, things, told, scores=scores, where=image)
        measured = measure_objects(
            truth,
            images.read_instances(row),
            label,
            found,
            whole.categories,
            evaluate,
            stuff=spec["data"]["task"] == "panoptic",
            where=image,
        )
        overlaps.put(image, measured, group=group, fold=fold)
    return overlaps

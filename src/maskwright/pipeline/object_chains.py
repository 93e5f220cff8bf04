"""What post-processing that raises the score of pixels does to the objects: their PQ with it and without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate import Overlaps, statistics_of
from maskwright.instances.measuring import measure_objects
from maskwright.instances.store import read_objects
from maskwright.instances.telling import to_panoptic
from maskwright.postprocess import apply_chain
from maskwright.predict import to_full_size
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec, PostprocessStep
from maskwright.statistics import Statistic, paired_difference

Chain = Sequence[PostprocessStep]


def gain_in_pq(
    folder: RunFolder, whole: Index, rows: pl.DataFrame, chains: Mapping[int, Chain], spec: dict[str, Any]
) -> dict[str, float]:
    """Return value, low and high of what the folds' own chains gain in PQ over none, out-of-fold.

    Args:
        folder: of the run.
        whole: its index.
        rows: of folds.csv, what is scored.
        chains: fold → the chain that was fitted without it.
        spec: of the stage: seed, data, evaluate, and all of `instances`.
    """
    evaluate = EvaluateSpec.model_validate(spec["evaluate"] | {"families": ("panoptic",)})
    measured = _measurer(folder, whole.only(rows["image"].to_list()), spec, evaluate)
    sides = Overlaps(whole.categories, evaluate), Overlaps(whole.categories, evaluate)
    for row, (image, group, fold) in enumerate(rows.select("image", "group", "fold").iter_rows()):
        for overlaps, chain in zip(sides, (chains[fold], ()), strict=True):
            overlaps.put(image, measured(row, chain), group=group, fold=fold)
    with_chain, without = (_pq(overlaps, evaluate) for overlaps in sides)
    found = paired_difference(
        with_chain,
        without,
        rows.height,
        groups=sides[0].groups,
        samples=evaluate.samples,
        confidence=evaluate.confidence,
        rng=np.random.default_rng((spec["seed"], 4)),
    )
    return {"value": found.value, "low": found.low, "high": found.high}


def _measurer(
    folder: RunFolder, images: Index, spec: dict[str, Any], evaluate: EvaluateSpec
) -> Callable[[int, Chain], Any]:
    """Return what measures a row's objects under a chain."""
    told, store = InstancesSpec.model_validate(spec["instances"]), ProbabilityStore(folder.store("oof"))
    things, stuff = images.categories.things, spec["data"]["task"] == "panoptic"

    def measured(row: int, chain: Chain) -> Any:
        image, truth = images.images[row], images.read_label(row)
        assert truth is not None
        probabilities = to_full_size(store.read(name_of(image)), (truth.shape[0], truth.shape[1]))
        label = apply_chain(probabilities, chain, image=lambda: read_image(images.path(image)))
        objects = read_objects(store, name_of(image))
        found = to_panoptic(label, objects, probabilities, things, told, where=image)
        ids = images.read_instances(row)
        return measure_objects(truth, ids, label, found, images.categories, evaluate, stuff=stuff, where=image)

    return measured


def _pq(overlaps: Overlaps, evaluate: EvaluateSpec) -> Statistic:
    return statistics_of(overlaps.evidence(), overlaps.categories, evaluate)["pq"][1]

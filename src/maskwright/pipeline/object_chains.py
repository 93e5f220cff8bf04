"""What post-processing that raises the score of pixels does to the objects: their PQ with it and without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder
from maskwright.data.index import Index
from maskwright.evaluate import Overlaps, statistics_of
from maskwright.pipeline.object_scores import AS_FOUND, Chain, measurer
from maskwright.pipeline.objectness import Judges
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import Statistic, paired_difference


def gain_in_pq(
    folder: RunFolder,
    whole: Index,
    rows: pl.DataFrame,
    chains: Mapping[int, Chain],
    spec: dict[str, Any],
    *,
    judges: Judges | None = None,
) -> dict[str, float]:
    """Return value, low and high of what the folds' own chains gain in PQ over none, out-of-fold.

    Args:
        folder: of the run.
        whole: its index.
        rows: of folds.csv, what is scored.
        chains: fold → the chain that was fitted without it.
        spec: of the stage: seed, data, evaluate, and all of `instances`.
        judges: who says how likely objects are true; None: their score is the mean probability of their category.
    """
    evaluate = EvaluateSpec.model_validate(spec["evaluate"] | {"families": ("panoptic",)})
    measured = measurer(folder, whole.only(rows["image"].to_list()), None, spec, evaluate, judges=judges)
    sides = Overlaps(whole.categories, evaluate), Overlaps(whole.categories, evaluate)
    for row, (image, group, fold) in enumerate(rows.select("image", "group", "fold").iter_rows()):
        for overlaps, chain in zip(sides, (chains[fold], ()), strict=True):
            overlaps.put(image, measured(row, fold, chain, AS_FOUND)[0], group=group, fold=fold)
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


def _pq(overlaps: Overlaps, evaluate: EvaluateSpec) -> Statistic:
    return statistics_of(overlaps.evidence(), overlaps.categories, evaluate)["pq"][1]

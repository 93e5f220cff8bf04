"""What the scores of the same images under two treatments are made of, read from per-image tables, for a bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from maskwright.metrics import MEASURES, SUMMARIES, CalibrationCounts, Counts, EmptyCases, Evidence, figures
from maskwright.metrics.evidence import LEFT_OUT, PIXELS, SEGMENTS
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import Statistic
from maskwright.types import Array, Categories

_COLUMNS = (LEFT_OUT, *SEGMENTS, "sbd", "count_difference", *(measure.column for measure in MEASURES.values()))
"""Columns of per-image tables that scores are made of beside the counts of pixels."""


def counts_and_groups(table: pl.DataFrame, categories: int) -> tuple[Counts, list[str]]:
    """Return the counts and the group of each image of a per-image table, by the images' names.

    Args:
        table: a row an image and category, the categories of each image in one order; columns image, group, tp, fp, fn.
        categories: number of categories.

    Returns:
        Counts of shape (images, categories), and (images,) groups.
    """
    ordered = table.sort("image", maintain_order=True)
    counts = Counts(*(ordered[name].to_numpy().reshape(-1, categories) for name in ("tp", "fp", "fn")))
    return counts, ordered["group"].to_list()[::categories]


def statistic_of(counts: Counts, metric: str, positions: Sequence[int], cases: EmptyCases) -> Statistic:
    """Return a metric of images as the function of their weights that a bootstrap takes.

    Args:
        counts: (images, categories).
        metric: name in `SUMMARIES`.
        positions: the evaluated categories.
        cases: the rules for empty images and absent categories.
    """
    function = SUMMARIES[metric].function
    return lambda weights: function(counts, positions, weights, cases)


def evidence_of(table: pl.DataFrame, bins: pl.DataFrame | None, categories: int) -> Evidence:
    """Return what the scores of a per-image table's images are made of, by the images' names.

    Args:
        table: as in `counts_and_groups`, with the columns of families that were computed.
        bins: rows of `CALIBRATION_SCHEMA` of the same images, or None.
        categories: number of categories.
    """
    ordered = table.sort("image", maintain_order=True)
    columns: dict[str, Array] = {name: ordered[name].to_numpy() for name in PIXELS}
    columns |= {
        name: ordered[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in _COLUMNS if name in ordered
    }
    counts = None
    if bins is not None and bins.height:
        rows, size = bins.sort("image", "low"), bins["low"].n_unique()
        counts = CalibrationCounts(
            *(rows[name].to_numpy().reshape(-1, size) for name in ("pixels", "right", "confidence"))
        )
    return Evidence({name: column.reshape(-1, categories) for name, column in columns.items()}, counts)


def statistics_of(evidence: Evidence, categories: Categories, spec: EvaluateSpec) -> dict[str, tuple[str, Statistic]]:
    """Return {key of evaluation.json: (definition, function of image weights)} of all that there is evidence for."""
    return {
        name: (definition, lambda weights, f=found.function, k=k: f(weights)[:, k])  # type: ignore[misc]
        for found in figures(evidence, categories, spec)
        for k, (name, definition) in enumerate(zip(found.names, found.definitions, strict=True))
    }

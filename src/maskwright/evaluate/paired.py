"""Counts of the same images under two treatments: read from per-image tables, and what a bootstrap resamples."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from maskwright.metrics import SUMMARIES, Counts, EmptyCases
from maskwright.statistics import Statistic


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

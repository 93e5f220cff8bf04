"""What became of the labels that a teacher gave to images without labels, over the training."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from maskwright.pictures import curves
from maskwright.report.blocks import Chart, chart

_SAID = {
    "kept_": ("share kept", "Labels of the pool that were kept, of each category"),
    "share_": ("share of all kept", "Which categories the kept labels of the pool have"),
    "threshold_": ("confidence", "From which confidence on labels of the pool are kept, of each category"),
    "prior_": ("share of pixels", "What the teacher expects of the pool: the class prior"),
}


def pool_charts(tables: Mapping[str, pl.DataFrame]) -> list[Chart]:
    """Return a chart for each kind of column, one line a category, the mean over the folds; none without a pool.

    Args:
        tables: fold → metrics.csv of a round.
    """
    charts = []
    for prefix, (short, title) in _SAID.items():
        columns = dict.fromkeys(c for table in tables.values() for c in table.columns if c.startswith(prefix))
        series = {column.removeprefix(prefix): _mean(tables, column) for column in columns}
        shown = {name: (mean["step"].to_numpy(), mean["value"].to_numpy()) for name, mean in series.items()}
        shown = {name: pair for name, pair in shown.items() if len(pair[0])}
        if shown:
            alt = f"{title}, over training steps, the mean over folds"
            charts.append(chart(curves(shown, x="step", y=short, alt=alt), title))
    return charts


def _mean(tables: Mapping[str, pl.DataFrame], column: str) -> pl.DataFrame:
    """Return step and the mean value over the folds that have one there."""
    known = [
        table.select(pl.col("step").cast(pl.Int64), pl.col(column).cast(pl.Float64).fill_nan(None).alias("value"))
        for table in tables.values()
        if column in table.columns
    ]
    return pl.concat(known).drop_nulls().group_by("step").agg(pl.col("value").mean()).sort("step")

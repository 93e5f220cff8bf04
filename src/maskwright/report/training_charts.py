"""What became of losses, scores, and the labels that a teacher gave to images without labels, over the training."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from maskwright.pictures import curves
from maskwright.report.blocks import Chart, chart, plural
from maskwright.report.words import metric_name

_SEEN = {
    "loss": "training images",
    "mean_dice": "validation images",
    "mean_iou": "validation images",
    "pooled_miou": "validation images",
    "train_pooled_miou": "training crops, varied and mixed as they are learned from",
}
_SAID = {
    "iou_": ("IoU", "IoU of each category on validation images"),
    "train_iou_": ("IoU", "IoU of each category on training crops, varied and mixed as they are learned from"),
    "kept_": ("share kept", "Labels of the pool that were kept, of each category"),
    "share_": ("share of all kept", "Which categories the kept labels of the pool have"),
    "threshold_": ("confidence", "From which confidence on labels of the pool are kept, of each category"),
    "prior_": ("share of pixels", "What the teacher expects of the pool: the class prior"),
}


def training_charts(tables: Mapping[str, pl.DataFrame]) -> list[Chart]:
    """Return a chart for the loss and each score, one line a fold, and one for what is known of each category.

    Args:
        tables: fold → metrics.csv of a round.
    """
    charts = []
    for column, seen in _SEEN.items():
        name = metric_name(column.removeprefix("train_")) if column != "loss" else column
        series = {
            fold: (known["step"].to_numpy(), known[column].to_numpy())
            for fold, table in tables.items()
            if column in table.columns and (known := known_rows(table, column)).height
        }
        if series:
            alt = (
                f"{name.capitalize()} on {seen} over training steps, one line for each of {plural(len(series), 'fold')}"
            )
            charts.append(chart(curves(series, x="step", y=name, alt=alt), f"{name[0].upper()}{name[1:]} on {seen}"))
    return charts + _category_charts(tables)


def known_rows(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the rows of metrics.csv that have a value."""
    return table.with_columns(pl.col(column).fill_nan(None)).drop_nulls(["step", column])


def _category_charts(tables: Mapping[str, pl.DataFrame]) -> list[Chart]:
    """Return a chart for each kind of column, one line a category, the mean over the folds."""
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

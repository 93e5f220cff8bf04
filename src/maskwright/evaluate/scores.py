"""From overlap tables to the per-image table and the scores of a part, with bootstrap intervals over groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from maskwright.metrics import (
    SUMMARIES,
    Counts,
    EmptyCases,
    dice,
    iou,
    overlap_table,
    pooled_dice,
    pooled_iou,
    precision,
    recall,
)
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import bootstrap
from maskwright.types import Array, Categories, LabelMap


@dataclass
class Overlaps:
    """Overlap tables of images, one by one: memory grows with images × categories², not with pixels.

    Attributes:
        categories: what the tables' rows and columns are.
        images: names.
        groups: what is resampled together.
        folds: -1 held out, None where there are no folds.
        counts: of each image, (C,) each.
        table: (C, C + 1) sum over the images.
    """

    categories: Categories
    images: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    folds: list[int | None] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    table: Array | None = None

    def add(
        self, image: str, truth: LabelMap, prediction: LabelMap, *, group: str | None = None, fold: int | None = None
    ) -> None:
        """Count one image."""
        table = overlap_table(truth, prediction, len(self.categories), where=image)
        self.images.append(image)
        self.groups.append(image if group is None else group)
        self.folds.append(fold)
        self.counts.append(Counts.from_table(table))
        self.table = table if self.table is None else self.table + table

    def only(self, images: Collection[str]) -> Overlaps:
        """Return those of some images, without the summed table."""
        kept = [k for k, image in enumerate(self.images) if image in images]
        columns = (self.images, self.groups, self.folds, self.counts)
        return Overlaps(self.categories, *([column[k] for k in kept] for column in columns))  # type: ignore[arg-type]

    def stacked(self) -> Counts:
        """Return counts of shape (images, C)."""
        return Counts.stack(self.counts)


PER_IMAGE_SCHEMA = {
    "image": pl.String,
    "part": pl.String,
    "group": pl.String,
    "fold": pl.Int64,
    "category": pl.String,
    "tp": pl.Int64,
    "fp": pl.Int64,
    "fn": pl.Int64,
    "dice": pl.Float64,
    "iou": pl.Float64,
    "precision": pl.Float64,
    "recall": pl.Float64,
}


def per_image_table(overlaps: Overlaps, spec: EvaluateSpec, part: str) -> pl.DataFrame:
    """Return a row an image and category: image, part, group, fold, category, tp, fp, fn and the four scores."""
    counts, cases = overlaps.stacked(), EmptyCases.of(spec)
    size = len(overlaps.categories)
    each = np.repeat(np.arange(len(overlaps.images)), size)
    columns = {
        "image": pl.Series(overlaps.images, dtype=pl.String).gather(each),
        "part": [part] * (size * len(overlaps.images)),
        "group": pl.Series(overlaps.groups, dtype=pl.String).gather(each),
        "fold": [fold for fold in overlaps.folds for _ in range(size)],
        "category": overlaps.categories.names * len(overlaps.images),
        "tp": counts.tp.ravel(),
        "fp": counts.fp.ravel(),
        "fn": counts.fn.ravel(),
    }
    scores = {"dice": dice, "iou": iou, "precision": precision, "recall": recall}
    columns |= {name: score(counts, empty=cases.empty).ravel() for name, score in scores.items()}
    return pl.DataFrame(columns, schema_overrides=PER_IMAGE_SCHEMA).with_columns(
        pl.col(list(scores)).fill_nan(None)  # absent is null in a table, NaN in memory
    )


def summarise(
    overlaps: Overlaps, spec: EvaluateSpec, *, seed: int = 0, note: str = "", each: bool = True
) -> dict[str, dict[str, Any]]:
    """Return {metric: value, low, high, n, definition} of a part: summaries, then `iou/NAME` and `dice/NAME`.

    Args:
        overlaps: at least one image.
        spec: empty cases, resamples, level.
        seed: of the bootstrap.
        note: added to each definition, such as how the predictions were made.
        each: also score each category.
    """
    counts, cases = overlaps.stacked(), EmptyCases.of(spec)
    positions = overlaps.categories.evaluated
    suffix = f" {note}" if note else ""
    scores = {
        name: (
            summary.definition,
            lambda w, f=summary.function: f(counts, positions, w, cases),
        )
        for name, summary in SUMMARIES.items()
    }
    for place, name in enumerate(overlaps.categories.names) if each else ():
        left = "" if place in positions else " Left out of the means."
        scores[f"iou/{name}"] = (
            f"IoU of {name} from the pixels of all images together.{left}",
            lambda w, p=place: pooled_iou(_weighted(counts, w), absent=cases.absent)[:, p],
        )
        scores[f"dice/{name}"] = (
            f"Dice of {name} from the pixels of all images together.{left}",
            lambda w, p=place: pooled_dice(_weighted(counts, w), absent=cases.absent)[:, p],
        )
    return {
        name: _interval(statistic, overlaps, spec, seed) | {"definition": definition + suffix}
        for name, (definition, statistic) in scores.items()
    }


def summarise_by(
    overlaps: Overlaps, column: str, values: Mapping[str, str], spec: EvaluateSpec, *, seed: int = 0, note: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the summaries of each domain, part or source alone, as `METRIC@COLUMN=VALUE`.

    Args:
        overlaps: of all images.
        column: what the images are divided by.
        values: image → its value; images without one are in no division.
        spec: as in `summarise`.
        seed: as in `summarise`.
        note: as in `summarise`.
    """
    scores: dict[str, dict[str, Any]] = {}
    for value in sorted({values[image] for image in overlaps.images if image in values}):
        inside = overlaps.only({image for image, own in values.items() if own == value})
        alone = f"Images whose {column.replace('_', ' ')} is {value} alone. {note}".strip()
        found = summarise(inside, spec, seed=seed, note=alone, each=False)
        scores |= {f"{metric}@{column}={value}": score for metric, score in found.items()}
    return scores


def _weighted(counts: Counts, weights: Array) -> Counts:
    return Counts(weights @ counts.tp, weights @ counts.fp, weights @ counts.fn)


def _interval(statistic: Any, overlaps: Overlaps, spec: EvaluateSpec, seed: int) -> dict[str, Any]:
    found = bootstrap(
        statistic,
        len(overlaps.images),
        groups=overlaps.groups,
        samples=spec.samples,
        confidence=spec.confidence,
        rng=np.random.default_rng((seed, 3)),
    )
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}

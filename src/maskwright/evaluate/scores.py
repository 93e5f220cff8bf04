"""From measured images to the per-image tables and the scores of a part, with bootstrap intervals over groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from maskwright.errors import DataError, problem
from maskwright.evaluate.measure import Measured, measure
from maskwright.metrics import (
    SUMMARIES,
    CalibrationCounts,
    Counts,
    Detections,
    EmptyCases,
    Evidence,
    dice,
    figures,
    iou,
    precision,
    recall,
)
from maskwright.metrics.evidence import PIXELS
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import bootstraps, paired_difference
from maskwright.types import Array, Categories, LabelMap, Probabilities

_COUNTS_ALONE = EvaluateSpec(families=())
GAINED = ("mean_dice", "pooled_miou")
"""Metrics whose paired differences are taken."""


@dataclass
class Overlaps:
    """Measured images, one by one: memory grows with images × categories, not with pixels.

    Attributes:
        categories: what the tables' rows and columns are.
        spec: which families are measured.
        images: names.
        groups: what is resampled together.
        folds: -1 held out, None where there are no folds.
        counts: of each image, (C,) each.
        measured: of each image, without its table.
        table: (C, C + 1) sum over the images.
    """

    categories: Categories
    spec: EvaluateSpec = _COUNTS_ALONE
    images: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    folds: list[int | None] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    table: Array | None = None

    def add(
        self,
        image: str,
        truth: LabelMap,
        prediction: LabelMap,
        *,
        group: str | None = None,
        fold: int | None = None,
        probabilities: Probabilities | None = None,
    ) -> None:
        """Measure one image; see `measure`."""
        found = measure(truth, prediction, self.categories, self.spec, probabilities=probabilities, where=image)
        self.put(image, found, group=group, fold=fold)

    def put(self, image: str, measured: Measured, *, group: str | None = None, fold: int | None = None) -> None:
        """Take in an image that was measured elsewhere."""
        self.images.append(image)
        self.groups.append(image if group is None else group)
        self.folds.append(fold)
        self.counts.append(Counts.from_table(measured.table))
        self.table = measured.table if self.table is None else self.table + measured.table
        self.measured.append(Measured(_NO_TABLE, measured.columns, measured.calibration, measured.detections))

    def only(self, images: Collection[str]) -> Overlaps:
        """Return those of some images, without the summed table."""
        kept = [k for k, image in enumerate(self.images) if image in images]
        columns = (self.images, self.groups, self.folds, self.counts, self.measured)
        return Overlaps(self.categories, self.spec, *([column[k] for k in kept] for column in columns))  # type: ignore[arg-type]

    def stacked(self) -> Counts:
        """Return counts of shape (images, C)."""
        return Counts.stack(self.counts)

    def evidence(self) -> Evidence:
        """Return what the scores of these images are made of."""
        counts, first = self.stacked(), self.measured[0]
        columns = {name: getattr(counts, name) for name in PIXELS}
        columns |= {name: np.stack([one.columns[name] for one in self.measured]) for name in first.columns}
        bins = [one.calibration for one in self.measured if one.calibration is not None]
        return Evidence(columns, CalibrationCounts.stack(bins) if bins else None, self._detections())

    def _detections(self) -> Detections | None:
        """Return the instances of all images, None where they have no scores."""
        found = [one.detections for one in self.measured if one.detections is not None]
        without = [name for name, one in zip(self.images, self.measured, strict=True) if one.detections is None]
        if found and without and any(len(one.score) for one in found):
            raise DataError(
                problem(
                    "scores for the predicted instances of all images, or for none",
                    f"none in {len(without)} of {len(self.images)}: {', '.join(without[:5])}",
                    where="the prediction",
                    next_move="add the missing scores, or leave all out: AP is then not computed",
                )
            )
        return Detections.join(found) if found and not without else None


_NO_TABLE = np.zeros((0, 1), np.int64)

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
"""Columns that are always there."""

CALIBRATION_SCHEMA = {
    "image": pl.String,
    "part": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
    "pixels": pl.Int64,
    "right": pl.Int64,
    "confidence": pl.Float64,
}
"""A row an image and bin of confidence: its ends, its pixels, the right ones, the sum of their confidences."""


def per_image_table(overlaps: Overlaps, spec: EvaluateSpec, part: str) -> pl.DataFrame:
    """Return a row an image and category: `PER_IMAGE_SCHEMA`, then a column for each number of the families."""
    evidence, cases = overlaps.evidence(), EmptyCases.of(spec)
    counts, size = evidence.counts, len(overlaps.categories)
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
    columns |= {name: values.ravel() for name, values in evidence.columns.items() if name not in PIXELS}
    table = pl.DataFrame(columns, schema_overrides=PER_IMAGE_SCHEMA)
    floats = [name for name, kind in table.schema.items() if kind == pl.Float64]
    return table.with_columns(pl.col(floats).fill_nan(None))  # absent is null in a table, NaN in memory


def calibration_table(overlaps: Overlaps, part: str) -> pl.DataFrame:
    """Return `CALIBRATION_SCHEMA`, without rows where no probabilities were measured."""
    counts = overlaps.evidence().calibration
    if counts is None:
        return pl.DataFrame(schema=CALIBRATION_SCHEMA)
    images, bins = counts.pixels.shape
    edges = np.arange(bins + 1) / bins
    columns = {
        "image": pl.Series(overlaps.images, dtype=pl.String).gather(np.repeat(np.arange(images), bins)),
        "part": [part] * (images * bins),
        "low": np.tile(edges[:-1], images),
        "high": np.tile(edges[1:], images),
        "pixels": counts.pixels.ravel(),
        "right": counts.right.ravel(),
        "confidence": counts.confidence.ravel(),
    }
    return pl.DataFrame(columns, schema=CALIBRATION_SCHEMA)


def summarise(
    overlaps: Overlaps, spec: EvaluateSpec, *, seed: int = 0, note: str = "", each: bool = True
) -> dict[str, dict[str, Any]]:
    """Return {metric: value, low, high, n, definition} of a part: summaries, then `iou/NAME` and the like.

    Args:
        overlaps: at least one image.
        spec: definitions, empty cases, resamples, level.
        seed: of the bootstrap.
        note: added to each definition, such as how the predictions were made.
        each: also score each category.
    """
    found = list(figures(overlaps.evidence(), overlaps.categories, spec, each=each))
    suffix = f" {note}" if note else ""
    intervals = bootstraps(
        lambda weights: np.concatenate([part.function(weights) for part in found], axis=1),
        len(overlaps.images),
        groups=overlaps.groups,
        samples=spec.samples,
        confidence=spec.confidence,
        rng=np.random.default_rng((seed, 3)),
    )
    names = [name for part in found for name in part.names]
    definitions = [definition + suffix for part in found for definition in part.definitions]
    return {
        name: vars(interval) | {"definition": definition}
        for name, interval, definition in zip(names, intervals, definitions, strict=True)
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


def gains(after: Overlaps, before: Overlaps, spec: EvaluateSpec, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return {metric: value, low, high, n} of `GAINED`: the second's scores taken from the first's, image by image.

    Args:
        after: measured images.
        before: the same images, in the same order, otherwise predicted.
        spec: empty cases, resamples, level.
        seed: of the bootstrap.
    """
    assert after.images == before.images
    positions, cases = after.categories.evaluated, EmptyCases.of(spec)
    counts = after.evidence().counts, before.evidence().counts
    found = {}
    for metric in GAINED:
        function = SUMMARIES[metric].function
        one, other = (lambda weights, c=c, f=function: f(c, positions, weights, cases) for c in counts)
        n, rng = len(after.images), np.random.default_rng((seed, 3))
        options: dict[str, Any] = {"groups": after.groups, "samples": spec.samples, "confidence": spec.confidence}
        found[metric] = dict(vars(paired_difference(one, other, n, rng=rng, **options)))
    return found

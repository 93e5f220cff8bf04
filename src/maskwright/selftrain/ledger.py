"""The ledger of pseudo-labels: of each image and category what was predicted, kept and how right that may be."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.artifacts import atomic
from maskwright.types import IGNORE, Array, LabelMap, Probabilities

BINS = 20
"""Of confidence, by which precision is estimated."""

_TOGETHER = 256
"""Images whose rows are held until they are written."""

LEDGER_SCHEMA: dict[str, Any] = {
    "round": pl.Int64,
    "fold": pl.Int64,
    "image": pl.String,
    "category": pl.String,
    "predicted": pl.Float64,
    "kept": pl.Float64,
    "threshold": pl.Float64,
    "confidence": pl.Float64,
    "precision": pl.Float64,
    "score": pl.Float64,
    "used": pl.Boolean,
    "pass": pl.Int64,
    "made_by": pl.List(pl.String),
    "objects": pl.Int64,
    "objects_kept": pl.Int64,
    "moved_by_votes": pl.Int64,
}
"""predicted: share of the image's pixels. kept: share of these that are learned from; null where there are none.
threshold: of this image and category. confidence: mean over what is predicted. precision: what share of the kept pixels
is right, estimated from out-of-fold predictions of the same category and confidence. score: by which the image was
ranked. used: whether the image is learned from. pass: 1, or 2 for images that were labelled anew. made_by: checkpoints
that made the label, relative to the run folder. Where objects are told apart, kept and precision are of what is learned
before objects vote, and there are: objects of the category, how many of them are learned from, and how many pixels the
votes of objects gave the category."""


@dataclass
class PrecisionTable:
    """How often predictions of a category and confidence were right on images with masks.

    Attributes:
        right: (C, `BINS`) pixels.
        all: (C, `BINS`) pixels.
    """

    right: npt.NDArray[np.int64]
    all: npt.NDArray[np.int64]

    @classmethod
    def of(cls, categories: int) -> PrecisionTable:
        """Return the table of nothing."""
        return cls(np.zeros((categories, BINS), np.int64), np.zeros((categories, BINS), np.int64))

    def add(self, probabilities: Probabilities, truth: LabelMap) -> None:
        """Count an image: (C, H, W) probabilities and the (H, W) truth, whose ignored pixels don't count."""
        known = truth != IGNORE
        label, confidence = probabilities.argmax(0)[known], probabilities.max(0)[known]
        place = label * BINS + _bin(confidence)
        self.all += _counted(place, self.all.shape)
        self.right += _counted(place[label == truth[known]], self.all.shape)

    def precision(self, kept: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the (C,) expected precision of pixels; NaN where nothing is known of any of them.

        Args:
            kept: (C, `BINS`) number of pixels by label and confidence.
        """
        known = self.all > 0
        rate = np.divide(self.right, self.all, out=np.zeros(self.all.shape), where=known)
        total = (kept * known).sum(axis=1)
        right = (kept * rate).sum(axis=1)
        return np.asarray(np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0))


def confidence_counts(label: LabelMap, confidence: Array, categories: int) -> npt.NDArray[np.int64]:
    """Return (C, `BINS`) pixels by label and confidence; ignored ones don't count."""
    kept = label != IGNORE
    return _counted(label[kept].astype(np.int64) * BINS + _bin(confidence[kept]), (categories, BINS))


def ledger_rows(
    *,
    names: Sequence[str],
    label: LabelMap,
    kept: LabelMap,
    confidence: Array,
    thresholds: npt.NDArray[np.float64],
    table: PrecisionTable,
    shared: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return the rows of an image, one a category.

    Args:
        names: of the categories.
        label: (H, W) the most probable category of each pixel.
        kept: (H, W) the label that is learned from, with `IGNORE`.
        confidence: (H, W).
        thresholds: (C,) of this image.
        table: of out-of-fold predictions.
        shared: the other columns, the same for all rows.
    """
    predicted = np.bincount(label.ravel(), minlength=len(names)).astype(np.float64)
    sure = np.bincount(label.ravel(), confidence.ravel(), len(names))
    counts = confidence_counts(kept, confidence, len(names))
    precision = table.precision(counts)
    return [
        shared
        | {
            "category": name,
            "predicted": predicted[p] / label.size,
            "kept": _ratio(counts[p].sum(), predicted[p]),
            "threshold": _known(thresholds[p]),
            "confidence": _ratio(sure[p], predicted[p]),
            "precision": _known(precision[p]),
        }
        for p, name in enumerate(names)
    ]


def write_ledger(path: Path, rows: Iterable[list[dict[str, Any]]], *, before: pl.LazyFrame | None = None) -> None:
    """Write a ledger as Parquet, whole or not at all; memory doesn't grow with the number of images.

    Args:
        path: of the file.
        rows: of each image, as `ledger_rows` returns them.
        before: what stands in front of these.
    """
    parts = path.with_suffix(".parts")
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    found = [pl.LazyFrame(schema=LEDGER_SCHEMA)] if before is None else [before]
    for number, images in enumerate(_batches(rows)):
        part = parts / f"{number}.parquet"
        pl.DataFrame([row for image in images for row in image], schema=LEDGER_SCHEMA).write_parquet(part)
        found.append(pl.scan_parquet(part))
    with atomic(path) as temporary:
        pl.concat(found).sink_parquet(temporary)
    shutil.rmtree(parts)


def _batches(rows: Iterable[list[dict[str, Any]]]) -> Iterator[list[list[dict[str, Any]]]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, _TOGETHER)):
        yield batch


def summary(ledger: pl.LazyFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each category what the labels of a round come to, over the images that are learned from.

    Keys: category, predicted (mean share of an image), kept (share of all that is predicted), precision (mean, weighted
    by what is kept). Null where there is nothing to say it of.

    Args:
        ledger: columns `LEDGER_SCHEMA`; read a part at a time, where it lies in files.
        names: of the categories.
    """
    weight = pl.col("predicted") * pl.col("kept").fill_null(0.0)
    known = pl.when(pl.col("precision").is_not_null()).then(weight)
    sums = (
        ledger.filter("used")
        .group_by("category")
        .agg(
            mean=pl.col("predicted").mean(),
            predicted=pl.col("predicted").sum(),
            kept=weight.sum(),
            known=known.sum(),
            right=(known * pl.col("precision")).sum(),
        )
    )
    found = {row["category"]: row for row in sums.collect().iter_rows(named=True)}
    return [_summed(name, found.get(name)) for name in names]


def _summed(name: str, row: dict[str, Any] | None) -> dict[str, Any]:
    row = row or {"mean": None, "predicted": 0.0, "kept": 0.0, "known": 0.0, "right": 0.0}
    kept, precision = _ratio(row["kept"], row["predicted"]), _ratio(row["right"], row["known"])
    return {"category": name, "predicted": row["mean"], "kept": kept, "precision": precision}


def _bin(confidence: Array) -> npt.NDArray[np.int64]:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _counted(places: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.bincount(places.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

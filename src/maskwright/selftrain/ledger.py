"""The ledger of pseudo-labels: of each image and category what was predicted, kept and how right that may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.types import IGNORE, Array, LabelMap, Probabilities

BINS = 20
"""Of confidence, by which precision is estimated."""

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
}
"""predicted: share of the image's pixels. kept: share of these that are learned from; null where there are none.
threshold: of this image and category. confidence: mean over what is predicted. precision: what share of the kept pixels
is right, estimated from out-of-fold predictions of the same category and confidence. score: by which the image was
ranked. used: whether the image is learned from. pass: 1, or 2 for images that were labelled anew. made_by: checkpoints
that made the label, relative to the run folder."""


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


def summary(ledger: pl.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each category what the labels of a round come to, over the images that are learned from.

    Keys: category, predicted (mean share of an image), kept (share of all that is predicted), precision (mean, weighted
    by what is kept).
    """
    used = ledger.filter(pl.col("used")).with_columns(weight=pl.col("predicted") * pl.col("kept").fill_null(0.0))
    found = []
    for name in names:
        rows = used.filter(pl.col("category") == name)
        known = rows.filter(pl.col("precision").is_not_null())
        weight = _sum(known, "weight")
        right = float((known["precision"] * known["weight"]).sum()) if known.height else 0.0
        found.append(
            {
                "category": name,
                "predicted": float(rows["predicted"].mean()) if rows.height else None,  # type: ignore[arg-type]
                "kept": _ratio(_sum(rows, "weight"), _sum(rows, "predicted")),
                "precision": _ratio(right, weight),
            }
        )
    return found


def _sum(rows: pl.DataFrame, column: str) -> float:
    return float(rows[column].sum())


def _bin(confidence: Array) -> npt.NDArray[np.int64]:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _counted(places: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.bincount(places.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

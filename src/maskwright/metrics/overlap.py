"""One overlap table of truth and prediction, and the counts that every pixel score is derived from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, MAX_CATEGORIES, Array, LabelMap

OverlapTable = npt.NDArray[np.int64]

_BLOCK = 1 << 20
"""Pixels counted at once: keeps the intermediate 8-byte integers at 8 MiB for images of any size."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels of each category that are right, wrongly predicted and missed. Counts add up; scores don't.

    Attributes:
        tp: (..., n) int64 pixels (float64 after weighting): truth and prediction are the category.
        fp: same shape: the prediction is the category, the truth is another one.
        fn: same shape: the truth is the category, the prediction is another one or `IGNORE`.

    Pixels whose truth is `IGNORE` are in none of them.
    """

    tp: Array
    fp: Array
    fn: Array

    def __post_init__(self) -> None:
        assert self.tp.shape == self.fp.shape == self.fn.shape, "counts of one shape"

    @classmethod
    def from_table(cls, table: Array) -> Counts:
        """Read the counts off one overlap table or a stack of them.

        Args:
            table: (..., n, n + 1) int64, as `overlap_table` returns it.
        """
        n = table.shape[-2]
        right = np.diagonal(table, axis1=-2, axis2=-1).copy()
        return cls(right, table[..., :n].sum(axis=-2) - right, table.sum(axis=-1) - right)

    @classmethod
    def stack(cls, items: Sequence[Counts]) -> Counts:
        """Join the (n,) counts of images into (images, n)."""
        return cls(*(np.stack([getattr(item, name) for item in items]) for name in ("tp", "fp", "fn")))

    def pooled(self, weights: Array | None = None) -> Counts:
        """Return the (S, n) sums of resampled data sets.

        Args:
            weights: (S, images) multiplicity of each image in each resample; None: one row of ones.
        """
        if weights is None:  # stays in whole pixels
            return Counts(*(part.sum(axis=0, keepdims=True) for part in (self.tp, self.fp, self.fn)))
        return Counts(weights @ self.tp, weights @ self.fp, weights @ self.fn)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


def overlap_table(truth: LabelMap, prediction: LabelMap, n: int, *, where: str = "overlap_table") -> OverlapTable:
    """Count the pixels of every pair of true and predicted category.

    The confusion matrix of the pixels whose truth is not `IGNORE`, with one column more: a prediction of `IGNORE`
    counts as a miss, as in cityscapesScripts `evalPixelLevelSemanticLabeling`.

    Args:
        truth: (H, W) uint8 map of category positions with `IGNORE`.
        prediction: the same for the prediction.
        n: number of categories, 1..254.
        where: the image's name, for error messages.

    Returns:
        (n, n + 1) int64 pixels: row = true position, column = predicted position, last column = predicted `IGNORE`.
        All zeros where there is no pixel or all are ignored.

    Raises:
        DataError: the maps have different shapes, aren't uint8, or hold values that are neither below `n` nor `IGNORE`.

    Example:
        >>> overlap_table(np.uint8([[0, 1, 1, 255]]), np.uint8([[0, 1, 255, 0]]), 2).tolist()
        [[1, 0, 0], [0, 1, 1]]
    """
    assert 1 <= n <= MAX_CATEGORIES, "categories fit a uint8 map"
    _check_arrays(truth, prediction, where)
    joint = _joint_histogram(truth.ravel(), prediction.ravel())
    _check_values(joint, n, where)
    return joint[:n, [*range(n), IGNORE]]


def _check_arrays(truth: Array, prediction: Array, where: str) -> None:
    if truth.shape == prediction.shape and truth.dtype == prediction.dtype == np.uint8:
        return
    raise DataError(
        problem(
            "truth and prediction as uint8 maps of one shape",
            f"{truth.dtype} {truth.shape} and {prediction.dtype} {prediction.shape}",
            where=where,
            next_move="convert both to category positions (uint8) at the truth's size",
        )
    )


def _joint_histogram(truth: LabelMap, prediction: LabelMap) -> OverlapTable:
    joint = np.zeros(1 << 16, np.int64)
    for start in range(0, truth.size, _BLOCK):
        pairs = truth[start : start + _BLOCK].astype(np.uint16)
        pairs <<= 8
        pairs |= prediction[start : start + _BLOCK]
        joint += np.bincount(pairs, minlength=1 << 16)
    return joint.reshape(256, 256)


def _check_values(joint: OverlapTable, n: int, where: str) -> None:
    if not (joint[n:IGNORE].any() or joint[:, n:IGNORE].any()):
        return
    found = _unknown(joint.sum(axis=1), n, "truth") + _unknown(joint.sum(axis=0), n, "prediction")
    raise DataError(
        problem(
            f"category positions 0..{n - 1} or {IGNORE} for ignored pixels",
            ", ".join(found),
            where=where,
            next_move="map the mask values to categories (data.categories) before scoring",
        )
    )


def _unknown(pixels: Array, n: int, side: str) -> list[str]:
    return [f"{value} ({pixels[value]} px) in the {side}" for value in range(n, IGNORE) if pixels[value]]

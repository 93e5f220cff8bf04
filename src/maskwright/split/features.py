"""What should be alike in every fold: a table of images × features, in families that count the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

FAMILIES = ("pixel share", "presence", "area bins", "object sizes")
"""Kinds of features beside the number of images."""

PIXELS_OF = "pixels of "
"""What the names of the features of the pixel share begin with; the category follows."""

_QUANTILES = (0.25, 0.5, 0.75)

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Features of images.

    Attributes:
        values: (N, J) float64, each 0..1: of a pixel share its value, of everything else whether it holds (0 or 1).
        names: of the features, as people read them.
        families: (J,) position in `FAMILIES` of each.
    """

    values: Matrix
    names: tuple[str, ...]
    families: npt.NDArray[np.int64]


def measure(contents: pl.DataFrame, names: Sequence[str], area_bins: Sequence[float]) -> Features:
    """Return the features of labelled images; those that are the same in every image say nothing and are left out.

    Args:
        contents: a row an image; columns pixels (C pixel counts), and optionally objects (how many) and median_area
            (of these, in pixels; null without any).
        names: of the C categories.
        area_bins: inner borders of the bins of a category's share of an image, ascending; a bin holds its lower
            border and not its upper one.
    """
    pixels = np.array(contents["pixels"].to_list(), np.float64).reshape(contents.height, len(names))
    shares = pixels / np.maximum(pixels.sum(1, keepdims=True), 1)
    columns = [(0, PIXELS_OF + name, shares[:, c]) for c, name in enumerate(names)]
    columns += [(1, f"images with {name}", pixels[:, c] > 0) for c, name in enumerate(names)]
    for c, name in enumerate(names):
        columns += [(2, f"{name} on {words} of the image", inside) for words, inside in _bins(shares[:, c], area_bins)]
    for column, words in (("median_area", "median object area of {} px"), ("objects", "{} objects")):
        if column in contents.columns:
            columns += [(3, words.format(where), inside) for where, inside in _quarters(contents[column])]
    kept = [
        (family, name, np.asarray(column, np.float64))
        for family, name, column in columns
        if column.min() < column.max()
    ]
    values = np.stack([column for *_, column in kept], 1) if kept else np.zeros((contents.height, 0))
    return Features(values, tuple(name for _, name, _ in kept), np.array([family for family, *_ in kept], np.int64))


def _bins(shares: Matrix, borders: Sequence[float]) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return (words, which images) of each bin."""
    edges = [0.0, *borders, 1.0]
    place = np.digitize(shares, borders)
    return [(f"{100 * low:g}–{100 * high:g} %", place == k) for k, (low, high) in enumerate(pairwise(edges))]


def _quarters(column: pl.Series) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return (words, which images) of the quarters by a number's quantiles; images without the number are in none."""
    known = column.drop_nulls().to_numpy()
    if not len(known):
        return []
    borders = np.unique(np.quantile(known, _QUANTILES))
    place = np.digitize(column.fill_null(0).to_numpy(), borders)
    place[column.is_null().to_numpy()] = -1
    edges = [known.min(), *borders, known.max()]
    return [(f"{low:.4g} to {high:.4g}", place == k) for k, (low, high) in enumerate(pairwise(edges))]

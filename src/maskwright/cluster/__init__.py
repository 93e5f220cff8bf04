"""Instances from pixel embeddings: clusterings, inside masks. One literal table from spec type to builder.

Everything takes and returns NumPy arrays; with `device="cuda"` (or any other device of torch) what touches all pixels
is computed there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskwright.cluster.borders import join_across
from maskwright.cluster.density import hdbscan
from maskwright.cluster.linkage import agglomerative
from maskwright.cluster.masked import Clusterer, cluster_pixels, cluster_things
from maskwright.cluster.modes import Modes, mean_shift, merge_near
from maskwright.cluster.points import Indices
from maskwright.cluster.stable import Balls, anchor_balls, anchor_ious, stable_instances
from maskwright.recipe.cluster import (
    AgglomerativeSpec,
    ClusterSpec,
    HdbscanSpec,
    MeanShiftPlusSpec,
    MeanShiftSpec,
    ShiftSpec,
)
from maskwright.recipe.embedding import EmbeddingLossSpec
from maskwright.recipe.margin import Margin
from maskwright.types import Array

__all__ = [
    "CLUSTERERS",
    "Balls",
    "Clusterer",
    "Modes",
    "agglomerative",
    "anchor_balls",
    "anchor_ious",
    "build_clusterer",
    "cluster_pixels",
    "cluster_things",
    "hdbscan",
    "join_across",
    "mean_shift",
    "merge_near",
    "stable_instances",
]


def _stated(margin: Margin | None) -> float:
    assert isinstance(margin, float | int), "distances are filled in, and stand still"
    return float(margin)


def _mean_shift(points: Array, spec: ShiftSpec, device: str | None) -> Indices:
    return mean_shift(
        points,
        _stated(spec.bandwidth),
        seeding=spec.seeding,
        seeds=spec.seeds,
        sample=spec.sample,
        seed=spec.seed,
        device=device,
    ).labels


def _mean_shift_plus(points: Array, spec: MeanShiftPlusSpec, device: str | None) -> Indices:
    labels = _mean_shift(points, spec, device)
    return merge_near(points, labels, _stated(spec.merge), largest_apart=spec.largest_apart)


def _agglomerative(points: Array, spec: AgglomerativeSpec, device: str | None) -> Indices:
    return agglomerative(points, _stated(spec.threshold), sample=spec.sample, seed=spec.seed, device=device)


def _hdbscan(points: Array, spec: HdbscanSpec, device: str | None) -> Indices:
    return hdbscan(
        points,
        min_cluster_size=spec.min_cluster_size,
        epsilon=_stated(spec.epsilon),
        single=spec.single,
        sample=spec.sample,
        seed=spec.seed,
        device=device,
    )


CLUSTERERS: dict[type, Callable[[Array, Any, str | None], Indices]] = {
    MeanShiftSpec: _mean_shift,
    MeanShiftPlusSpec: _mean_shift_plus,
    AgglomerativeSpec: _agglomerative,
    HdbscanSpec: _hdbscan,
}


def build_clusterer(spec: ClusterSpec, *, progress: float = 1.0, device: str | None = None) -> Clusterer:
    """Return what parts (N, E) points into (N,) labels from 0 on, −1 for points of no cluster.

    Args:
        spec: which method; distances that are null are by the default margins of `EmbeddingLossSpec`.
        progress: of the training, from 0 to 1, for margins that change over it.
        device: None: NumPy; else where torch computes, such as "cuda".

    Example:
        >>> import numpy as np
        >>> build_clusterer(MeanShiftPlusSpec(merge=2.0))(np.array([[0.0], [0.0], [1.5], [9.0]])).tolist()
        [0, 0, 0, 1]
    """
    margins = EmbeddingLossSpec()
    whole = spec.within(margins.pull_margin, margins.push_margin).at(progress)
    method = CLUSTERERS[type(spec)]
    return lambda points: method(points, whole, device)

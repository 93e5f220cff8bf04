"""HDBSCAN of a sample of points; the others go where the nearest of these went."""

from __future__ import annotations

import numpy as np

from maskwright.cluster.device import points_on
from maskwright.cluster.points import Indices, scaled
from maskwright.types import Array


def hdbscan(
    points: Array,
    *,
    min_cluster_size: int = 50,
    epsilon: float = 0.5,
    single: bool = True,
    sample: int = 5000,
    seed: int = 0,
    device: str | None = None,
) -> Indices:
    """Cluster by scikit-learn's HDBSCAN.

    Args:
        points: (N, E) float.
        min_cluster_size: fewest points of a cluster. With a sample, as many times fewer as that has fewer points, but
            at least 2.
        epsilon: clusters nearer than this are not parted.
        single: one cluster may be all there is; without, points of one instance alone are all noise.
        sample: points that are clustered, drawn at random where there are more.
        seed: of the sample.
        device: where the other points' nearest ones are looked for, as of `mean_shift`.

    Returns:
        (N,) int64 labels from 0 on, −1 for noise. Fewer points than `min_cluster_size` are noise, points that are all
        equal one cluster.

    Raises:
        DataError: values that aren't finite.
    """
    away, _ = scaled(points, epsilon)
    if len(away) < min_cluster_size:
        return np.full(len(away), -1, np.int64)
    if not away.any():
        return np.zeros(len(away), np.int64)
    if len(away) <= sample:
        return _clustered(away, min_cluster_size, single)
    drawn = np.sort(np.random.default_rng(seed).choice(len(away), sample, replace=False))
    fewest = max(2, round(min_cluster_size * sample / len(away)))
    labels = _clustered(away[drawn], fewest, single)
    return labels[points_on(away, device).nearest(away[drawn])]


def _clustered(away: Array, fewest: int, single: bool) -> Indices:
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(
        min_cluster_size=fewest, cluster_selection_epsilon=1.0, allow_single_cluster=single, copy=True
    ).fit_predict(away)
    return np.asarray(found, np.int64)

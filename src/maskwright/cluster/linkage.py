"""Average linkage of a sample of points; the others go to the nearest mean."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from maskwright.cluster.device import points_on
from maskwright.cluster.modes import cluster_means
from maskwright.cluster.points import Indices, scaled
from maskwright.types import Array


def agglomerative(
    points: Array, threshold: float, *, sample: int = 2000, seed: int = 0, device: str | None = None
) -> Indices:
    """Merge the two nearest clusters, again and again, while the mean distance of their points is below a threshold.

    Args:
        points: (N, E) float.
        threshold: clusters whose mean distance reaches it stay apart.
        sample: points that are linked, drawn at random where there are more. Memory is 8 bytes for each pair of them.
            The other points go to the cluster whose mean is nearest.
        seed: of the sample.
        device: where the other points' nearest means are looked for, as of `mean_shift`.

    Returns:
        (N,) int64 labels from 0 on, in the order of the clusters' first points; one cluster for one point.

    Raises:
        DataError: values that aren't finite.

    Example:
        >>> agglomerative(np.array([[0.0], [1.0], [4.0]]), 2.0).tolist()
        [0, 0, 1]
    """
    away, _ = scaled(points, threshold)
    if len(away) < 2:
        return np.zeros(len(away), np.int64)
    many = len(away) > sample
    drawn = np.sort(np.random.default_rng(seed).choice(len(away), sample, replace=False)) if many else slice(None)
    few = away[drawn].astype(np.float64)
    if len(few) < 2:
        return np.zeros(len(away), np.int64)
    labels = fcluster(linkage(few, "average"), np.nextafter(1.0, 0.0), "distance")
    _, first, owner = np.unique(labels, return_index=True, return_inverse=True)
    owner = np.argsort(np.argsort(first))[owner].astype(np.int64)
    if not many:
        return owner
    return points_on(away, device).nearest(cluster_means(few, owner, len(first)).astype(away.dtype))

"""Mean-shift with a flat kernel, and its merging by mean distance.

The modes are looked for in a sample, where many centres move together by products of matrices. Only the assignment sees
every point, so time is linear in them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from maskwright.cluster.device import points_on
from maskwright.cluster.points import Floats, Indices, Points, scaled
from maskwright.types import Array

STILL = 1e-3
"""Bandwidths below which a shift is the last, as scikit-learn has it."""
ITERATIONS = 300
_LOST = 3.0
"""Bandwidths: points farther from all centres start some of their own. The loss keeps means 4 of the default bandwidth
apart, and by default those nearer than 3 are merged: what is lost within these makes no difference."""
_MET = 0.1
"""Bandwidths: centres on their way that come nearer go on as one."""
_FEW, _COMPARED = 32, 4096
"""Centres between which all pairs are compared: fewer are moved in less time than it takes to compare them."""
_ROWS = 64
"""Centres that are compared with all others at once."""

Seeding = Literal["bins", "farthest", "random"]


class Modes(NamedTuple):
    """What mean-shift found, by support, the largest first.

    Attributes:
        centres: (K, E) float64.
        support: (K,) int64 points of the sample within a bandwidth of each.
        labels: (N,) int64, the nearest centre of each point.
    """

    centres: Floats
    support: Indices
    labels: Indices


def mean_shift(
    points: Array,
    bandwidth: float,
    *,
    seeding: Seeding = "bins",
    seeds: int = 8192,
    sample: int = 32768,
    seed: int = 0,
    device: str | None = None,
) -> Modes:
    """Find the places where points are densest, and the nearest of these for each point.

    Every centre moves to the mean of the points within a bandwidth until it moves by less than 1e-3 bandwidths, or 300
    times. Of centres within a bandwidth of each other, the one with the most points stays.

    Args:
        points: (N, E) float.
        bandwidth: radius of the ball.
        seeding: where centres start. "bins": at the corners of a grid as wide as the bandwidth that a point is nearest
            to, as of scikit-learn's `bin_seeding`. "farthest": at points far from one another, until each point of the
            sample is within half a bandwidth of one. "random": at random points. In many dimensions all points of a
            cluster may be farther than a bandwidth from their corner, which is lost in scikit-learn; here, whatever
            the seeds, points of the sample that are farther than 3 bandwidths from all modes start centres like
            "farthest" once more.
        seeds: most centres that start; of bins those with the most points.
        sample: points that modes are looked for among, drawn at random where there are more.
        seed: of the sample and of random seeds; the same seed gives the same modes.
        device: None: NumPy; else where torch computes, such as "cuda".

    Returns:
        The modes; none for no points.

    Raises:
        DataError: values that aren't finite.

    Example:
        >>> found = mean_shift(np.array([[0.0], [0.1], [3.0]]), 0.5)
        >>> found.centres.ravel().round(2).tolist(), found.labels.tolist()
        ([0.05, 3.0], [0, 0, 1])
    """
    if len(points) == 0:
        return Modes(np.zeros((0, points.shape[1])), np.zeros(0, np.int64), np.zeros(0, np.int64))
    away, mean = scaled(points, bandwidth)
    rng = np.random.default_rng(seed)
    drawn = away if len(away) <= sample else away[_drawn(len(away), sample, rng)]
    few = points_on(drawn, device)
    if seeding == "bins":
        centres, near = _bins(drawn, mean / bandwidth, seeds)
        centres, support = _climbed(few, *points_on(near, device).shifted(centres))
    else:
        chosen = _drawn(len(few), seeds, rng) if seeding == "random" else few.spread(seeds, 0.5)
        centres, support = _climbed(few, *few.shifted(drawn[chosen]))
    centres, support = _suppressed(centres, support)
    if len(lost := _lost(drawn, few, centres)):
        chosen = lost[points_on(drawn[lost], device).spread(seeds, 0.5)]
        more = _climbed(few, *few.shifted(drawn[chosen]))
        centres, support = _suppressed(*(np.concatenate(pair) for pair in zip((centres, support), more, strict=True)))
    labels = (few if len(drawn) == len(away) else points_on(away, device)).nearest(centres)
    return Modes(centres * float(bandwidth) + mean, support, labels)


def merge_near(points: Array, labels: Indices, distance: float, *, largest_apart: bool = False) -> Indices:
    """Merge clusters whose means are near: mean-shift+ (Wolny et al. 2022).

    From the largest cluster to the smallest, a cluster goes to the nearest of those kept so far if their means are
    nearer than the distance, and is kept otherwise. Means are those of the clusters before any merging.

    Args:
        points: (N, E) float.
        labels: (N,) integers from 0 on; below 0: no cluster.
        distance: means that are nearer are of one instance.
        largest_apart: the largest cluster takes no other, as in the published code, where it is the background. Without
            background in the mask it would be an instance like others, so by default it isn't treated apart.

    Returns:
        (N,) int64 labels from 0 on, the cluster that was the largest before merging first; below 0 stays −1.

    Example:
        >>> merge_near(np.array([[0.0], [0.0], [1.0], [9.0]]), np.array([0, 0, 2, 1]), 1.5).tolist()
        [0, 0, 0, 1]
    """
    inside = labels >= 0
    ids, owner = np.unique(labels[inside], return_inverse=True)
    sizes = np.bincount(owner, minlength=len(ids))
    means = cluster_means(points[inside], owner, len(ids))
    goes_to = np.empty(len(ids), np.int64)
    kept: list[int] = []
    for cluster in np.lexsort((ids, -sizes)):
        others = kept[1:] if largest_apart else kept
        away = np.linalg.norm(means[others] - means[cluster], axis=1)
        if len(others) and away.min() < distance:
            goes_to[cluster] = goes_to[others[int(away.argmin())]]
        else:
            goes_to[cluster] = len(kept)
            kept.append(int(cluster))
    merged = np.full(len(labels), -1, np.int64)
    merged[inside] = goes_to[owner]
    return merged


def cluster_means(points: Array, owner: Indices, count: int) -> Floats:
    """Return the (count, E) float64 means of the points of each owner 0..count − 1; NaN for one without points."""
    sizes = np.bincount(owner, minlength=count)
    sums = np.stack([np.bincount(owner, column, count) for column in points.T], axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / sizes[:, None])


def _drawn(size: int, most: int, rng: np.random.Generator) -> Indices:
    return np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))


def _lost(drawn: Floats, points: Points, centres: Floats) -> Indices:
    """Return which of the points that were drawn are too far from every centre to be of one."""
    if len(centres) == 0:
        return np.arange(len(drawn))
    away = drawn - centres[points.nearest(centres)]
    return np.flatnonzero(np.einsum("ne,ne->n", away, away) > _LOST**2)


def _bins(points: Floats, offset: Floats, most: int) -> tuple[Floats, Floats]:
    """Return the corners (S, E) that points (N, E) are nearest to, in the order of the points, and what is near any.

    A corner is where `points + offset` would be whole numbers. A point that isn't within 1 of its own corner isn't
    within 1 of any other; in many dimensions that is so of most.

    A sum of coordinates times large odd numbers stands for a corner: two of a million share it with a probability of
    3e-8, and then one of them starts no centre.
    """
    corners = np.round(points + offset)
    factors = np.random.default_rng(0).integers(1 << 62, size=points.shape[1]) | 1
    whole = np.clip(corners, -(2.0**62), 2.0**62).astype(np.int64)
    _, first, counts = np.unique(whole @ factors, return_index=True, return_counts=True)
    own = (corners - offset).astype(points.dtype)
    near = points[np.square(points - own).sum(axis=1) <= 1.001]
    return own[np.sort(first[np.argsort(-counts, kind="stable")[:most]])], near


def _climbed(points: Points, means: Floats, counts: Indices) -> tuple[Floats, Indices]:
    """Return where centres come to rest, and the points within 1 of each where it was before its last shift.

    Args:
        points: that they climb among.
        means: (S, E), where the first shift brought them.
        counts: (S,) points that these are the means of; what no point is near is left out.
    """
    resting, support = [means[:0]], [counts[:0]]
    centres = means[counts > 0]
    for last in range(ITERATIONS - 1, 0, -1):
        means, counts = points.shifted(centres)
        met = counts > 0  # rounding may lose the only point
        means, counts, centres = means[met], counts[met], centres[met]
        still = (np.square(means - centres).sum(axis=1) < STILL**2) | (last == 1)
        resting.append(means[still])
        support.append(counts[still])
        centres = _thinned(means[~still], counts[~still])
        if len(centres) == 0:
            break
    return np.concatenate(resting), np.concatenate(support)


def _thinned(centres: Floats, counts: Indices) -> Floats:
    """Return centres on their way without those that have nearly met one with more points: both go the same way."""
    if not _FEW < len(centres) <= _COMPARED:
        return centres
    order = np.argsort(-counts, kind="stable")
    ordered = centres[order]
    half = np.einsum("se,se->s", ordered, ordered) / 2 - _MET**2 / 4
    goes = np.zeros(len(ordered), bool)
    for start in range(0, len(ordered), _ROWS):
        rows = slice(start, start + _ROWS)
        near = ordered[rows] @ ordered[: rows.stop].T
        near -= half[: rows.stop]
        # a centre goes if one before it has met it, even one that goes itself
        goes[rows] = np.tril(near >= half[rows, None], start - 1).any(axis=1)
    return centres[order[~goes]]


def _suppressed(centres: Floats, support: Indices) -> tuple[Floats, Indices]:
    """Return the centres by support without those within 1 of a better one."""
    order = np.lexsort((*centres.T[::-1], support))[::-1]
    centres, support = centres[order], support[order]
    free = np.ones(len(centres), bool)
    kept = []
    for row in range(len(centres)):
        if free[row]:
            kept.append(row)
            free &= np.square(centres - centres[row]).sum(axis=1) > 1
    return centres[kept], support[kept]

"""Instances that touch, and whether their embeddings step where they do: without a step there are not two."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from maskwright.cluster.points import Floats, Indices
from maskwright.labels import InstanceMap, relabel_consecutive
from maskwright.types import Array

_ACROSS = 2
"""Pixels between the two sides: those beside an edge are a mixture of both."""


def join_across(instances: InstanceMap, embeddings: Array, least: float) -> InstanceMap:
    """Join instances that touch where their embeddings don't step from one to the other.

    A network that isn't trained to the end lets embeddings drift across an object, and a clustering cuts the drift
    somewhere. Of each border the mean distance is taken between the embeddings of pixels on both sides of it, two apart
    along a row or a column, with one of the two instances between. From the lowest on, what lies below `least` joins
    the two, and their other borders are counted together.

    Args:
        instances: (H, W) int32 ids, 0 for none.
        embeddings: (E, H, W) float; looked at along borders alone.
        least: a step as large parts two instances; 0: nothing is joined.

    Returns:
        (H, W) int32, ids from 1 on in the order of the smallest id that was joined.

    Example:
        >>> drift = np.array([[[0.0, 0.0, 0.4, 0.8, 0.8, 3.0, 3.0]]])
        >>> join_across(np.int32([[1, 1, 1, 2, 2, 3, 3]]), drift, 1.0).tolist()
        [[1, 1, 1, 1, 1, 2, 2]]
    """
    if least <= 0 or instances.max(initial=0) < 2:
        return relabel_consecutive(instances)
    pairs, sums, counts = _borders(instances, embeddings)
    goes = np.arange(int(instances.max()) + 1, dtype=np.int32)
    near: dict[int, dict[int, tuple[float, int]]] = {}
    for (one, other), total, count in zip(pairs.tolist(), sums.tolist(), counts.tolist(), strict=True):
        near.setdefault(one, {})[other] = near.setdefault(other, {})[one] = total, count
    steps = [(sums[row] / counts[row], *pair) for row, pair in enumerate(pairs.tolist())]
    heapq.heapify(steps)
    while steps and steps[0][0] < least:
        step, kept, gone = heapq.heappop(steps)
        total, count = near.get(kept, {}).get(gone, (np.inf, 1))
        if total / count != step:  # of a border that has grown or is gone since
            continue
        goes[gone] = kept
        for other, (more, length) in near.pop(gone).items():
            del near[other][gone]
            if other != kept:
                before = near[kept].get(other, (0.0, 0))
                near[kept][other] = near[other][kept] = both = before[0] + more, before[1] + length
                heapq.heappush(steps, (both[0] / both[1], min(kept, other), max(kept, other)))
    while (goes[goes] != goes).any():
        goes = goes[goes]
    return relabel_consecutive(goes[instances])


def _borders(instances: InstanceMap, embeddings: Array) -> tuple[Indices, Floats, Indices]:
    """Return the pairs (P, 2) of ids that face each other, rising, the sums of distances and the numbers of these."""
    found, distances = list[npt.NDArray[np.int64]](), list[Floats]()
    height, width = instances.shape
    for down, right in ((_ACROSS, 0), (0, _ACROSS)):
        one, other = instances[: height - down, : width - right], instances[down:, right:]
        between = instances[down // 2 : height - down // 2, right // 2 : width - right // 2]
        touching = (between == one) | (between == other)
        y, x = np.nonzero((one != other) & (one > 0) & (other > 0) & touching)
        away = embeddings[:, y, x] - embeddings[:, y + down, x + right]  # (E, n)
        distances.append(np.sqrt(np.square(away, dtype=np.float64).sum(axis=0)))
        found.append(np.sort(np.stack([one[y, x], other[y, x]], axis=1).astype(np.int64), axis=1))
    pairs, place = np.unique(np.concatenate(found), axis=0, return_inverse=True)
    counts = np.bincount(place.ravel(), minlength=len(pairs)).astype(np.int64)
    return pairs, np.bincount(place.ravel(), np.concatenate(distances), len(pairs)).astype(np.float64), counts

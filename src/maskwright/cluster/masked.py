"""Instances inside a mask: which pixels are clustered, which clusters are large enough, ids that no two share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from maskwright.cluster.points import Indices, check_finite
from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap
from maskwright.types import Array, LabelMap

Clusterer = Callable[[Array], Indices]
"""(N, E) points → (N,) labels from 0 on, below 0 for no cluster."""
Mask = npt.NDArray[np.bool_]


def cluster_pixels(
    embeddings: Array, mask: Mask | None, clusterer: Clusterer, *, minimum: int = 1, where: str = "cluster_pixels"
) -> InstanceMap:
    """Part the pixels of a mask into instances.

    Args:
        embeddings: (E, H, W) float. Values outside of the mask aren't looked at.
        mask: (H, W) bool, what is clustered; None: all pixels.
        clusterer: such as `build_clusterer` returns.
        minimum: fewest pixels of an instance; smaller ones are no instance. A mask with fewer isn't clustered.
        where: the image's name, for error messages.

    Returns:
        (H, W) int32, 0 for no instance, 1..K by area, the largest first. All 0 where the mask is empty. Constant
        embeddings are one instance.

    Raises:
        DataError: shapes that don't fit, or values in the mask that aren't finite.
    """
    _check(embeddings, mask, where)
    inside = np.ones(embeddings.shape[1:], bool) if mask is None else mask
    instances = np.zeros(inside.shape, np.int32)
    size = int(np.count_nonzero(inside))
    if size == 0 or size < minimum:
        return instances
    points = np.ascontiguousarray(embeddings[:, inside].T)
    check_finite(points, where)
    labels = clusterer(points)
    areas = np.bincount(labels[labels >= 0], minlength=1)
    order = np.argsort(-areas, kind="stable")
    ids = np.zeros(len(areas) + 1, np.int32)  # the last is for labels below 0
    kept = order[areas[order] >= max(minimum, 1)]
    ids[kept] = np.arange(1, len(kept) + 1)
    instances[inside] = ids[np.where(labels < 0, len(areas), labels)]
    return instances


def cluster_things(
    embeddings: Array,
    label: LabelMap,
    things: Sequence[int],
    clusterer: Clusterer,
    *,
    minimum: int = 1,
    tidy: Callable[[InstanceMap, Mask], InstanceMap] | None = None,
    where: str = "cluster_things",
) -> InstanceMap:
    """Part the pixels of each category of things into instances, apart from those of other categories.

    Args:
        embeddings: (E, H, W) float.
        label: (H, W) uint8 map of category positions with `IGNORE`.
        things: positions of the categories that are things, each once.
        clusterer: as of `cluster_pixels`.
        minimum: fewest pixels of an instance.
        tidy: what is made of the instances (H, W) of one category, of which the mask is given, too; ids 1..K again.
        where: the image's name, for error messages.

    Returns:
        (H, W) int32, 0 for no instance; no id is in two categories. Ids rise with the place of the category in
        `things`, then as in `cluster_pixels`.

    Raises:
        DataError: as `cluster_pixels`.
    """
    instances = np.zeros(label.shape, np.int32)
    last = 0
    for category in things:
        mask = label == category
        own = cluster_pixels(embeddings, mask, clusterer, minimum=minimum, where=where)
        if tidy is not None:
            own = tidy(own, mask)
        found = own > 0
        instances[found] = own[found] + last
        last += int(own.max(initial=0))
    return instances


def _check(embeddings: Array, mask: Mask | None, where: str) -> None:
    fitting = mask is None or (mask.shape == embeddings.shape[1:] and mask.dtype == bool)
    if embeddings.ndim == 3 and embeddings.shape[0] > 0 and embeddings.dtype.kind == "f" and fitting:
        return
    given = "" if mask is None else f", mask {mask.dtype} {mask.shape}"
    raise DataError(
        problem(
            "(E, H, W) embeddings as floats and an (H, W) bool mask",
            f"{embeddings.dtype} {embeddings.shape}{given}",
            where=where,
            next_move="give both the image's size, the channels of the embedding first",
        )
    )

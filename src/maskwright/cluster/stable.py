"""Which instances a second network finds again: balls around pixels in its embedding against the instances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.cluster.modes import cluster_means
from maskwright.cluster.points import check_finite
from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap
from maskwright.types import Array

Mask = npt.NDArray[np.bool_]

_ANCHORS, _FEWEST = 20_000, 10
"""Pixels drawn of all instances of an image, and of each where they are many."""


def anchor_ious(
    instances: InstanceMap,
    embeddings: Array,
    radius: float,
    *,
    mask: Mask | None = None,
    regions: npt.NDArray[np.integer] | None = None,
    anchors: int = 100,
    seed: int = 0,
    where: str = "anchor_ious",
) -> npt.NDArray[np.float64]:
    """Return how well instances agree with another embedding of the same image.

    Of each instance up to `anchors` pixels are drawn without repetition. Around each, all pixels of the mask whose
    embedding is within the radius are a ball; its IoU with the instance tells whether the embedding has this instance.

    Args:
        instances: (H, W) int32 ids, 0 for none.
        embeddings: (E, H, W) float of the other network, such as the momentum network.
        radius: of the ball; δ_v of the loss.
        mask: (H, W) bool, pixels that a ball may hold, such as those of things; all pixels of instances are among them.
            None: all pixels.
        regions: (H, W) numbers of parts whose embeddings say nothing of each other, such as the connected components of
            the mask where distant instances may share an embedding: a ball holds pixels of its instance's, which is
            that of its first pixel. None: there is one.
        anchors: most pixels drawn of an instance; instances with fewer pixels give all of theirs. Of more than 200
            instances there are fewer, 20 000 in all, but 10 of each.
        seed: of the drawing.
        where: the image's name, for error messages.

    Returns:
        (K,) float64, of each id in rising order the median IoU, 0..1; empty where there is no instance.

    Raises:
        DataError: shapes that don't fit, or values that aren't finite in the mask.
    """
    _check(instances, embeddings, mask, where)
    inside = np.arange(instances.size) if mask is None else np.flatnonzero((instances > 0) | mask)
    owner = instances.ravel()[inside]
    part = np.zeros(len(owner), np.int64) if regions is None else _parts(owner, regions.ravel()[inside])
    order = np.lexsort((owner, part))
    inside, owner, part = inside[order], owner[order], part[order]
    points = np.ascontiguousarray(embeddings.reshape(len(embeddings), -1)[:, inside].T, np.float64)
    check_finite(points, where)
    points -= points.mean(axis=0) if len(points) else 0
    groups = _groups(points, owner, part)
    wanted = [k for k in np.argsort(groups.ids, kind="stable").tolist() if groups.ids[k] > 0]
    most, rng = min(anchors, max(_FEWEST, _ANCHORS // max(1, len(wanted)))), np.random.default_rng(seed)
    return np.array([_iou_of(k, points, groups, radius, most, rng) for k in wanted], np.float64)


def stable_instances(
    instances: InstanceMap,
    embeddings: Array,
    radius: float,
    *,
    iou: float = 0.6,
    mask: Mask | None = None,
    anchors: int = 100,
    seed: int = 0,
    where: str = "stable_instances",
) -> InstanceMap:
    """Keep the instances that another embedding has, too: those whose median IoU of `anchor_ious` is at least `iou`.

    Returns:
        (H, W) int32: the map with the other instances set to 0; ids stay.

    Raises:
        DataError: as `anchor_ious`.
    """
    found = anchor_ious(instances, embeddings, radius, mask=mask, anchors=anchors, seed=seed, where=where)
    ids = np.unique(instances)
    lost = ids[ids > 0][found < iou]
    return np.where(np.isin(instances, lost), np.int32(0), instances).astype(np.int32, copy=False)


class Balls(NamedTuple):
    """What lies around one pixel of each of some instances.

    Attributes:
        anchors: (K, 2) int64 rows and columns.
        balls: (K, H, W) bool, the pixels whose embedding is within the radius of the anchor's.
        ious: (K,) float64 IoU of each ball with its instance.
    """

    anchors: npt.NDArray[np.int64]
    balls: npt.NDArray[np.bool_]
    ious: npt.NDArray[np.float64]


def anchor_balls(
    instances: InstanceMap,
    embeddings: Array,
    radius: float,
    *,
    most: int = 6,
    mask: Mask | None = None,
    regions: npt.NDArray[np.int64] | None = None,
    where: str = "anchor_balls",
) -> Balls:
    """Return the balls of `anchor_ious` around one pixel of each of the largest instances, to be looked at.

    The pixel is the one whose embedding is nearest to the mean of its instance, the first of several.

    Args:
        instances: (H, W) int32 ids, 0 for none.
        embeddings: (E, H, W) float, finite in the mask and where instances are.
        radius: of the ball; δ_v of the loss.
        most: instances, by area; of two that are alike, the one with the lower id.
        mask: (H, W) bool, pixels that a ball may hold; all pixels of instances are among them. None: all pixels.
        regions: (H, W) numbers of parts whose embeddings say nothing of each other, as of several networks: a ball
            holds pixels of its anchor's. None: there is one.
        where: the image's name, for error messages.

    Raises:
        DataError: as `anchor_ious`.
    """
    _check(instances, embeddings, mask, where)
    ids, areas = np.unique(instances[instances > 0], return_counts=True)
    chosen = ids[np.argsort(-areas, kind="stable")[:most]]
    inside = np.ones(instances.shape, bool) if mask is None else mask | (instances > 0)
    points = embeddings[:, inside].T.astype(np.float64)
    check_finite(points, where)
    owner, places = instances[inside], np.argwhere(inside)
    part = np.zeros(len(owner), np.int64) if regions is None else regions[inside]
    anchors, balls = np.zeros((len(chosen), 2), np.int64), np.zeros((len(chosen), *instances.shape), bool)
    ious = np.zeros(len(chosen))
    for k, number in enumerate(chosen):
        own = owner == number
        at = np.flatnonzero(own)[np.square(points[own] - points[own].mean(axis=0)).sum(axis=1).argmin()]
        near = (np.square(points - points[at]).sum(axis=1) <= radius**2) & (part == part[at])
        anchors[k], balls[k, inside] = places[at], near
        ious[k] = np.count_nonzero(near & own) / np.count_nonzero(near | own)
    return Balls(anchors, balls, ious)


class _Groups(NamedTuple):
    """Pixels of an instance, or of none, in a region, which follow one another.

    Attributes:
        ids: (G,) of the instances, 0 for none.
        parts: (G,) regions.
        starts: (G,) first row.
        ends: (G,) row after the last.
        means: (G, E) of the embeddings.
        reach: (G,) largest distance from the mean.
    """

    ids: npt.NDArray[np.integer]
    parts: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    means: Array
    reach: npt.NDArray[np.float64]


def _groups(points: Array, owner: npt.NDArray[np.integer], part: npt.NDArray[np.int64]) -> _Groups:
    """Return the groups of (N, E) points that are sorted by region, then by instance."""
    starts = np.flatnonzero((np.diff(owner, prepend=-1) != 0) | (np.diff(part, prepend=-1) != 0))
    ends = np.append(starts, len(points))[1:]
    means = cluster_means(points, np.repeat(np.arange(len(starts)), ends - starts), len(starts))
    reach = np.array([_farthest(points[a:b], m) for a, b, m in zip(starts, ends, means, strict=True)])
    return _Groups(owner[starts], part[starts], starts, ends, means, reach)


def _parts(owner: npt.NDArray[np.integer], part: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the regions (N,) of pixels, of those of an instance that of its first one."""
    _, first, of = np.unique(owner, return_index=True, return_inverse=True)
    return np.where(owner > 0, part[first][of], part).astype(np.int64)


def _iou_of(k: int, points: Array, groups: _Groups, radius: float, most: int, rng: np.random.Generator) -> float:
    """Return the median IoU of the balls around pixels of a group with the group."""
    start, end = groups.starts[k], groups.ends[k]
    size = int(end - start)
    at = points[start + (np.arange(size) if size <= most else rng.choice(size, most, replace=False))]
    # a ball meets a group only if their middles are nearer than the sum of what each reaches
    away = np.linalg.norm(groups.means - groups.means[k], axis=1)
    near = (away <= radius + groups.reach + _farthest(at, groups.means[k])) & (groups.parts == groups.parts[k])
    runs = np.flatnonzero(np.diff(near, prepend=False, append=False)).reshape(-1, 2)
    balls = sum(_within(at, points[groups.starts[a] : groups.ends[b - 1]], radius) for a, b in runs)
    own = _within(at, points[start:end], radius)
    return float(np.median(own / (size + balls - own)))


def _farthest(points: Array, middle: Array) -> float:
    return float(np.sqrt(np.square(points - middle).sum(axis=1).max(initial=0)))


def _within(anchors: Array, points: Array, radius: float) -> npt.NDArray[np.int64]:
    """Return how many points are within the radius of each anchor."""
    counts = np.zeros(len(anchors), np.int64)
    step = max(1, (1 << 18) // max(1, len(anchors)))
    norms = np.einsum("ae,ae->a", anchors, anchors)[:, None]
    for start in range(0, len(points), step):
        part = points[start : start + step]
        square = norms - 2 * (anchors @ part.T) + np.einsum("ne,ne->n", part, part)
        counts += np.count_nonzero(square <= radius**2, axis=1)
    return counts


def _check(instances: InstanceMap, embeddings: Array, mask: Mask | None, where: str) -> None:
    masked = mask is None or (mask.shape == instances.shape and mask.dtype == bool)
    if embeddings.ndim == 3 and embeddings.shape[1:] == instances.shape and instances.dtype.kind in "iu" and masked:
        return
    given = "" if mask is None else f", mask {mask.dtype} {mask.shape}"
    raise DataError(
        problem(
            "(H, W) ids, (E, H, W) embeddings and an (H, W) bool mask",
            f"{instances.dtype} {instances.shape}, {embeddings.dtype} {embeddings.shape}{given}",
            where=where,
            next_move="take embeddings and instances of the same image, at the same size",
        )
    )

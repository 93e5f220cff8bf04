"""Near-duplicates among images, also flipped and turned: hashes propose, thumbnails decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maskwright.audit.hashing import Hashes, Thumbnail, distance
from maskwright.audit.neighbours import near_pair_blocks
from maskwright.augment.dihedral import DIHEDRAL, apply

_FLAT = 1e-4
"""A thumbnail is flat if it has a standard deviation of at most this share of its largest value."""

_CHUNK = 4096
"""Candidate pairs that are correlated at a time: 32 MiB of thumbnails."""

CROWD = 64
"""Images of the same picture up to which all pairs are listed."""

_TIE = 1e-6
"""Correlations closer than this are equal, so that a symmetric picture is not called turned by a rounding error."""


@dataclass(frozen=True)
class Duplicate:
    """Two images of the same picture.

    Attributes:
        first: position of one image.
        second: position of the other; larger than `first`.
        transform: `apply(second image, transform)` looks like the first image; one of `DIHEDRAL`.
        distance: bits by which the hashes differ under that transform.
        correlation: normalised cross-correlation of the thumbnails under that transform, -1..1; 1 for two flat
            images of one colour, for which it isn't defined.
    """

    first: int
    second: int
    transform: str
    distance: int
    correlation: float


def find_duplicates(
    thumbnails: npt.NDArray[np.float32], hashes: Hashes, *, radius: int = 6, correlation: float = 0.985
) -> list[Duplicate]:
    """Return the pairs of images that show the same picture, as it is, flipped or turned.

    Pairs whose hashes are near (`near_pairs`) are compared by the correlation of their thumbnails under all eight
    transforms; the best one counts. Flat images have no meaningful hash: they are duplicates of each other where their
    means are equal, and each is reported with the first of its kind only.

    All pairs are listed, but for crowds: where more than 64 images are connected already, directly or over others, a
    further pair among them is left out, so that 10 000 frames of a camera that stands still don't make 50 million. Of
    more than 64 images with the very same hashes, those that are duplicates of the first are listed with that one only.

    Args:
        thumbnails: (N, 32, 32) float32.
        hashes: (N, 8) uint64 of the same images.
        radius: bits, 0..64, by which hashes of duplicates may differ.
        correlation: from which a candidate is a duplicate.

    Returns:
        Duplicates sorted by `first`, then `second`; none for fewer than two images.
    """
    flat = _is_flat(thumbnails)
    groups = _Groups(len(thumbnails))
    found = _flat_duplicates(thumbnails, hashes, np.flatnonzero(flat))
    crowded, lively = _crowds(thumbnails, hashes, np.flatnonzero(~flat), correlation)
    groups.join(_ends(crowded))
    found += crowded
    for block in near_pair_blocks(hashes[lively], radius):
        for start in range(0, len(block), _CHUNK):
            candidates = lively[block[start : start + _CHUNK, :2]]
            known = groups.of(candidates)
            crowd = (known[:, 0] == known[:, 1]) & (groups.sizes[known[:, 0]] > CROWD)
            confirmed = _confirmed(thumbnails, hashes, candidates[~crowd], correlation)
            groups.join(_ends(confirmed))
            found += confirmed
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def clusters(n: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the groups of images that pairs connect, directly or over others.

    Args:
        n: number of images.
        pairs: positions in 0..n-1.

    Returns:
        Groups of at least two, each ascending, sorted by their first member.

    Example:
        >>> clusters(5, [(3, 1), (4, 3)])
        [[1, 3, 4]]
    """
    groups = _Groups(n)
    groups.join(np.array(list(pairs), np.int64).reshape(-1, 2))
    number = groups.of(np.arange(n))
    order = np.argsort(number, kind="stable")
    return [run.tolist() for run in _runs(order, np.diff(number[order]) > 0, 2)]


class _Groups:
    """Images that are connected, directly or over others; grows pair by pair, many at a time.

    Attributes:
        sizes: (n,) images in the group that is named by this image; of other images an old size.
    """

    def __init__(self, n: int) -> None:
        self.sizes = np.ones(n, np.int64)
        self._parents = np.arange(n, dtype=np.int64)

    def of(self, images: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the name of each image's group: its smallest member."""
        roots = self._parents[images]
        while not np.array_equal(above := self._parents[roots], roots):
            roots = above
        self._parents[images] = roots
        return roots

    def join(self, pairs: npt.NDArray[np.int64]) -> None:
        """Connect the two images of each of the pairs (P, 2)."""
        if len(pairs) == 0:
            return
        roots, ends = np.unique(self.of(pairs), return_inverse=True)
        links = coo_array((np.ones(len(pairs), bool), tuple(ends.reshape(-1, 2).T)), shape=(len(roots), len(roots)))
        _, first, number = np.unique(
            connected_components(links, directed=False)[1], return_index=True, return_inverse=True
        )
        self._parents[roots] = roots[first][number]
        self.sizes[roots[first]] = np.bincount(number, self.sizes[roots]).astype(np.int64)


def _ends(found: Sequence[Duplicate]) -> npt.NDArray[np.int64]:
    return np.array([(pair.first, pair.second) for pair in found], np.int64).reshape(-1, 2)


def _is_flat(thumbnails: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    spread = thumbnails.std(axis=(1, 2), dtype=np.float64)
    return np.asarray(spread <= _FLAT * np.abs(thumbnails).max(axis=(1, 2), initial=0))


def _flat_duplicates(
    thumbnails: npt.NDArray[np.float32], hashes: Hashes, positions: npt.NDArray[np.intp]
) -> list[Duplicate]:
    """Return each flat image with the first one of its value; a star and not all pairs, which would be many."""
    values = thumbnails[positions].mean(axis=(1, 2), dtype=np.float64)
    order = np.argsort(values, kind="stable")
    tolerance = 2 * _FLAT * np.abs(values[order])
    breaks = np.diff(values[order]) > tolerance[1:]
    groups = [np.sort(group) for group in _runs(positions[order], breaks, 2)]
    return [
        Duplicate(int(group[0]), int(other), "identity", int(distance(hashes[group[0], 0], hashes[other, 0])), 1.0)
        for group in groups
        for other in group[1:]
    ]


def _crowds(
    thumbnails: npt.NDArray[np.float32], hashes: Hashes, positions: npt.NDArray[np.intp], correlation: float
) -> tuple[list[Duplicate], npt.NDArray[np.intp]]:
    """Return duplicates among crowds with the same eight hashes, and the positions without those that are settled."""
    order = positions[np.lexsort(hashes[positions].T)]
    changes = (hashes[order[1:]] != hashes[order[:-1]]).any(axis=1)
    found: list[Duplicate] = []
    for alike in _runs(order, changes, CROWD + 1):
        rest = np.sort(alike)
        while len(rest) > CROWD:
            near = _confirmed(thumbnails, hashes, np.stack(np.broadcast_arrays(rest[0], rest[1:]), axis=1), correlation)
            rest = np.setdiff1d(rest[1:], [pair.second for pair in near])
            found += near
    return found, np.setdiff1d(positions, [pair.second for pair in found])


def _runs(order: npt.NDArray[np.intp], changes: npt.NDArray[np.bool_], least: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the runs of at least that many positions in `order`, where `changes` says between which one ends."""
    if len(order) == 0:
        return
    ends = np.append(np.flatnonzero(changes) + 1, len(order))
    starts = np.append(0, ends[:-1])
    for start, end in zip(starts[ends - starts >= least], ends[ends - starts >= least], strict=True):
        yield order[start:end]


def _confirmed(
    thumbnails: npt.NDArray[np.float32], hashes: Hashes, pairs: npt.NDArray[np.int64], correlation: float
) -> list[Duplicate]:
    """Return the duplicates among the candidate `pairs` (P, 2)."""
    found = []
    for start in range(0, len(pairs), _CHUNK):
        first, second = pairs[start : start + _CHUNK].T
        scores = _correlations(_normalised(thumbnails[first]), _normalised(thumbnails[second]))
        best = (scores >= scores.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
        score = np.minimum(scores[np.arange(len(best)), best], 1)
        bits = distance(hashes[first, 0], hashes[second, best])
        found += [
            Duplicate(int(first[k]), int(second[k]), DIHEDRAL[best[k]], int(bits[k]), float(score[k]))
            for k in np.flatnonzero(score >= correlation)
        ]
    return found


def _normalised(thumbnails: npt.NDArray[np.float32]) -> Thumbnail:
    """Return thumbnails (P, 32, 32) with mean 0 and norm 1 each."""
    centred = thumbnails.astype(np.float64) - thumbnails.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.asarray(centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True), np.float32)


def _correlations(first: Thumbnail, second: Thumbnail) -> npt.NDArray[np.float64]:
    """Return the correlation of `first` with each transform of `second`, pair by pair: (P, 8)."""
    products = [np.einsum("pij,pij->p", first, apply(second, name, (1, 2)), dtype=np.float64) for name in DIHEDRAL]
    return np.stack(products, axis=1)

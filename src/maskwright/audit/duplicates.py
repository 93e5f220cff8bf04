"""Near-duplicates among images, also flipped and turned: hashes propose, thumbnails decide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.audit.hashing import Hashes, Thumbnail, distance, near_pairs
from maskwright.augment.dihedral import DIHEDRAL, apply

_FLAT = 1e-4
"""A thumbnail is flat if it has a standard deviation of at most this share of its largest value."""

_CHUNK = 4096
"""Candidate pairs that are correlated at a time: 32 MiB of thumbnails."""

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

    Args:
        thumbnails: (N, 32, 32) float32.
        hashes: (N, 8) uint64 of the same images.
        radius: bits, 0..64, by which hashes of duplicates may differ.
        correlation: from which a candidate is a duplicate.

    Returns:
        Duplicates sorted by `first`, then `second`; none for fewer than two images.
    """
    flat = _is_flat(thumbnails)
    lively = np.flatnonzero(~flat)
    candidates = lively[near_pairs(hashes[lively], radius)[:, :2]]
    found = _flat_duplicates(thumbnails, hashes, np.flatnonzero(flat))
    for start in range(0, len(candidates), _CHUNK):
        found += _confirmed(thumbnails, hashes, candidates[start : start + _CHUNK], correlation)
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
    parents = list(range(n))
    for a, b in pairs:
        a, b = _root(parents, a), _root(parents, b)
        parents[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for member in range(n):
        groups.setdefault(_root(parents, member), []).append(member)
    return [group for group in groups.values() if len(group) > 1]


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
    groups = [np.sort(group) for group in np.split(positions[order], np.flatnonzero(breaks) + 1)]
    return [
        Duplicate(int(group[0]), int(other), "identity", int(distance(hashes[group[0], 0], hashes[other, 0])), 1.0)
        for group in groups
        for other in group[1:]
    ]


def _confirmed(
    thumbnails: npt.NDArray[np.float32], hashes: Hashes, pairs: npt.NDArray[np.int64], correlation: float
) -> list[Duplicate]:
    """Return the duplicates among the candidate `pairs` (P, 2)."""
    scores = _correlations(_normalised(thumbnails[pairs[:, 0]]), _normalised(thumbnails[pairs[:, 1]]))
    best = (scores >= scores.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
    return [
        Duplicate(
            int(i), int(j), DIHEDRAL[t], int(distance(hashes[i, 0], hashes[j, t])), min(float(scores[row, t]), 1.0)
        )
        for row, ((i, j), t) in enumerate(zip(pairs, best, strict=True))
        if scores[row, t] >= correlation
    ]


def _normalised(thumbnails: npt.NDArray[np.float32]) -> Thumbnail:
    """Return thumbnails (P, 32, 32) with mean 0 and norm 1 each."""
    centred = thumbnails.astype(np.float64) - thumbnails.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.asarray(centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True), np.float32)


def _correlations(first: Thumbnail, second: Thumbnail) -> npt.NDArray[np.float64]:
    """Return the correlation of `first` with each transform of `second`, pair by pair: (P, 8)."""
    products = [np.einsum("pij,pij->p", first, apply(second, name, (1, 2)), dtype=np.float64) for name in DIHEDRAL]
    return np.stack(products, axis=1)


def _root(parents: list[int], member: int) -> int:
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member

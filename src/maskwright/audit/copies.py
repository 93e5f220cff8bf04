"""Copies with their masks: what the pairs of duplicates are, where their masks agree, and how they hang together."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.audit.duplicates import Duplicate, clusters
from maskwright.audit.hashing import gray_of
from maskwright.audit.inspect import Inspection, pixel_digest
from maskwright.augment.dihedral import apply, compose, inverse
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.data.intensity import resize_label
from maskwright.labels import same_labels
from maskwright.progress import track
from maskwright.types import IGNORE, LabelMap

SAME_PICTURE = 0.995
"""Correlation of the thumbnails from which masks of two near-duplicates are compared."""

_SAME_MASK, _SAME_CLASS, _FEW = {True: 0.99, False: 0.97}, {True: 0.9, False: 0.5}, 0.0005
"""Masks of near-duplicates conflict if fewer pixels agree, or if a category has a lower IoU that covers more than this
share of the image; less is asked of copies in another size, whose masks were resampled. Of exact ones, every pixel
counts."""

_FINE_SIDE, _FINE = 256, 0.98
"""Pixels of the longer side at which pictures are compared before one mask has to fit both, and their correlation."""

_LOCAL_SIDE, _LOCAL = 5, 0.5
"""Pixels of the box over which their differences are averaged, and the largest one allowed, in standard deviations of
the pictures: frames of a camera that stands still correlate, but an object that moved is a difference in one place."""

_KEPT, _LABELS = 64, 4
"""Small pictures (a quarter of a MiB) and masks that are kept in memory."""


@dataclass(frozen=True)
class Agreement:
    """How two masks of one picture agree.

    Attributes:
        pixels: share of equal pixels where at least one mask isn't `IGNORE`; NaN if there is none.
        differing: number of pixels that differ; one that only one mask ignores does.
        compared: number of pixels that at least one mask doesn't ignore.
        iou: position of a category in either mask → its IoU, over the pixels that neither mask ignores.
        extent: the same → share of all pixels that its union covers.
        resized: one of them had to be resampled.
    """

    pixels: float
    differing: int
    compared: int
    iou: dict[int, float]
    extent: dict[int, float]
    resized: bool = False

    def conflicts(self, *, exact: bool) -> bool:
        """Tell whether the masks contradict each other; those of exact copies do if one pixel differs."""
        if exact or np.isnan(self.pixels):
            return self.pixels < 1
        least = _SAME_CLASS[not self.resized]
        apart = any(iou < least and self.extent[c] > _FEW for c, iou in self.iou.items())
        return apart or self.pixels < _SAME_MASK[not self.resized]


@dataclass(frozen=True)
class Copy:
    """Two images of the same picture, by row of the index.

    Attributes:
        pair: which, and under what transform.
        exact: the pixels are equal.
        same: the pictures are so near, everywhere, that one mask must fit both.
        agreement: of their masks; None where one has none that can be used, or the pictures aren't near enough.
    """

    pair: Duplicate
    exact: bool
    same: bool
    agreement: Agreement | None = None

    @property
    def conflict(self) -> bool:
        """True if their masks contradict each other."""
        return self.agreement is not None and self.agreement.conflicts(exact=self.exact)


def compare_copies(index: Index, inspections: Sequence[Inspection], pairs: Sequence[Duplicate]) -> list[Copy]:
    """Return the pairs with whether their pixels are equal and how far their masks agree."""
    digests, pictures = _digests(index, pairs), Pictures(index)
    read = lru_cache(_LABELS)(lambda row: label_of(index, row))  # pairs are sorted: a crowd's first comes again
    found = []
    for pair in track(pairs, "compare duplicates", len(pairs)):
        exact = pair.transform == "identity" and digests[pair.first] == digests[pair.second]
        near = exact or pair.correlation >= SAME_PICTURE
        copy = Copy(pair, exact, near and (exact or pictures.same(pair.first, pair.second, pair.transform)))
        if copy.same and all(inspections[row].pixels is not None for row in (pair.first, pair.second)):
            first, second = read(pair.first), read(pair.second)
            turned = apply(second, pair.transform)
            same = agreement(first, resize_label(turned, (first.shape[0], first.shape[1])))
            copy = Copy(pair, exact, copy.same, replace(same, resized=turned.shape != first.shape))
        found.append(copy)
    return found


def agreement(first: LabelMap, second: LabelMap) -> Agreement:
    """Compare two masks of one size.

    Args:
        first: (H, W) uint8 map of category positions with `IGNORE`.
        second: the other one.

    Example:
        >>> agreement(np.uint8([[0, 1, 1, 255]]), np.uint8([[0, 1, 2, 255]])).iou
        {0: 1.0, 1: 0.5, 2: 0.0}
    """
    both = (first != IGNORE) & (second != IGNORE)
    joint = np.bincount(first[both].astype(np.int64) * 256 + second[both], minlength=1 << 16).reshape(256, 256)
    common, union = np.diagonal(joint), joint.sum(0) + joint.sum(1) - np.diagonal(joint)
    seen = np.flatnonzero(union).tolist()
    return Agreement(
        same_labels(first, second),
        int(np.count_nonzero(first != second)),
        int(np.count_nonzero((first != IGNORE) | (second != IGNORE))),
        {c: float(common[c] / union[c]) for c in seen},
        {c: float(union[c] / first.size) for c in seen},
    )


def frames(copies: Iterable[Copy], reference: int) -> dict[int, str]:
    """Return row → the transform that makes its image look like that of the `reference`, itself included.

    Only copies of the same picture lead on; rows that they don't reach are left out.
    """
    known = {reference: "identity"}
    links: dict[int, list[tuple[int, str]]] = {}
    for copy in (c for c in copies if c.same):
        first, second, transform = copy.pair.first, copy.pair.second, copy.pair.transform
        links.setdefault(first, []).append((second, transform))
        links.setdefault(second, []).append((first, inverse(transform)))
    waiting = deque([reference])
    while waiting:
        row = waiting.popleft()
        for other, transform in links.get(row, ()):
            if other not in known:
                known[other] = compose(transform, known[row])
                waiting.append(other)
    return known


def same_pictures(n: int, copies: Sequence[Copy]) -> list[tuple[list[int], list[Copy]]]:
    """Return the groups of rows that show the same picture, each with the copies inside it."""
    close = [copy for copy in copies if copy.same]
    groups = clusters(n, [(c.pair.first, c.pair.second) for c in close])
    place = {row: number for number, group in enumerate(groups) for row in group}
    inside: list[list[Copy]] = [[] for _ in groups]
    for copy in close:
        inside[place[copy.pair.first]].append(copy)
    return list(zip(groups, inside, strict=True))


def label_of(index: Index, row: int) -> LabelMap:
    """Return the mask of a row that has one."""
    label = index.read_label(row)
    assert label is not None
    return label


def fitted(label: LabelMap, transform: str, size: Sequence[int]) -> LabelMap:
    """Return a mask flipped or turned, at (height, width) of the picture that it is compared with."""
    return resize_label(apply(label, transform), (size[0], size[1]))


class Pictures:
    """Small gray versions of the images and their comparison; the last ones are kept for the next comparison."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._small = lru_cache(_KEPT)(self._read)

    def same(self, row: int, other: int, transform: str) -> bool:
        """Tell from 256 pixels a side whether two images are one picture, as a whole and in each place of it.

        Args:
            row: of the first image.
            other: row of the second one.
            transform: makes the second image look like the first.
        """
        first = np.asarray(self._small(row), np.float64)
        second = np.asarray(apply(self._small(other), transform), np.float64)
        if first.shape != second.shape:
            ratio = (first.shape[0] * second.shape[1]) / (first.shape[1] * second.shape[0])
            if not 0.98 < ratio < 1.02:
                return False
            resized = cv2.resize(second, first.shape[::-1], interpolation=cv2.INTER_LINEAR)
            second = np.asarray(resized, np.float64)
        spread = first.std() * second.std()
        if spread == 0:
            return bool(np.array_equal(first, second))
        first, second = ((picture - picture.mean()) / picture.std() for picture in (first, second))
        apart = np.abs(cv2.blur(first - second, (_LOCAL_SIDE, _LOCAL_SIDE)))
        return float((first * second).mean()) >= _FINE and float(apart.max()) <= _LOCAL

    def _read(self, row: int) -> npt.NDArray[np.float32]:
        gray = gray_of(read_image(self._index.path(self._index.images[row]))).astype(np.float32)
        factor = min(1.0, _FINE_SIDE / max(gray.shape))
        width, height = (max(1, round(n * factor)) for n in gray.shape[::-1])
        return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _digests(index: Index, pairs: Sequence[Duplicate]) -> dict[int, str]:
    """Return the hash of the pixels of each image that is the same way round as a duplicate of it."""
    rows = sorted({row for pair in pairs if pair.transform == "identity" for row in (pair.first, pair.second)})
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(zip(rows, pool.map(lambda row: pixel_digest(index.path(index.images[row])), rows), strict=True))

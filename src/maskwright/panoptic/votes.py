"""Instances vote on what they are: the label that most of their pixels have, and every pixel takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap
from maskwright.types import IGNORE, LabelMap

Integers = npt.NDArray[np.int64]


class Votes(NamedTuple):
    """How the pixels of instances are labelled.

    Attributes:
        ids: (K,) int64 ids, rising.
        counts: (K, 256) int64 pixels of each label; column `IGNORE` never wins.
    """

    ids: Integers
    counts: Integers

    def winners(self, among: Sequence[int] | None = None) -> Integers:
        """Return the label (K,) that each instance has most often; of equally frequent ones the lowest.

        Args:
            among: labels that can win; None: all but `IGNORE`.

        Returns:
            Labels, `IGNORE` for an instance that has none of them.
        """
        open_to = np.zeros(256, bool)
        open_to[slice(None) if among is None else list(among)] = True
        open_to[IGNORE] = False
        counts = np.where(open_to, self.counts, 0)
        return np.where(counts.any(axis=1), counts.argmax(axis=1), IGNORE)


def count_votes(label: LabelMap, instances: InstanceMap, *, where: str = "count_votes") -> Votes:
    """Count the labels of the pixels of each instance.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        instances: (H, W) integer ids, 0 for none.
        where: the image's name, for error messages.

    Raises:
        DataError: maps of different shapes, not of these types, or ids below 0.
    """
    if label.shape != instances.shape or label.dtype != np.uint8 or instances.dtype.kind not in "iu":
        raise DataError(
            problem(
                "uint8 labels and instance ids as integers, of one shape",
                f"{label.dtype} {label.shape} and {instances.dtype} {instances.shape}",
                where=where,
                next_move="bring the instances to the size of the labels, by nearest neighbours",
            )
        )
    inside = instances > 0
    ids, owner = np.unique(instances[inside], return_inverse=True)
    counts = np.bincount(owner.astype(np.int64) * 256 + label[inside], minlength=256 * len(ids))
    return Votes(ids.astype(np.int64), counts.reshape(-1, 256))


def vote_labels(
    label: LabelMap, instances: InstanceMap, *, among: Sequence[int] | None = None, where: str = "vote_labels"
) -> LabelMap:
    """Give every pixel of an instance the label that most of its pixels have.

    Meant for pseudo-labels after their threshold: pixels that were ignored are filled, too. Ignored pixels have no
    vote; of equally frequent labels the lowest wins; an instance without a vote stays as it is.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        instances: (H, W) integer ids, 0 for none.
        among: labels that can win, such as those of things; None: all.
        where: the image's name, for error messages.

    Returns:
        A new (H, W) uint8 map.

    Raises:
        DataError: as `count_votes`.

    Example:
        >>> vote_labels(np.uint8([[1, 1, 2, 255, 2]]), np.int32([[7, 7, 7, 7, 0]])).tolist()
        [[1, 1, 1, 1, 2]]
    """
    votes = count_votes(label, instances, where=where)
    winners = votes.winners(among)
    result = label.copy()
    inside = instances > 0
    won = winners[np.searchsorted(votes.ids, instances[inside])] if len(votes.ids) else np.zeros(0, np.int64)
    result[inside] = np.where(won == IGNORE, label[inside], won)
    return result

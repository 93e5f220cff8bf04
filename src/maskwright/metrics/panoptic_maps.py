"""From a label map and an instance map to one panoptic map with its segments, as Cityscapes joins them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from maskwright.errors import DataError, problem
from maskwright.metrics.segments import Integers, Segments
from maskwright.types import IGNORE, Array, LabelMap

Loose = Literal["crowd", "void"]


def panoptic_map(
    labels: LabelMap,
    instances: Array,
    n: int,
    *,
    things: Sequence[int],
    loose: Loose = "crowd",
    where: str = "panoptic_map",
) -> tuple[Integers, Segments]:
    """Join what pixels are with which object they belong to.

    Stuff is one segment a category, whatever the instance map says there. Of a thing each pair of category and
    instance is one, so that an instance under two categories becomes two.

    Args:
        labels: (H, W) uint8 category positions with `IGNORE`, which becomes void.
        instances: (H, W) integers, 0 for no object.
        n: number of categories.
        things: positions of the categories that are things.
        loose: pixels of a thing without instance: "crowd", as cityscapesScripts `createPanopticImgs` has it for the
            truth, or "void", which is what a prediction should have there.
        where: the image's name, for error messages.

    Returns:
        (H, W) int64 ids, 0 for void, and the segments, rising by id.

    Raises:
        DataError: maps of different shapes or types, labels that are no category, or instance ids below 0 or too large.

    Example:
        >>> ids, segments = panoptic_map(np.uint8([[0, 1, 1, 255]]), np.array([[0, 4, 0, 0]]), 2, things=[1])
        >>> ids.tolist(), segments.crowd.tolist()
        ([[1, 10, 2, 0]], [False, True, False])
    """
    _check(labels, instances, n, where)
    isthing = np.zeros(256, bool)
    isthing[list(things)] = True
    thing = isthing[labels]
    ids = 1 + labels.astype(np.int64) + n * np.where(thing, instances, 0).astype(np.int64)
    nothing = labels == IGNORE
    if loose == "void":
        nothing |= thing & (instances == 0)
    ids[nothing] = 0
    present = np.unique(ids[ids > 0])
    number, categories = np.divmod(present - 1, n)
    return ids, Segments.of(present, categories, crowd=isthing[categories] & (number == 0), where=where)


def _check(labels: LabelMap, instances: Array, n: int, where: str) -> None:
    if labels.shape != instances.shape or labels.dtype != np.uint8 or instances.dtype.kind not in "iu":
        raise DataError(
            problem(
                "uint8 labels and instance ids as integers, of one shape",
                f"{labels.dtype} {labels.shape} and {instances.dtype} {instances.shape}",
                where=where,
                next_move="convert the labels to category positions at the size of the instances",
            )
        )
    unknown = np.unique(labels[(labels >= n) & (labels != IGNORE)])
    largest = (2**31 - 2) // n - 1
    if not len(unknown) and (not instances.size or (instances.min() >= 0 and instances.max() <= largest)):
        return
    raise DataError(
        problem(
            f"labels 0..{n - 1} or {IGNORE}, instances 0..{largest}",
            f"labels {unknown.tolist()}" if len(unknown) else f"instances {instances.min()} to {instances.max()}",
            where=where,
            next_move="map the labels to category positions, and number the instances of an image from 1",
        )
    )

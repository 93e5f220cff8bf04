"""Touching objects cut apart where they are narrowest: a watershed on the distance to their border."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.labels import InstanceMap, components
from maskwright.types import Array, LabelMap

Mask = npt.NDArray[np.bool_]

_SMOOTH = 1.0
"""Standard deviation in pixels by which the distance to the border is smoothed."""


def split_touching(mask: Mask, distance: int) -> InstanceMap:
    """Number the objects of a mask; objects that touch are parted by a watershed on the distance to their border.

    The distance is smoothed (`_SMOOTH`), as a border of pixels has a middle in front of each of its steps.
    Each pixel climbs to the deepest of its eight neighbours until none is deeper. From there it goes on to the deepest
    pixel of the same component within `distance` along rows and columns, and climbs again; where that is no deeper is
    the middle of an object. Of equally deep pixels the first in the image counts as deeper.

    Args:
        mask: (H, W) bool.
        distance: two middles of one component are farther apart than this, in pixels along rows or columns.

    Returns:
        (H, W) int32, 0 outside of the mask, 1..K inside. No object is in two 8-connected components.

    Example:
        >>> bells = np.zeros((5, 13), bool)
        >>> bells[:, :5] = bells[:, 8:] = bells[2] = True
        >>> split_touching(bells, 3)[2].tolist()
        [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    """
    numbered, count = components(mask)
    if count == 0 or mask.all():
        return numbered
    inside = np.ascontiguousarray(mask).view(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = cv2.GaussianBlur(depth, (0, 0), _SMOOTH)
    pixels = np.flatnonzero(mask)
    order = np.argsort(-depth.ravel()[pixels], kind="stable")
    ranks = np.full(mask.shape, len(pixels), np.int32)  # 0 is the deepest; outside of the mask no rank is higher
    ranks.ravel()[pixels[order]] = np.arange(len(pixels), dtype=np.int32)
    above = _deepest_neighbours(ranks)[mask][order]  # above[r]: the rank that rank r climbs to
    for top in np.flatnonzero(above == np.arange(len(above))):
        above[top] = _deepest_within(ranks, numbered, int(pixels[order[top]]), distance)
    ends = _followed(above)
    parts = np.zeros(mask.shape, np.int32)
    parts[mask] = np.unique(ends[ranks[mask]], return_inverse=True)[1] + 1
    return parts


def cut_touching(label: LabelMap, category: int, distance: int, *, replacement: int = 0) -> LabelMap:
    """Cut touching objects of one category apart, so that no two of them are 8-connected.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position whose components are parted.
        distance: as of `split_touching`.
        replacement: the position that the cuts get.

    Returns:
        A new (H, W) uint8 map.
    """
    parts = split_touching(label == category, distance)
    if parts.size == 0:
        return label.copy()
    square = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(parts.astype(np.float32), square)  # whole numbers up to 2 ** 24 are exact
    return np.where((parts > 0) & (highest > parts), np.uint8(replacement), label)


def _deepest_neighbours(ranks: InstanceMap) -> InstanceMap:
    """Return the lowest rank among each pixel and its eight neighbours."""
    lowest = ranks.copy()
    for axis in (0, 1):
        before = lowest.copy()
        here, there = [slice(None)] * 2, [slice(None)] * 2
        here[axis], there[axis] = slice(1, None), slice(None, -1)
        for to, of in ((here, there), (there, here)):
            lowest[tuple(to)] = np.minimum(lowest[tuple(to)], before[tuple(of)])
    return lowest


def _deepest_within(ranks: InstanceMap, numbered: InstanceMap, pixel: int, distance: int) -> int:
    row, column = divmod(pixel, ranks.shape[1])
    box = (
        slice(max(row - distance, 0), row + distance + 1),
        slice(max(column - distance, 0), column + distance + 1),
    )
    return int(ranks[box][numbered[box] == numbered[row, column]].min())


def _followed(above: Array) -> Array:
    """Return where each rank ends; every pointer goes to a lower rank or stays."""
    while not np.array_equal(further := above[above], above):
        above = further
    return above

"""Signed distances to the boundaries of categories: what Kervadec's loss multiplies probabilities with."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.types import IGNORE, Array, LabelMap


def signed_distances(
    label: LabelMap, count: int, *, resolution: tuple[float, float] = (1.0, 1.0)
) -> npt.NDArray[np.float32]:
    """Return (C, H, W) float32: each pixel's distance to each category, negative inside.

    Outside it is the distance to the nearest pixel of the category: 1 beside it. Inside it is minus the distance to the
    nearest pixel of another category, less one pixel: 0 at the edge (Kervadec et al. 2019). A category that no pixel
    has, and one that no other stands beside, have no boundary: 0 everywhere. Ignored pixels are 0 and no boundary.

    Args:
        label: (H, W) uint8 with `IGNORE`.
        count: C.
        resolution: height and width of a pixel; the smaller one is subtracted inside.

    Example:
        >>> signed_distances(np.array([[0, 0, 1, 1, 0]], np.uint8), 2)[1].tolist()
        [[2.0, 1.0, 0.0, 0.0, 1.0]]
    """
    found = np.zeros((count, *label.shape), np.float32)
    present = [int(c) for c in np.flatnonzero(np.bincount(label.ravel(), minlength=256)) if c != IGNORE]
    if len(present) < 2:
        return found
    # the distance from inside a category to the nearest other one is the least of the distances to the others
    first = second = np.full(label.shape, np.inf, np.float32)
    for category in present:
        found[category] = distance = _distance(label != category, resolution)
        first, second = np.minimum(first, distance), np.minimum(second, np.maximum(first, distance))
    inside = min(resolution) - second
    for category in present:
        found[category] = np.where(label == category, inside, found[category])
    found[:, label == IGNORE] = 0
    return found


def _distance(outside: Array, resolution: tuple[float, float]) -> Array:
    """Return the distance of each pixel to the nearest one that isn't outside, exactly."""
    if resolution[0] == resolution[1]:
        steps: Array = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return steps if resolution[0] == 1 else steps * np.float32(resolution[0])
    exact: Array = ndimage.distance_transform_edt(outside, resolution)
    return exact.astype(np.float32)

"""Smoothing: of probabilities by a Gaussian or a box, of label maps by a vote of the surroundings."""

from __future__ import annotations

import cv2
import numpy as np

from maskwright.postprocess.checks import check_probabilities, check_window
from maskwright.types import IGNORE, Array, LabelMap, Probabilities


def smooth_gaussian(probabilities: Probabilities, sigma: float) -> Probabilities:
    """Average probabilities with weights that fall with the distance.

    Args:
        probabilities: (C, H, W) float in 0..1.
        sigma: standard deviation in pixels, above 0; the window ends at 4 of them, as in SciPy's `gaussian_filter`.

    Returns:
        (C, H, W) float32. The image's edge is repeated outwards, so a constant stays itself and sums over C stay.

    Raises:
        DataError: probabilities that aren't finite, or outside of 0..1.
    """
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return _filtered(probabilities, (weights / weights.sum()).astype(np.float32))


def smooth_box(probabilities: Probabilities, size: int) -> Probabilities:
    """Average probabilities over a square around each pixel.

    Args:
        probabilities: (C, H, W) float in 0..1.
        size: side of the square in pixels, odd.

    Returns:
        (C, H, W) float32. The image's edge is repeated outwards, so a constant stays itself and sums over C stay.

    Raises:
        DataError: probabilities that aren't finite, or outside of 0..1.
        UsageError: an even size.
    """
    check_window(size, "smooth_box")
    return _filtered(probabilities, np.full(size, 1 / size, np.float32))


def majority(label: LabelMap, size: int) -> LabelMap:
    """Give each pixel the most frequent label of the square around it.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        size: side of the square in pixels, odd; outside of the image nothing votes.

    Returns:
        A new (H, W) uint8 map. Of labels with equal votes the pixel's own one wins, else the lowest. `IGNORE` pixels
        neither vote nor change.

    Raises:
        UsageError: an even size.

    Example:
        >>> majority(np.uint8([[0, 0, 1, 0, 0]]), 3).tolist()
        [[0, 0, 0, 0, 0]]
    """
    check_window(size, "majority")
    if label.size == 0:
        return label.copy()
    winner, most = label.copy(), np.zeros(label.shape, np.float32)
    own = np.zeros(label.shape, np.float32)
    for category in np.flatnonzero(np.bincount(label.ravel(), minlength=256)[:IGNORE]):
        mask = label == category
        votes = _votes(mask, size)
        np.copyto(own, votes, where=mask)
        more = votes > most
        np.copyto(winner, category, where=more, casting="unsafe")
        np.copyto(most, votes, where=more)
    return np.where((own == most) | (label == IGNORE), label, winner)


def _filtered(probabilities: Probabilities, weights: Array) -> Probabilities:
    check_probabilities(probabilities)
    if probabilities.size == 0:
        return probabilities.astype(np.float32)
    channels = np.ascontiguousarray(probabilities, np.float32)
    smoothed = np.stack(
        [cv2.sepFilter2D(c, cv2.CV_32F, weights, weights, borderType=cv2.BORDER_REPLICATE) for c in channels]
    )
    return np.asarray(smoothed.clip(0, 1), np.float32)


def _votes(mask: Array, size: int) -> Array:
    counted = np.ascontiguousarray(mask).view(np.uint8)  # whole numbers up to 2 ** 24 are exact in float32
    return np.asarray(cv2.boxFilter(counted, cv2.CV_32F, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT))

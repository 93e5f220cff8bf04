"""Closing, opening and the largest component of one category of a label map."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.labels import component_areas, components
from maskwright.postprocess.checks import check_window
from maskwright.types import IGNORE, LabelMap

Mask = npt.NDArray[np.bool_]


def closing(label: LabelMap, category: int, size: int) -> LabelMap:
    """Give one category the gaps that a square does not fit into.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position that grows.
        size: side of the square in pixels, odd.

    Returns:
        A new (H, W) uint8 map; `IGNORE` pixels stay. As MATLAB's `imclose`: outside of the image the dilation sees
        nothing and the erosion sees the category, so a gap between the category and the edge is closed, too.

    Raises:
        UsageError: an even size.

    Example:
        >>> closing(np.uint8([[1, 0, 0, 1, 0, 0, 0, 0]]), 1, 3).tolist()
        [[1, 1, 1, 1, 0, 0, 0, 0]]
    """
    check_window(size, "closing")
    closed = _morph(label == category, cv2.MORPH_CLOSE, size)
    return np.where(closed & (label != IGNORE), np.uint8(category), label)


def opening(label: LabelMap, category: int, size: int, *, replacement: int = 0) -> LabelMap:
    """Take from one category the parts that a square does not fit into.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position that shrinks.
        size: side of the square in pixels, odd.
        replacement: the position that removed pixels get.

    Returns:
        A new (H, W) uint8 map. As MATLAB's `imopen`: outside of the image the erosion sees the category.

    Raises:
        UsageError: an even size.
    """
    check_window(size, "opening")
    mask = label == category
    return np.where(mask & ~_morph(mask, cv2.MORPH_OPEN, size), np.uint8(replacement), label)


def largest_component(label: LabelMap, category: int, *, replacement: int = 0) -> LabelMap:
    """Keep the largest 8-connected component of one category; of equal ones that whose first pixel comes first.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position whose components are measured.
        replacement: the position that the others get.

    Returns:
        A new (H, W) uint8 map; the same where the category is absent.
    """
    numbered, count = components(label == category)
    if count < 2:
        return label.copy()
    largest = 1 + int(component_areas(numbered, count).argmax())
    return np.where((numbered > 0) & (numbered != largest), np.uint8(replacement), label)


def _morph(mask: Mask, operation: int, size: int) -> Mask:
    if mask.size == 0:
        return mask
    square = np.ones((size, size), np.uint8)
    # OpenCV's default border is 0 for a dilation and 1 for an erosion
    done = cv2.morphologyEx(np.ascontiguousarray(mask).view(np.uint8), operation, square)
    return np.asarray(done).view(np.bool_)

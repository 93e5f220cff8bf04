"""Morphology of each instance by itself: no instance takes a pixel that was another's."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.data.formats.pieces import objects_of
from maskwright.errors import DataError, problem
from maskwright.labels import Connectivity, InstanceMap, component_areas, components
from maskwright.postprocess.areas import enclosed
from maskwright.postprocess.checks import check_window
from maskwright.types import Array

Mask = npt.NDArray[np.bool_]


def erode_then_dilate(
    instances: InstanceMap, *, erosion: int = 1, dilation: int = 1, mask: Mask | None = None
) -> InstanceMap:
    """Erode each instance by one square, then dilate what is left by another; equal squares open it.

    A pixel that belonged to an instance stays with it if the instance, eroded and dilated, still holds it, and is free
    otherwise: no other instance takes it. A free pixel of the mask goes to the instance that reaches it; of several,
    to the one that is nearest along rows or columns, whichever is farther (the chessboard distance).

    Args:
        instances: (H, W) int32 ids, 0 for none.
        erosion: side of the square in pixels, odd; 1: no erosion. Outside of the image it sees the instance.
        dilation: side of the square in pixels, odd; 1: no dilation.
        mask: (H, W) bool, where instances may grow, such as their category's pixels in the semantic map; None:
            everywhere.

    Returns:
        A new (H, W) int32 map; ids stay, an instance that is eroded away is gone.

    Raises:
        UsageError: an even side.
        DataError: a mask of another shape.

    Example:
        >>> erode_then_dilate(np.int32([[1, 1, 0, 2, 2]]), dilation=3, mask=np.array([[1, 1, 0, 1, 1]], bool)).tolist()
        [[1, 1, 0, 2, 2]]
    """
    check_window(erosion, "erosion")
    check_window(dilation, "dilation")
    _check_mask(instances, mask)
    eroded, kept = np.zeros(instances.shape, np.int32), np.zeros(instances.shape, np.int32)
    small, large = np.ones((erosion, erosion), np.uint8), np.ones((dilation, dilation), np.uint8)
    for number, window, own in _windows(instances, erosion // 2):
        left = cv2.erode(own, small)
        eroded[window][left > 0] = number
        kept[window][(cv2.dilate(left, large) > 0) & (own > 0)] = number
    free = (instances == 0) if mask is None else (instances == 0) & mask
    if dilation > 1 and eroded.any() and free.any():
        away, nearest = ndimage.distance_transform_cdt(eroded == 0, metric="chessboard", return_indices=True)
        taken = free & (away <= dilation // 2)
        kept[taken] = eroded[tuple(nearest[:, taken])]
    return kept


def fill_instances(instances: InstanceMap, *, pixels: int | None = None, mask: Mask | None = None) -> InstanceMap:
    """Give each instance the free pixels that it encloses.

    Other instances inside a hole stay what they are. A free pixel that several enclose goes to the smallest of them,
    holes included.

    Args:
        instances: (H, W) int32 ids, 0 for none.
        pixels: the largest hole that is filled, other instances in it included; None: any.
        mask: (H, W) bool, where instances may grow; None: everywhere.

    Returns:
        A new (H, W) int32 map. Holes are 4-connected and touch no edge of the image.

    Raises:
        DataError: a mask of another shape.
    """
    _check_mask(instances, mask)
    free = (instances == 0) if mask is None else (instances == 0) & mask
    filled = []
    for number, window, own in _windows(instances, 1):
        whole = enclosed(own > 0, pixels=pixels)
        if (whole & free[window]).any():
            filled.append((int(whole.sum()), number, window, whole))
    result = instances.copy()
    for _, number, window, whole in sorted(filled, key=lambda one: (-one[0], -one[1])):  # the smallest comes last
        result[window][whole & free[window]] = number
    return result


def remove_small_parts(instances: InstanceMap, pixels: int, *, connectivity: Connectivity = 8) -> InstanceMap:
    """Free the components of each instance that have fewer pixels; an instance of such parts alone is gone.

    Args:
        instances: (H, W) int32 ids, 0 for none.
        pixels: components with fewer pixels are small.
        connectivity: 8 if pixels that share a corner are connected, 4 if they must share a side.

    Returns:
        A new (H, W) int32 map.
    """
    result = instances.copy()
    for _, window, own in _windows(instances, 0):
        numbered, count = components(own, connectivity)
        small = np.append(False, component_areas(numbered, count) < pixels)
        if small.any():
            result[window][small[numbered]] = 0
    return result


def split_parts(instances: InstanceMap, *, connectivity: Connectivity = 8) -> InstanceMap:
    """Make each component of an instance an instance of its own.

    Args:
        instances: (H, W) int32 ids, 0 for none.
        connectivity: 8 if pixels that share a corner are connected, 4 if they must share a side.

    Returns:
        A new (H, W) int32 map, ids 1..K: those of an instance's parts follow one another, in the order of its ids.

    Example:
        >>> split_parts(np.int32([[7, 0, 7, 3]])).tolist()
        [[2, 0, 3, 1]]
    """
    result, last = np.zeros(instances.shape, np.int32), 0
    for _, window, own in _windows(instances, 0):
        numbered, count = components(own, connectivity)
        inside = numbered > 0
        result[window][inside] = numbered[inside] + last
        last += count
    return result


def _windows(instances: InstanceMap, margin: int) -> Iterator[tuple[int, tuple[slice, slice], Array]]:
    """Yield each id, a window with a margin around its pixels, inside of the image, and its pixels there as 0 and 1."""
    for number, drawn in objects_of(instances) if instances.size else ():
        height, width = drawn.pixels.shape
        rows = slice(max(0, drawn.top - margin), drawn.top + height + margin)
        columns = slice(max(0, drawn.left - margin), drawn.left + width + margin)
        window = rows, columns
        yield number, window, np.ascontiguousarray(instances[window] == number).view(np.uint8)


def _check_mask(instances: InstanceMap, mask: Mask | None) -> None:
    if mask is not None and (mask.shape != instances.shape or mask.dtype != bool):
        raise DataError(
            problem(
                f"a bool mask of shape {instances.shape}",
                f"{mask.dtype} {mask.shape}",
                where="morphology of instances",
                next_move="give the semantic map's pixels of the instances' category, such as label == 1",
            )
        )

"""Areas of label maps: small components give way to what surrounds them, enclosed holes are filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.labels import Connectivity, component_areas, components
from maskwright.types import IGNORE, LabelMap

Mask = npt.NDArray[np.bool_]

_MANY = 1000
"""From here on one distance transform of the whole map is cheaper than one for each cluster."""


def remove_small(label: LabelMap, pixels: int, *, connectivity: Connectivity = 8) -> LabelMap:
    """Give every small component of any category the labels of what is nearest to it.

    Each pixel of a small component takes the label of the nearest (Euclidean) pixel that is neither in a small
    component nor ignored. In a map of two categories that removes specks and fills holes.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        pixels: components with fewer pixels are small.
        connectivity: 8 if pixels that share a corner are connected, 4 if they must share a side; for all categories.

    Returns:
        A new (H, W) uint8 map. `IGNORE` pixels never change and never spread. If no pixel is outside small components
        the map is unchanged.

    Example:
        >>> remove_small(np.uint8([[0, 0, 0, 1, 1, 0]]), 2).tolist()
        [[0, 0, 0, 1, 1, 1]]
    """
    small = _small_components(label, pixels, connectivity)
    cleaned = label.copy()
    if small.any():
        _fill_from_nearest(cleaned, small, small | (label == IGNORE))
    return cleaned


def fill_holes(label: LabelMap, category: int, *, pixels: int | None = None) -> LabelMap:
    """Give areas that one category encloses to that category.

    A hole is a 4-connected area of other labels that does not touch the image's edge, so a ring whose pixels only
    share corners is closed.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position that encloses and fills.
        pixels: the largest hole that is filled, counting all its pixels, ignored ones too; None: any.

    Returns:
        A new (H, W) uint8 map. `IGNORE` pixels inside a hole stay.
    """
    holes, count = components(label != category, 4)
    fill = np.ones(count + 1, bool)  # number 0 is the category itself, where filling changes nothing
    fill[_edge_values(holes)] = False
    if pixels is not None:
        fill[1:] &= component_areas(holes, count) <= pixels
    return np.where(fill[holes] & (label != IGNORE), np.uint8(category), label)


def minimum_area(
    label: LabelMap, category: int, pixels: int, *, replacement: int = 0, connectivity: Connectivity = 8
) -> LabelMap:
    """Replace the small components of one category.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position whose components are measured.
        pixels: components with fewer pixels are replaced.
        replacement: the position that they get.
        connectivity: 8 if pixels that share a corner are connected, 4 if they must share a side.

    Returns:
        A new (H, W) uint8 map; pixels of other labels are unchanged.
    """
    return np.where(_small(label == category, pixels, connectivity), np.uint8(replacement), label)


def _small_components(label: LabelMap, pixels: int, connectivity: Connectivity) -> Mask:
    small = np.zeros(label.shape, bool)
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=256)[:IGNORE])
    for category in present:
        small |= _small(label == category, pixels, connectivity)
    return small


def _small(mask: Mask, pixels: int, connectivity: Connectivity) -> Mask:
    numbered, count = components(mask, connectivity)
    numbers = numbered[mask]  # (P,): few of the map's pixels where there are many categories
    below = component_areas(numbers, count) < pixels
    small = np.zeros(mask.shape, bool)
    small[mask] = below[numbers - 1]
    return small


def _fill_from_nearest(label: LabelMap, small: Mask, blank: Mask) -> None:
    """Overwrite `label` where `small`, from the nearest pixel that is not `blank`.

    Every step from a pixel to its nearest source comes closer to the pixel, so all pixels between are blank and in one
    8-connected cluster with it: the box around a cluster, one pixel wider, holds the nearest source of all its pixels.
    """
    clusters, count = components(blank)
    if count > _MANY:
        return _copy_nearest(label, small, blank)
    for number, (rows, columns) in enumerate(ndimage.find_objects(clusters), start=1):
        box = _wider(rows), _wider(columns)
        _copy_nearest(label[box], small[box] & (clusters[box] == number), blank[box])


def _wider(span: slice) -> slice:
    return slice(max(span.start - 1, 0), span.stop + 1)


def _copy_nearest(label: LabelMap, target: Mask, blank: Mask) -> None:
    if not target.any() or blank.all():
        return
    nearest = ndimage.distance_transform_edt(blank, return_distances=False, return_indices=True)
    rows, columns = nearest[:, target]
    label[target] = label[rows, columns]


def _edge_values(numbered: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate(
        [numbered[:1].ravel(), numbered[-1:].ravel(), numbered[:, :1].ravel(), numbered[:, -1:].ravel()]
    )

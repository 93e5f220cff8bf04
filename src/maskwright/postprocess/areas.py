"""Areas of label maps: small components give way to what surrounds them, enclosed holes are filled."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.labels import Connectivity, component_areas, components
from maskwright.recipe.steps import Edges
from maskwright.types import IGNORE, Array, LabelMap

Mask = npt.NDArray[np.bool_]
Sides = tuple[bool, bool, bool, bool]
"""Something of the left, right, top and bottom side."""

_MANY = 1000
"""From here on one distance transform of the whole map is cheaper than one for each cluster."""


def remove_small(
    label: LabelMap, pixels: int, *, category: int | None = None, connectivity: Connectivity = 8
) -> LabelMap:
    """Give every small component of any category, or of one, the labels of what is nearest to it.

    Each pixel of a small component takes the label of the nearest (Euclidean) pixel that is neither in a small
    component nor ignored. In a map of two categories that removes specks and fills holes.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        pixels: components with fewer pixels are small.
        category: the position whose components are measured; None: every one.
        connectivity: 8 if pixels that share a corner are connected, 4 if they must share a side; for all categories.

    Returns:
        A new (H, W) uint8 map. `IGNORE` pixels never change and never spread. If no pixel is outside small components
        the map is unchanged.

    Example:
        >>> remove_small(np.uint8([[0, 0, 0, 1, 1, 0]]), 2).tolist()
        [[0, 0, 0, 1, 1, 1]]
    """
    if category is None:
        small = _small_components(label, pixels, connectivity)
    else:
        small = _small(label == category, pixels, connectivity)
    cleaned = label.copy()
    if small.any():
        _fill_from_nearest(cleaned, small, small | (label == IGNORE))
    return cleaned


def fill_holes(
    label: LabelMap,
    category: int,
    *,
    pixels: int | None = None,
    edges: Edges = "none",
    background: Connectivity = 4,
) -> LabelMap:
    """Give areas that one category encloses to that category.

    A hole is a connected area of other labels that does not touch the image's edge. By default it is 4-connected, so a
    ring whose pixels only share corners is closed.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        category: the position that encloses and fills.
        pixels: the largest hole that is filled, counting all its pixels, ignored ones too; None: any.
        edges: as of `enclosed`.
        background: 8 if pixels of a hole that share a corner are connected (MATLAB's `imfill(mask, 8)`), 4 if not.

    Returns:
        A new (H, W) uint8 map. `IGNORE` pixels inside a hole stay.
    """
    filled = enclosed(label == category, pixels=pixels, edges=edges, background=background)
    return np.where(filled & (label != IGNORE), np.uint8(category), label)


def enclosed(
    mask: Mask,
    *,
    pixels: int | None = None,
    edges: Edges = "none",
    background: Connectivity = 4,
    inside: Sides = (False, False, False, False),
) -> Mask:
    """Return a mask with its holes: connected areas of the background that don't reach the image's edge.

    With `edges`, an edge that the mask touches closes a hole like a line of the mask outside of the image. Each edge is
    tried alone, so a hole may touch one edge, but what touches two stays open: an object in a corner does not fill it.

    Args:
        mask: (H, W) bool.
        pixels: the largest hole that is filled; None: any.
        edges: "none": no edge closes a hole. "each": any edge that the mask touches. "first": the first of left,
            right, top and bottom that the mask touches, as the code of the STAS solution has it.
        background: 8 if background pixels that share a corner are connected, 4 if they must share a side.
        inside: which of the left, right, top and bottom side are inside of the image, where a mask is cut out of a
            larger one with at least one line of background around; what touches such a side is no hole.

    Returns:
        (H, W) bool: the mask and its holes.

    Example:
        >>> bay = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
        >>> enclosed(bay, edges="each")[:, 0].tolist()
        [False, True, True, True, False]
    """
    if mask.size == 0:
        return mask.copy()
    if edges == "none":
        return _enclosed_inside(mask, pixels, background)
    outside = np.ascontiguousarray(~mask).view(np.uint8)
    _, numbered, boxes, _ = cv2.connectedComponentsWithStats(outside, connectivity=background, ltype=cv2.CV_32S)
    fill = ~_reaches_out(mask, boxes, edges, inside)
    if pixels is not None:
        fill &= boxes[:, cv2.CC_STAT_AREA] <= pixels
    fill[0] = True  # number 0 is the mask itself
    return fill[numbered] if fill[1:].any() else mask.copy()


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


def _enclosed_inside(mask: Mask, pixels: int | None, background: Connectivity) -> Mask:
    """Return a mask with the holes that touch no edge: needs no boxes, which take most of the time."""
    numbered, count = components(~mask, background)
    fill = np.ones(count + 1, bool)
    for line in (numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]):
        fill[line] = False
    fill[0] = False  # number 0 is the mask itself
    if pixels is not None and fill.any():
        fill[1:] &= component_areas(numbered, count) <= pixels
    return mask | np.take(fill, numbered) if fill.any() else mask.copy()


def _reaches_out(mask: Mask, boxes: Array, edges: Edges, inside: Sides) -> Mask:
    """Tell of each numbered component, from its box, whether it is open to the outside of the image.

    The line outside an edge closes what touches that edge alone. What touches one edge and no corner ends there at
    pixels of the mask, so every such edge is one that the mask touches.
    """
    left, top = boxes[:, cv2.CC_STAT_LEFT], boxes[:, cv2.CC_STAT_TOP]
    right, bottom = left + boxes[:, cv2.CC_STAT_WIDTH], top + boxes[:, cv2.CC_STAT_HEIGHT]
    touches = np.stack([left == 0, right == mask.shape[1], top == 0, bottom == mask.shape[0]])  # (4, K)
    if edges == "each":
        open_: Mask = touches.sum(axis=0) > 1
        return open_ | touches[list(inside)].any(axis=0)
    if edges == "first":
        lines = (mask[:, 0], mask[:, -1], mask[0], mask[-1])
        touched = [side for side, line in enumerate(lines) if line.any()]
        touches = np.delete(touches, touched[:1], axis=0)
    return np.asarray(touches.any(axis=0))


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
    if below.any():
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

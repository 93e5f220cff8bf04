"""Instances and panoptic maps as pictures, in colours that people tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from maskwright.labels import borders
from maskwright.pictures.colors import OKABE_ITO, Color, category_colors
from maskwright.pictures.images import FALSE_NEGATIVE, FALSE_POSITIVE, overlay, side_by_side, to_rgb8
from maskwright.types import IGNORE, MAX_CATEGORIES, Array, LabelMap

TRUE_POSITIVE: Color = OKABE_ITO[2]
VOID: Color = (0, 0, 0)
_SHADES = (1.0, 0.7, 1.3, 0.85, 1.15)
"""Of a category's colour, for its instances in turn."""


def color_numbers(instances: Array) -> LabelMap:
    """Return an (H, W) uint8 map of colour numbers, 0 where there is no instance, so that neighbours differ.

    Instances that share a side get different numbers, the lowest that are free, from 1 to 7 where that is possible; so
    Okabe and Ito's colours are enough but for an instance with more than six neighbours of different colours.

    Args:
        instances: (H, W) integer ids, 0 for none.
    """
    ids, owner = np.unique(instances, return_inverse=True)
    owner = owner.reshape(instances.shape)
    pairs = np.concatenate([_touching(owner[1:], owner[:-1]), _touching(owner[:, 1:], owner[:, :-1])])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(ids) + 1))
    numbers = np.zeros(len(ids), np.uint8)
    for k in np.flatnonzero(ids > 0):
        around = set(numbers[pairs[starts[k] : starts[k + 1], 1]].tolist())
        turn = [1 + (k + step) % len(OKABE_ITO) for step in range(len(OKABE_ITO))]  # not all of a kind where none touch
        free = [number for number in [*turn, *range(len(OKABE_ITO) + 1, MAX_CATEGORIES)] if number not in around]
        numbers[k] = free[0] if free else turn[0]
    return numbers[owner]


def instance_picture(image: Array, instances: Array, *, alpha: float = 0.5) -> Array:
    """Return the image with each instance tinted and outlined, neighbours in different colours; uint8 (H, W, 3).

    Args:
        image: (H, W, C) of any dtype.
        instances: (H, W) integer ids, 0 for none.
        alpha: weight of the colours, 0..1.

    Raises:
        DataError: they differ in size.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[1:MAX_CATEGORIES] = category_colors(MAX_CATEGORIES - 1)
    return overlay(image, color_numbers(instances), palette, alpha, skip=[0])


def judged_picture(image: Array, instances: Array, right: Sequence[int], missed: Array | None = None) -> Array:
    """Return the image with true instances in green, false ones in vermilion and missed ones outlined in sky blue.

    Args:
        image: (H, W, C) of any dtype.
        instances: (H, W) integer ids of what was predicted, 0 for none.
        right: ids that are true positives.
        missed: (H, W) integer ids of true instances that nothing matched, 0 for none.

    Raises:
        DataError: they differ in size.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[1], palette[2] = TRUE_POSITIVE, FALSE_POSITIVE
    verdict = np.where(instances > 0, np.where(np.isin(instances, list(right)), 1, 2), 0).astype(np.uint8)
    picture = overlay(image, verdict, palette, skip=[0])
    edge = borders(instances) & (instances > 0)  # two right ones may touch
    picture[edge] = palette[verdict[edge]]
    if missed is not None:
        picture[borders(missed) & (missed > 0)] = FALSE_NEGATIVE
    return picture


def anchor_picture(picture: Array, anchors: Array) -> Array:
    """Return a uint8 RGB picture (H, W, 3) with a white dot in a black ring at each anchor, (K, 2) rows and columns."""
    found, radius = picture.copy(), 2 + max(picture.shape) // 300
    for row, column in np.asarray(anchors).reshape(-1, 2).tolist():
        cv2.circle(found, (int(column), int(row)), radius, (0, 0, 0), -1)
        cv2.circle(found, (int(column), int(row)), radius - 1, (255, 255, 255), -1)
    return found


def panoptic_picture(label: LabelMap, instances: Array, palette: Array) -> Array:
    """Return a panoptic map: the categories' colours, each instance in a shade of its own, white lines between them.

    Args:
        label: (H, W) category positions; `IGNORE`, void, is black.
        instances: (H, W) integer ids of things, 0 elsewhere.
        palette: uint8 (256, 3).

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: they differ in size.
    """
    picture = overlay(np.zeros((*instances.shape, 1), np.uint8), label, palette, 1.0, outline=False).astype(np.float64)
    counted = (instances > 0) & (label != IGNORE)
    shades = np.asarray(_SHADES)[color_numbers(np.where(counted, instances, 0)) % len(_SHADES)]
    picture[counted] = np.clip(picture[counted] * shades[counted, None], 0, 255)
    result = picture.round().astype(np.uint8)
    result[borders(instances) & counted] = 255
    result[label == IGNORE] = VOID
    return result


def panoptic_beside(image: Array, maps: Sequence[tuple[LabelMap, Array]], palette: Array) -> Array:
    """Return the image and panoptic maps of it, such as the truth and a prediction, in one row.

    Args:
        image: (H, W, C) of any dtype.
        maps: labels and instances of each, as of `panoptic_picture`.
        palette: uint8 (256, 3).
    """
    return side_by_side([to_rgb8(image), *(panoptic_picture(label, ids, palette) for label, ids in maps)])


def _touching(first: Array, second: Array) -> Array:
    """Return the distinct pairs (P, 2) of different values at the same places."""
    differ = first != second
    return np.unique(np.stack([first[differ], second[differ]], axis=1), axis=0)

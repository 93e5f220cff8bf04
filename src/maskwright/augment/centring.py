"""Moving a drawn crop so that its centre is a given pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskwright.augment.geometry import Geometry


def centred_on(geometry: Geometry, pixel: tuple[int, int], size: tuple[int, int]) -> Geometry:
    """Return the geometry with its crop moved over a pixel, as far as it stays inside the image.

    Flips, rotation and zoom stay. Along a side on which the crop covers the whole image nothing moves.

    Args:
        geometry: as drawn.
        pixel: (y, x) in the image.
        size: (H, W) of the image.
    """
    linear, shift = geometry.matrix[:2, :2], geometry.matrix[:2, 2]
    crop, sides = np.array(geometry.size[::-1], float), np.array(size[::-1], float)
    middle = (crop - 1) / 2
    drawn = shift + linear @ middle
    room = np.maximum((sides - crop * np.linalg.norm(linear, axis=0)) / 2, 0)
    wanted = np.clip(np.array(pixel[::-1], float), (sides - 1) / 2 - room, (sides - 1) / 2 + room)
    matrix = geometry.matrix.copy()
    matrix[:2, 2] = np.where(room > 0, wanted, drawn) - linear @ middle
    if np.array_equal(np.abs(linear), np.eye(2)):  # nothing but crop and flips: pixels land on pixels, an even crop's
        # middle lies between two
        matrix[:2, 2] = np.floor(matrix[:2, 2] + 1e-9)
    return replace(geometry, matrix=matrix)

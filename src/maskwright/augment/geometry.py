"""Geometry as one matrix: crop, flips, rotation, zoom and shift are one warp, for image and label the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskwright.recipe.augment import AffineSpec, AugmentSpec, FlipSpec
from maskwright.types import Array, LabelMap


@dataclass(frozen=True)
class Geometry:
    """A drawn geometry.

    Attributes:
        matrix: (3, 3) float64 from output pixel (x, y, 1) to input pixel, centres at integers.
        size: (height, width) of the output.
    """

    matrix: Array
    size: tuple[int, int]

    def apply_to_image(self, image: Array) -> Array:
        """Return the (h, w, C) image, bilinear; what lies outside is mirrored from inside."""
        warped = self._warp(image, cv2.INTER_LINEAR)
        return warped[..., None] if warped.ndim == 2 else warped

    def apply_to_label(self, label: LabelMap) -> LabelMap:
        """Return the (h, w) label map, nearest pixel, mirrored outside like the image."""
        return self._warp(label, cv2.INTER_NEAREST)

    def inverse(self, size: tuple[int, int]) -> Geometry:
        """Return the geometry that leads back to an image of the given size."""
        return Geometry(np.linalg.inv(self.matrix), size)

    def _warp(self, array: Array, interpolation: int) -> Array:
        return cv2.warpAffine(
            array,
            self.matrix[:2],
            self.size[::-1],
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )


def draw_geometry(
    specs: Sequence[AugmentSpec], rng: np.random.Generator, *, size: tuple[int, int], crop: tuple[int, int]
) -> Geometry:
    """Draw a crop of an image with the flips and affine changes of the recipe.

    Args:
        specs: the recipe's list; other kinds are passed over.
        rng: generator.
        size: (H, W) of the image.
        crop: (h, w) of the output.

    Returns:
        a geometry whose crop lies inside the image where the image is large enough.
    """
    mirror, zoom, stretch, angle, shift = np.ones(2), 1.0, 1.0, 0.0, 0.0
    for spec in specs:
        if isinstance(spec, FlipSpec):
            drawn = rng.random(2)
            mirror = np.where(drawn < (spec.horizontal, spec.vertical), -mirror, mirror)
        elif isinstance(spec, AffineSpec) and rng.random() < spec.probability:
            shift = max(shift, spec.shift)
            zoom *= math.exp(rng.uniform(math.log(spec.scale[0]), math.log(spec.scale[1])))
            stretch *= math.exp(rng.uniform(-1, 1) * math.log1p(spec.stretch))
            angle += math.radians(rng.uniform(-spec.rotate, spec.rotate))
    factors = mirror / (zoom * np.array([math.sqrt(stretch), 1 / math.sqrt(stretch)]))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn * factors[None, :]
    centre = _draw_centre(rng, size, crop, np.abs(factors), shift)
    middle = (np.array(crop[::-1]) - 1) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ middle
    if np.array_equal(np.abs(linear), np.eye(2)):  # nothing but crop and flips: pixels land on pixels
        matrix[:2, 2] = np.round(matrix[:2, 2])
    return Geometry(matrix, crop)


def _draw_centre(
    rng: np.random.Generator, size: tuple[int, int], crop: tuple[int, int], factors: Array, shift: float
) -> Array:
    """Return the (x, y) of the crop's centre in the image."""
    sides = np.array(size[::-1], float)
    covered = np.array(crop[::-1]) * factors
    room = np.maximum((sides - covered) / 2, 0)
    reach = np.where(room > 0, room, shift * sides)
    return (sides - 1) / 2 + rng.uniform(-1, 1, 2) * reach

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
        if (window := self._window(image)) is not None:
            return window
        if image.dtype == np.uint8 and image.shape[2] == 3:  # OpenCV warps four channels faster than three
            padded = self._warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), cv2.INTER_LINEAR)
            return cv2.cvtColor(padded, cv2.COLOR_RGBA2RGB)
        warped = self._warp(image, cv2.INTER_LINEAR)
        return warped[..., None] if warped.ndim == 2 else warped

    def apply_to_label(self, label: LabelMap) -> LabelMap:
        """Return the (h, w) label map, nearest pixel, mirrored outside like the image."""
        return self._apply_nearest(label)

    def apply_to_instances(self, instances: Array) -> Array:
        """Return the (h, w) instance map, of the same type: every pixel is taken from where the label map's is.

        Args:
            instances: uint16 or int32 ids, 0 for none. An object may be cut off, or come twice where it is mirrored.

        Raises:
            TypeError: ids of another type.
        """
        if instances.dtype == np.int32:
            # ids are copied bit by bit: as float32 from the pixels that OpenCV takes of a uint8 or uint16 map; as int32
            # another branch of it rounds otherwise, one pixel in a thousand, and takes twice the time
            return self._apply_nearest(instances.view(np.float32)).view(np.int32)
        if instances.dtype != np.uint16:
            raise TypeError(f"expected an instance map of uint16 or int32, got {instances.dtype}: convert it first")
        return self._apply_nearest(instances)

    def inverse(self, size: tuple[int, int]) -> Geometry:
        """Return the geometry that leads back to an image of the given size."""
        return Geometry(np.linalg.inv(self.matrix), size)

    def _apply_nearest(self, values: Array) -> Array:
        window = self._window(values)
        return self._warp(values, cv2.INTER_NEAREST) if window is None else window

    def _window(self, array: Array) -> Array | None:
        """Return a copy of the crop if it lies inside the array and is at most flipped, so that nothing is sampled."""
        linear, shift = self.matrix[:2, :2], self.matrix[:2, 2]
        steps = np.diag(linear)
        if linear[0, 1] or linear[1, 0] or (np.abs(steps) != 1).any() or (shift != np.round(shift)).any():
            return None
        ends = shift, shift + steps * (np.array(self.size[::-1]) - 1)
        left, top = np.minimum(*ends).astype(int)
        right, bottom = np.maximum(*ends).astype(int) + 1
        if left < 0 or top < 0 or right > array.shape[1] or bottom > array.shape[0]:
            return None
        window = array[top:bottom, left:right]
        if (steps > 0).all():
            return window.copy()
        return cv2.flip(window, -1 if (steps < 0).all() else int(steps[0] < 0)).reshape(window.shape)

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

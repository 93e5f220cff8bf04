"""Geometry as one matrix: crop, flips, rotation, zoom and shift are one warp, for image and label the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.augment import dihedral
from maskwright.recipe.augment import AffineSpec, AugmentSpec, CropSpec, FlipSpec, OutsideSpec, TurnSpec
from maskwright.recipe.chance import chance_at
from maskwright.types import IGNORE, Array, LabelMap


@dataclass(frozen=True)
class Outside:
    """What pixels get whose centre comes from beyond the image's border.

    Attributes:
        fill: gray value of the image.
        label: of the label map; instance maps get 0.
    """

    fill: float = 0.0
    label: int = IGNORE


@dataclass(frozen=True)
class Geometry:
    """A drawn geometry.

    Attributes:
        matrix: (3, 3) float64 from output pixel (x, y, 1) to input pixel, centres at integers.
        size: (height, width) of the output.
        outside: what uncovered pixels get; None mirrors the image from inside.
    """

    matrix: Array
    size: tuple[int, int]
    outside: Outside | None = None

    def __str__(self) -> str:
        linear = self.matrix[:2, :2]
        area = float(np.linalg.det(linear))
        turned = math.degrees(math.atan2(linear[1, 0], linear[0, 0] * math.copysign(1, area)))
        place = self.matrix @ [(self.size[1] - 1) / 2, (self.size[0] - 1) / 2, 1]
        words = [f"zoom {1 / math.sqrt(abs(area)):.2f}", f"turn {round(turned)}°", f"at {place[0]:.0f}, {place[1]:.0f}"]
        return ", ".join([*words, *(["mirrored"] if area < 0 else [])])

    def apply_to_image(self, image: Array) -> Array:
        """Return the (h, w, C) image, bilinear."""
        if (window := self._window(image)) is not None:
            return window
        fill = 0 if self.outside is None else self.outside.fill
        if (moved := self._moved(image, fill)) is not None:
            return moved
        if image.dtype == np.uint8 and image.shape[2] == 3:  # OpenCV warps four channels faster than three
            padded = self._warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), cv2.INTER_LINEAR)
            warped = cv2.cvtColor(padded, cv2.COLOR_RGBA2RGB)
        else:
            warped = self._warp(image, cv2.INTER_LINEAR).reshape(*self.size, -1)
        return self._filled(warped, image.shape, fill)

    def apply_to_label(self, label: LabelMap) -> LabelMap:
        """Return the (h, w) label map, nearest pixel."""
        return self._apply_nearest(label, IGNORE if self.outside is None else self.outside.label)

    def apply_to_shares(self, shares: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the (C, h, w) shares of the categories of (C, H, W) ones, bilinear; 0 where nothing is covered.

        The sum over C stays what it is: the planes are sampled alike.
        """
        if (window := self._window(shares.transpose(1, 2, 0))) is not None:
            return np.ascontiguousarray(window.transpose(2, 0, 1))
        planes = [self._filled(self._warp(plane, cv2.INTER_LINEAR), plane.shape, 0) for plane in shares]
        return np.stack(planes)

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
            return self._apply_nearest(instances.view(np.float32), 0).view(np.int32)
        if instances.dtype != np.uint16:
            raise TypeError(f"expected an instance map of uint16 or int32, got {instances.dtype}: convert it first")
        return self._apply_nearest(instances, 0)

    def inverse(self, size: tuple[int, int]) -> Geometry:
        """Return the geometry that leads back to an image of the given size."""
        return Geometry(np.linalg.inv(self.matrix), size, self.outside)

    def after(self, first: Geometry) -> Geometry:
        """Return the one geometry that equals `first`, then this one; uncovered pixels are this one's."""
        return Geometry(first.matrix @ self.matrix, self.size, self.outside)

    def _apply_nearest(self, values: Array, fill: int) -> Array:
        if (window := self._window(values)) is not None:
            return window
        if (moved := self._moved(values, fill)) is not None:
            return moved
        return self._filled(self._warp(values, cv2.INTER_NEAREST), values.shape, fill)

    def _window(self, array: Array) -> Array | None:
        """Return the crop if it is at most flipped or turned, and needs no more than a border: nothing is sampled."""
        linear, shift = self.matrix[:2, :2], self.matrix[:2, 2]
        transposed = not linear[0, 0] and not linear[1, 1]
        steps = np.array([linear[0, 1], linear[1, 0]]) if transposed else np.diag(linear)
        mixed = not transposed and (linear[0, 1] or linear[1, 0])
        if mixed or (np.abs(steps) != 1).any() or (shift != np.round(shift)).any():
            return None
        ends = shift, shift + steps * (np.array(self.size if transposed else self.size[::-1]) - 1)
        left, top = np.minimum(*ends).astype(int)
        right, bottom = np.maximum(*ends).astype(int) + 1
        if (window := self._with_border(array, left, top, right, bottom)) is None:
            return None
        if (steps < 0).any():
            window = cv2.flip(window, -1 if (steps < 0).all() else int(steps[0] < 0)).reshape(window.shape)
        elif not transposed:
            return window if window.base is None else window.copy()
        return np.ascontiguousarray(np.swapaxes(window, 0, 1)) if transposed else window

    def _with_border(self, array: Array, left: int, top: int, right: int, bottom: int) -> Array | None:
        """Return a rectangle of the array, mirrored beyond it; None where that would take more than one mirror."""
        height, width = array.shape[:2]
        if min(left, top) >= 0 and right <= width and bottom <= height:
            return array[top:bottom, left:right]
        if self.outside is not None or min(right, bottom) <= 0 or left >= width or top >= height:
            return None
        window = array[max(top, 0) : bottom, max(left, 0) : right]
        beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
        if max(beyond[:2]) >= window.shape[0] or max(beyond[2:]) >= window.shape[1]:
            return None
        bordered = cv2.copyMakeBorder(window, *beyond, cv2.BORDER_REFLECT_101)
        return bordered.reshape(*bordered.shape[:2], *array.shape[2:])

    def _moved(self, array: Array, fill: float) -> Array | None:
        """Return the part that is covered on a ground of `fill`, if there is one, for a move by whole pixels."""
        shift = self.matrix[:2, 2]
        if self.outside is None or (self.matrix[:2, :2] != np.eye(2)).any() or (shift != np.round(shift)).any():
            return None
        (height, width), (x, y) = self.size, shift.astype(int)
        rows = slice(min(height, max(0, -y)), max(0, min(height, array.shape[0] - y)))
        columns = slice(min(width, max(0, -x)), max(0, min(width, array.shape[1] - x)))
        moved = np.full((*self.size, *array.shape[2:]), fill, array.dtype)
        if rows.start < rows.stop and columns.start < columns.stop:
            moved[rows, columns] = array[rows.start + y : rows.stop + y, columns.start + x : columns.stop + x]
        return moved

    def _warp(self, array: Array, interpolation: int) -> Array:
        return cv2.warpAffine(
            array,
            self.matrix[:2],
            self.size[::-1],
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101 if self.outside is None else cv2.BORDER_REPLICATE,
        )

    def _filled(self, warped: Array, shape: tuple[int, ...], fill: float) -> Array:
        """Fill the pixels of every row that come from beyond an image of this shape, in place."""
        if self.outside is None:
            return warped
        starts, ends = self._covered(shape)
        for row in np.flatnonzero((starts > 0) | (ends < self.size[1])):
            warped[row, : starts[row]] = fill
            warped[row, ends[row] :] = fill
        return warped

    def _covered(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return the first covered column of each row and the one behind the last, equal where none is."""
        (height, width), rows = self.size, np.arange(self.size[0])
        starts, ends = np.zeros(height), np.full(height, float(width))
        for (slope, per_row, shift), side in zip(self.matrix[:2], shape[1::-1], strict=True):
            first = per_row * rows + shift  # where column 0 of each row comes from; covered from −.5 to side − .5
            if slope == 0:
                ends = np.where((first >= -0.5) & (first < side - 0.5), ends, 0)
                continue
            low, high = (-0.5 - first) / slope, (side - 0.5 - first) / slope
            starts = np.maximum(starts, np.ceil(low) if slope > 0 else np.floor(high) + 1)
            ends = np.minimum(ends, np.ceil(high) if slope > 0 else np.floor(low) + 1)
        starts = np.clip(starts, 0, width).astype(int)
        return starts, np.clip(ends, starts, width).astype(int)


def draw_geometry(
    specs: Sequence[AugmentSpec],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    crop: tuple[int, int],
    progress: float = 0.0,
) -> Geometry:
    """Draw a crop of an image with the flips, turns and affine changes of the recipe.

    Args:
        specs: the recipe's list; other kinds are passed over.
        rng: generator.
        size: (H, W) of the image.
        crop: (h, w) of the output.
        progress: of the training, from 0 to 1.

    Returns:
        a geometry whose crop lies inside the image where the image is large enough.
    """
    mirror, zoom, stretch, angle, shift = np.ones(2), 1.0, 1.0, 0.0, 0.0
    name, outside = "identity", None
    for spec in specs:
        if isinstance(spec, FlipSpec):
            drawn = rng.random(2)
            chances = chance_at(spec.horizontal, progress), chance_at(spec.vertical, progress)
            mirror = np.where(drawn < chances, -mirror, mirror)
        elif isinstance(spec, TurnSpec) and rng.random() < chance_at(spec.probability, progress):
            name = dihedral.compose(name, spec.turns[rng.integers(len(spec.turns))])
        elif isinstance(spec, CropSpec) and rng.random() < chance_at(spec.probability, progress):
            zoom /= _shown(rng.uniform(*spec.area), size, crop)
        elif isinstance(spec, AffineSpec) and rng.random() < chance_at(spec.probability, progress):
            shift = max(shift, spec.shift)
            zoom *= math.exp(rng.uniform(math.log(spec.scale[0]), math.log(spec.scale[1])))
            stretch *= math.exp(rng.uniform(-1, 1) * math.log1p(spec.stretch))
            angle += math.radians(rng.uniform(-spec.rotate, spec.rotate))
        elif isinstance(spec, OutsideSpec):
            outside = Outside(spec.fill) if spec.rule == "ignore" else None
    factors = mirror / (zoom * np.array([math.sqrt(stretch), 1 / math.sqrt(stretch)]))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn * factors[None, :]
    if name != "identity":  # last: whatever came out is turned
        linear = linear @ dihedral.matrix(name, 1, 1)[:2, :2]
    transposed = dihedral.factors(name)[0]
    covered = np.array(crop if transposed else crop[::-1]) * np.abs(factors)
    centre = _draw_centre(rng, size, covered, shift)
    middle = (np.array(crop[::-1]) - 1) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ middle
    if (np.abs(linear).sum(axis=0) == 1).all() and np.isin(np.abs(linear), (0, 1)).all():
        matrix[:2, 2] = np.round(matrix[:2, 2])  # nothing but crop, flips and turns: pixels land on pixels
    return Geometry(matrix, crop, outside)


def _shown(share: float, size: tuple[int, int], crop: tuple[int, int]) -> float:
    """Return how many pixels of the image lie side by side in one of the crop if it shows a share of the image."""
    (height, width), (rows, columns) = size, crop
    return min(math.sqrt(share * height * width / (rows * columns)), height / rows, width / columns)


def _draw_centre(rng: np.random.Generator, size: tuple[int, int], covered: Array, shift: float) -> Array:
    """Return the (x, y) of the crop's centre in the image."""
    sides = np.array(size[::-1], float)
    room = np.maximum((sides - covered) / 2, 0)
    reach = np.where(room > 0, room, shift * sides)
    return (sides - 1) / 2 + rng.uniform(-1, 1, 2) * reach

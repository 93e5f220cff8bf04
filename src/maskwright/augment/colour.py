"""Colour as one matrix and one curve: brightness, contrast, saturation, tint, gamma."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskwright.recipe.augment import AugmentSpec, ColourSpec
from maskwright.recipe.chance import chance_at
from maskwright.types import Array


@dataclass(frozen=True)
class Colour:
    """A drawn colour change of images in 0..255.

    Attributes:
        matrix: (C, C + 1): channels' linear map and offset.
        gamma: exponent on the value range, after the matrix.
    """

    matrix: Array
    gamma: float

    def __str__(self) -> str:
        if self._still():
            return ""
        scale, offset = np.diag(self.matrix).mean(), self.matrix[:, -1].mean()
        return f"colour × {scale:.2f} {offset:+.0f}, gamma {self.gamma:.2f}"

    def apply(self, image: Array) -> Array:
        """Return the (h, w, C) image changed, of the same type, clipped to 0..255."""
        if self._still():
            return image
        if image.dtype == np.uint8 and self._alike():
            ramp = np.arange(256, dtype=np.float64) * self.matrix[0, 0] + self.matrix[0, -1]
            return cv2.LUT(image, self._curve(ramp).round().astype(np.uint8)).reshape(image.shape)
        changed = cv2.transform(image, self.matrix).reshape(image.shape)
        if image.dtype != np.uint8:
            return self._curve(changed).astype(image.dtype)
        if self.gamma == 1:  # clipped and rounded already
            return changed
        return cv2.LUT(changed, self._curve(np.arange(256, dtype=np.float64)).round().astype(np.uint8))

    def _still(self) -> bool:
        return np.array_equal(self.matrix, np.eye(*self.matrix.shape)) and self.gamma == 1

    def _alike(self) -> bool:
        """Return whether all channels change alike, each by itself alone: one table does."""
        scale, offset = self.matrix[0, 0], self.matrix[0, -1]
        channels = len(self.matrix)
        return np.array_equal(self.matrix, np.column_stack([scale * np.eye(channels), np.full(channels, offset)]))

    def _curve(self, values: Array) -> Array:
        return (np.clip(values, 0, 255) / 255) ** self.gamma * 255


def draw_colour(
    specs: Sequence[AugmentSpec], rng: np.random.Generator, *, channels: int, progress: float = 0.0
) -> Colour:
    """Draw the colour changes of the recipe; other kinds of its list are passed over."""
    matrix, gamma = np.eye(channels, channels + 1), 1.0
    for spec in specs:
        if isinstance(spec, ColourSpec) and rng.random() < chance_at(spec.probability, progress):
            matrix = _compose(_draw_matrix(spec, rng, channels), matrix)
            gamma *= _factor(rng, spec.gamma)
    return Colour(matrix, gamma)


def _draw_matrix(spec: ColourSpec, rng: np.random.Generator, channels: int) -> Array:
    contrast, saturation = _factor(rng, spec.contrast), _factor(rng, spec.saturation)
    offset = rng.uniform(-spec.brightness, spec.brightness) * 255 + 127.5 * (1 - contrast)
    mix = saturation * np.eye(channels) + (1 - saturation) / channels
    if channels == 3:
        mix *= np.array([_factor(rng, spec.tint) for _ in range(channels)])[:, None]
    return np.column_stack([contrast * mix, np.full(channels, offset)])


def _factor(rng: np.random.Generator, strength: float) -> float:
    """Return a factor whose logarithm is uniform: as often 1/x as x."""
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(strength)))


def _compose(second: Array, first: Array) -> Array:
    lower = np.eye(1, first.shape[1], first.shape[1] - 1)
    composed: Array = second @ np.vstack([first, lower])
    return composed

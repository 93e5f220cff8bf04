"""What an image looks like as some numbers, without any network: tones, edges, spectrum, texture, colour.

Chosen by measuring on aliens among Mars terrain (`benchmarks/outliers.py`): with them strangers stand out farther than
with thumbnails or with where things are in the picture.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
_Gray = npt.NDArray[np.float32]

_SIDE = 64
"""Rows and columns to which an image is squeezed, so that features don't depend on its size."""

_FIRST = 256
"""To which large images are squeezed before they become floats."""
_ANGLES, _BANDS = 8, 8
_TINY = 1e-6
_ROUNDING = 1e-3
"""Power below which the spectrum of 8-bit pixels is their rounding."""

FEATURES = (
    *(f"tone_{name}" for name in ("p05", "p25", "median", "p75", "p95", "mean", "spread", "skew", "kurtosis")),
    "edge_mean",
    "edge_spread",
    *(f"edge_angle_{k}" for k in range(_ANGLES)),
    *(f"spectrum_{k}" for k in range(_BANDS)),
    *(f"texture_{k}" for k in range(10)),
    *(f"colour_{name}" for name in ("red", "red_spread", "blue", "blue_spread", "strength", "strength_spread")),
)
"""Names of the features, in order."""


def features(image: npt.NDArray[Any]) -> Features:
    """Return what an image looks like.

    Tones are the 5, 25, 50, 75 and 95 percentiles, mean, standard deviation, skewness and log kurtosis of the gray;
    edges the log mean and log spread of the gradient's length, and the square roots of the shares that 8 directions
    have in it (0..180°); the spectrum is the log power in 8 rings from 1/64 to 1/2 cycles a pixel, even in
    octaves; texture the square roots of the shares of the 10 rotation-invariant uniform local binary patterns of
    radius 1 (Ojala et al. 2002); colour the mean and spread of red − green, of yellow − blue and of the largest minus
    the smallest channel, 0 for gray images.

    Args:
        image: (H, W, 1) or (H, W, 3) RGB; integers count as shares of their type's largest value.

    Returns:
        (43,) float32, all finite, in the order of `FEATURES`.
    """
    small = _squeezed(image)
    gray = np.ascontiguousarray(small.mean(axis=2)) if small.shape[2] > 1 else small[..., 0]
    values = (*_tones(gray), *_edges(gray), *_spectrum(gray), *_texture(gray), *_colours(small))
    return np.nan_to_num(np.array(values, np.float32), posinf=0, neginf=0)


def _squeezed(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the image as (64, 64, C) float32, integers scaled to 0..1."""
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind in "iu" else 1.0
    native = image if image.dtype in (np.uint8, np.uint16, np.float32) else image.astype(np.float32)
    native = np.ascontiguousarray(native)
    if min(image.shape[:2]) > 2 * _FIRST:  # means of many pixels lose nothing that matters by being rounded
        native = cv2.resize(native, (_FIRST, _FIRST), interpolation=cv2.INTER_AREA)
    method = cv2.INTER_AREA if min(image.shape[:2]) >= _SIDE else cv2.INTER_LINEAR
    small = cv2.resize(native.astype(np.float32), (_SIDE, _SIDE), interpolation=method)
    return np.asarray(small.reshape(_SIDE, _SIDE, -1) / np.float32(top), np.float32)


def _tones(gray: _Gray) -> list[float]:
    ordered = np.sort(gray.ravel())
    places = [ordered[int(share * (ordered.size - 1))] for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
    mean, spread = float(gray.mean()), float(gray.std()) + _TINY
    scaled = (gray - mean) / spread
    square = scaled * scaled
    skew, kurtosis = float((square * scaled).mean()), float((square * square).mean())
    return [*map(float, places), mean, spread, float(np.clip(skew, -5, 5)), float(np.log(kurtosis + _TINY))]


def _edges(gray: _Gray) -> list[float]:
    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    length = np.hypot(across, down)
    direction = (np.arctan2(down, across) / np.pi * _ANGLES).astype(np.int64) % _ANGLES
    share = np.bincount(direction.ravel(), length.ravel(), _ANGLES) / (length.sum() + _TINY)
    return [float(np.log(length.mean() + 1e-3)), float(np.log(length.std() + 1e-3)), *np.sqrt(share).tolist()]


def _spectrum(gray: _Gray) -> list[float]:
    window, band, count = _rings()
    power = np.abs(np.fft.rfft2((gray - gray.mean()) * window)) ** 2
    sums = np.bincount(band, power.ravel(), _BANDS + 1)[:_BANDS]
    found: list[float] = np.log(sums / count + _ROUNDING).tolist()
    return found


@cache
def _rings() -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a Hann window (64, 64), the ring of each term of the half spectrum (`_BANDS`: none), terms a ring."""
    window = np.outer(np.hanning(_SIDE), np.hanning(_SIDE)).astype(np.float32)
    radius = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None])
    band = np.digitize(radius, np.geomspace(1 / _SIDE, 0.5, _BANDS + 1)) - 1
    band = np.where((radius == 0) | (radius >= 0.5), _BANDS, band).ravel()
    return window, band, np.maximum(np.bincount(band, minlength=_BANDS + 1)[:_BANDS], 1)


def _texture(gray: _Gray) -> list[float]:
    """Return the shares of the patterns in which the eight neighbours of a pixel are brighter than it."""
    inner = gray[1:-1, 1:-1] + np.float32(0.01)
    codes = np.zeros(inner.shape, np.uint8)
    for bit, (y, x) in enumerate(((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))):
        codes |= (gray[y : y + _SIDE - 2, x : x + _SIDE - 2] > inner).astype(np.uint8) << bit
    counts = np.bincount(_patterns()[codes].ravel(), minlength=10)
    found: list[float] = np.sqrt(counts / codes.size).tolist()
    return found


@cache
def _patterns() -> npt.NDArray[np.uint8]:
    """Return which pattern each byte is: its number of ones if they are in one piece of the circle, else 9."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9).astype(np.uint8)


def _colours(small: npt.NDArray[np.float32]) -> list[float]:
    if small.shape[2] < 3:
        return [0.0] * 6
    red, green, blue = (np.ascontiguousarray(small[..., c]) for c in range(3))  # a maximum along the last axis is slow
    strength = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    planes = red - green, (red + green) / 2 - blue, strength
    return [float(value) for plane in planes for value in (plane.mean(), plane.std())]

"""Pillow's colour operations on arrays: the gray values of `ImageOps` and `ImageEnhance` in a fraction of the time.

All take an (h, w, C) image in 0..255 with one or three channels and how much. 8-bit images come out as Pillow makes
them, pixel by pixel. Float images go through the same tables, interpolated between gray levels, or the same sums,
without rounding; their histogram is that of their rounded values.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from maskwright.types import Array

_LEVELS = np.arange(256)
_WEIGHTS = np.array([[19595, 38470, 7471, 0x8000]], np.float32)  # Rec. 601 in 1/65536, and one half


def autocontrast(image: Array, _: float = 0) -> Array:
    """Stretch each channel to 0..255."""
    return _through(image, np.stack([_stretch(counts) for counts in _histograms(image)], axis=-1))


def equalize(image: Array, _: float = 0) -> Array:
    """Spread each channel so that its histogram is flat."""
    return _through(image, np.stack([_flatten(counts) for counts in _histograms(image)], axis=-1))


def solarize(image: Array, threshold: float) -> Array:
    """Invert what is at `threshold` or above."""
    return _through(image, np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS)[:, None])


def posterize(image: Array, bits: float) -> Array:
    """Keep the `bits` highest bits."""
    return _through(image, (_LEVELS & ~(2 ** (8 - int(bits)) - 1))[:, None])


def invert(image: Array, _: float = 0) -> Array:
    """Exchange black and white."""
    return _through(image, (255 - _LEVELS)[:, None])


def brightness(image: Array, factor: float) -> Array:
    """Move away from black (factor above 1) or towards it."""
    return _through(image, _blended(np.zeros(256), _LEVELS, factor)[:, None])


def contrast(image: Array, factor: float) -> Array:
    """Move away from the mean luma or towards it."""
    luma = _luma(image)
    mean = int(float(cv2.mean(luma)[0]) + 0.5)
    return _through(image, _blended(np.full(256, mean), _LEVELS, factor)[:, None])


def color(image: Array, factor: float) -> Array:
    """Move away from gray or towards it; gray images stay."""
    if image.shape[2] == 1:
        return image
    return _blend(np.repeat(_luma(image)[..., None], 3, axis=2), image, factor)


def sharpness(image: Array, factor: float) -> Array:
    """Move away from the smoothed image or towards it; pixels at the border stay."""
    height, width = image.shape[:2]
    if min(height, width) < 3:
        return image
    total = cv2.boxFilter(image, cv2.CV_16U if image.dtype == np.uint8 else cv2.CV_32F, (3, 3), normalize=False)
    smooth = cv2.addWeighted(
        total, 1 / 13, image, 4 / 13, 0, dtype=cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_32F
    )
    smooth = smooth.reshape(image.shape)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        smooth[edge] = image[edge]
    return _blend(smooth, image, factor)


ENHANCE: dict[str, Callable[[Array, float], Array]] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "solarize": solarize,
    "posterize": posterize,
    "invert": invert,
    "brightness": brightness,
    "contrast": contrast,
    "color": color,
    "sharpness": sharpness,
}
"""By the names of the recipe's operations."""


def _histograms(image: Array) -> list[Array]:
    rounded = image if image.dtype == np.uint8 else np.clip(image, 0, 255).round().astype(np.uint8)
    channels = range(image.shape[2])
    return [cv2.calcHist([rounded], [c], None, [256], [0, 256]).ravel().astype(np.int64) for c in channels]


def _stretch(counts: Array) -> Array:
    low, high = np.flatnonzero(counts)[[0, -1]]
    if high <= low:
        return _LEVELS
    scale = 255.0 / float(high - low)
    table: Array = np.clip((_LEVELS * scale - low * scale).astype(np.int64), 0, 255)
    return table


def _flatten(counts: Array) -> Array:
    used = counts[counts > 0]
    step = int(used.sum() - used[-1]) // 255
    if len(used) <= 1 or step == 0:
        return _LEVELS
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    table: Array = np.minimum((step // 2 + below) // step, 255)
    return table


def _through(image: Array, table: Array) -> Array:
    """Return the image through a (256, 1 or C) table."""
    if image.dtype == np.uint8:
        return cv2.LUT(image, table.astype(np.uint8)[None]).reshape(image.shape)
    columns = np.broadcast_to(table, (256, image.shape[2]))
    planes = [np.interp(image[..., c], _LEVELS, columns[:, c]) for c in range(image.shape[2])]
    return np.stack(planes, axis=-1).astype(image.dtype)


def _luma(image: Array) -> Array:
    """Return (h, w) luma by Rec. 601: Pillow's sum of 16-bit weights, where the image has 8 bits."""
    if image.shape[2] == 1:
        return image[..., 0]
    if image.dtype != np.uint8:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    total = cv2.transform(image.astype(np.float32), _WEIGHTS)  # whole numbers below 2²⁴: exact
    return (total * np.float32(2**-16)).astype(np.uint8)


def _blend(degenerate: Array, image: Array, factor: float) -> Array:
    """Return degenerate + factor · (image − degenerate), cut off like Pillow's: 8-bit pairs through a table of all."""
    if image.dtype != np.uint8:
        return np.clip(degenerate + np.float32(factor) * (image - degenerate), 0, 255).astype(image.dtype)
    first, second = np.meshgrid(_LEVELS, _LEVELS)  # little-endian pairs: the first one is the lower byte
    table = _blended(first, second, factor).astype(np.uint8).ravel()
    height = image.shape[0]
    pairs = cv2.merge([degenerate.reshape(height, -1), image.reshape(height, -1)]).view("<u2")
    return cv2.LUT(pairs[..., 0], table).reshape(image.shape)


def _blended(degenerate: Array, values: Array, factor: float) -> Array:
    """Return the blend of gray levels, in single precision, cut off and rounded down."""
    base = degenerate.astype(np.float32)
    return np.clip(base + np.float32(factor) * (values.astype(np.float32) - base), 0, 255).astype(np.int64)

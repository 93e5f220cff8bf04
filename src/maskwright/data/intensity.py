"""How raw pixel values become what a network sees: channels, value range, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from maskwright.labels import InstanceMap
from maskwright.recipe.data import DataSpec
from maskwright.types import Array

Scale = float | tuple[int, int]
"""Factor from an image's size to the size that the network works at; or (height, width) of all images."""

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Intensity:
    """The four facts; see the fields of the same names in the recipe's data section."""

    channels: int
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, spec: DataSpec) -> Intensity:
        """Return the facts of a resolved recipe."""
        assert spec.channels, "the recipe is not resolved"
        assert spec.value_range and spec.mean and spec.std, "the recipe is not resolved"
        return cls(spec.channels, spec.value_range, spec.mean, spec.std)


def measure(
    images: Iterable[Array], *, channels: int | None = None, value_range: tuple[float, float] | None = None
) -> Intensity:
    """Return the intensity facts of (H, W, C) images, each read once.

    One channel if every image is gray, also where gray is stored as RGB. 8-bit images keep 0..255; deeper ones get
    the .1 and 99.9 percentiles of what is found, so that 12 bits in a 16-bit file don't become black.
    """
    kept = [image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)] for image in images]
    if channels is None:
        channels = 1 if all(k.shape[2] == 1 or (k == k[..., :1]).all() for k in kept) else 3
    if value_range is None:
        deep = [k.ravel() for k in kept if k.dtype != np.uint8]
        low, high = np.percentile(np.concatenate(deep), (0.1, 99.9)) if deep else (0.0, 255.0)
        value_range = (float(low), float(max(high, low + 1e-6)))
    pixels = [_stretched(to_channels(k, channels), value_range).reshape(-1, channels) for k in kept]
    flat = np.concatenate(pixels).astype(np.float64) / 255
    mean, std = flat.mean(0), np.maximum(flat.std(0), 1e-3)
    return Intensity(channels, value_range, tuple(mean.round(5).tolist()), tuple(std.round(5).tolist()))


def to_channels(image: Array, channels: int) -> Array:
    """Return an (H, W, 1 or 3) image with the given number of channels; gray by Rec. 601 weights."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image[..., :1], 3, axis=2)
    if (image == image[..., :1]).all():
        return np.ascontiguousarray(image[..., :1])
    gray: Array = (image[..., :3].astype(np.float32) @ _GRAY)[..., None]
    return gray if image.dtype == np.float32 else gray.round().astype(image.dtype)


def to_working(image: Array, intensity: Intensity, scale: Scale = 1.0) -> Array:
    """Return an image as the network's (h, w, channels) array in 0..255: uint8 for 8-bit images, else float32."""
    image = to_channels(image, intensity.channels)
    return resize(_stretched(image, intensity.value_range), working_size(image.shape[:2], scale))


def _stretched(image: Array, value_range: tuple[float, float]) -> Array:
    """Return values in 0..255: 8-bit images as they are, deeper ones from their range as float32."""
    if image.dtype == np.uint8:
        return image
    low, high = value_range
    stretched: Array = np.clip((image.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255)
    return stretched


def working_size(size: tuple[int, ...], scale: Scale) -> tuple[int, int]:
    """Return (height, width) after scaling, at least one pixel each.

    Example:
        >>> working_size((320, 640), 0.5), working_size((320, 640), (1024, 1024))
        ((160, 320), (1024, 1024))
    """
    if isinstance(scale, tuple):
        return scale
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(image: Array, size: tuple[int, int]) -> Array:
    """Return an (H, W, C) image at (height, width): along an axis that shrinks the area average, else bilinear."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    if size[0] <= height and size[1] <= width:
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    elif size[0] >= height and size[1] >= width:
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    else:  # OpenCV takes one way for both axes; rounded once, after the second
        shrunk = (min(size[1], width), min(size[0], height))
        exact = cv2.resize(image.astype(np.float32), shrunk, interpolation=cv2.INTER_AREA)
        exact = cv2.resize(exact, size[::-1], interpolation=cv2.INTER_LINEAR)
        resized = np.rint(exact).clip(0, 255).astype(np.uint8) if image.dtype == np.uint8 else exact
    return resized[..., None] if resized.ndim == 2 else resized


def resize_label(label: Array, size: tuple[int, int]) -> Array:
    """Return an (H, W) label map at (height, width) by the nearest pixel."""
    if label.shape == size:
        return label
    return cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def resize_instances(instances: InstanceMap, size: tuple[int, int]) -> InstanceMap:
    """Return an (H, W) int32 instance map at (height, width), from the same pixels as `resize_label`."""
    if instances.shape == size:
        return instances
    return resize_label(instances.view(np.float32), size).view(np.int32)  # bit by bit: OpenCV resizes no int32


def resize_shares(shares: Array, size: tuple[int, int]) -> Array:
    """Return (C, H, W) shares of the categories at (height, width), bilinear."""
    if shares.shape[1:] == size:
        return shares
    return np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in shares])


def standardise(image: Array, intensity: Intensity) -> Array:
    """Return float32 (h, w, channels): a working image less the mean, over the standard deviation."""
    if image.dtype == np.uint8:  # the same sums for 256 values
        levels = np.repeat(np.arange(256, dtype=np.float32)[:, None], intensity.channels, axis=1)
        tables = np.ascontiguousarray(_standardised(levels, intensity).T)
        planes = [cv2.LUT(np.ascontiguousarray(image[..., c]), table) for c, table in enumerate(tables)]
        # channels first in memory, as tensors want them
        return np.stack(planes).reshape(-1, *image.shape[:2]).transpose(1, 2, 0)
    return _standardised(image.astype(np.float32), intensity)


def unstandardise(image: Array, intensity: Intensity) -> Array:
    """Return the (h, w, channels) working image in 0..255, float32, of a standardised one."""
    mean, std = _moments(intensity)
    working: Array = image * std + mean
    return working


def _standardised(values: Array, intensity: Intensity) -> Array:
    mean, std = _moments(intensity)
    standardised: Array = (values - mean) / std
    return standardised


def _moments(intensity: Intensity) -> tuple[Array, Array]:
    return np.asarray(intensity.mean, np.float32) * 255, np.asarray(intensity.std, np.float32) * 255

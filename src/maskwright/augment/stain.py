"""Stains of H&E slides after Macenko et al. (2009): fitted to an image, then every pixel recoloured by one matrix.

The definition is that of M. Veta's MATLAB code: optical density −ln((I + 1) / 240), natural logarithm; pixels with a
channel below .15 are left out of the fit; the plane of the two largest eigenvectors of their covariance, a vector
whose first entry is negative turned round; the angles' 1st and 99th percentiles are the stains, the one with more red
haematoxylin; concentrations by least squares over all pixels, their 99th percentiles scaled to the reference's.
Percentiles are MATLAB's, at (k − .5) / n (NumPy's `hazen`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from maskwright.types import Array

LIGHT = 240.0
"""Transmitted light: the gray value of glass without tissue."""

REFERENCE = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
"""(3, 2): optical density of haematoxylin and of eosin in red, green, blue."""

REFERENCE_MOST = np.array([1.9705, 1.0308])
"""99th percentile of the concentrations of a reference slide."""

_LEAST_DENSITY, _LEAST_PIXELS, _PERCENT, _THIN = 0.15, 100, 1.0, 1e-6

Stained = Literal["norm", "hematoxylin", "eosin"]


@dataclass(frozen=True)
class StainFit:
    """The stains of one image.

    Attributes:
        stains: (3, 2) unit vectors of optical density, haematoxylin first.
        most: (2,) 99th percentiles of the concentrations over all pixels.
    """

    stains: Array
    most: Array


def fit_stains(image: Array) -> StainFit | None:
    """Fit the two stains of an image.

    Args:
        image: (H, W, 3) in 0..255, uint8 or float.

    Returns:
        None where there is nothing to fit: not three channels, under 100 pixels with stain in every channel, all of
        one direction of colour, or a stain without concentration.
    """
    if image.shape[2] != 3:
        return None
    density = _density(image).reshape(-1, 3).astype(np.float64)
    dense = density[(density >= _LEAST_DENSITY).all(axis=1)]
    if len(dense) < _LEAST_PIXELS:
        return None
    spread, vectors = np.linalg.eigh(np.cov(dense.T))
    if spread[1] <= _THIN * max(spread[2], _THIN):
        return None
    plane = vectors[:, 1:] * np.where(vectors[0, 1:] < 0, -1, 1)
    along = dense @ plane
    ends = np.percentile(np.arctan2(along[:, 1], along[:, 0]), (_PERCENT, 100 - _PERCENT), method="hazen")
    stains = plane @ np.stack([np.cos(ends), np.sin(ends)])
    stains = stains[:, np.argsort(-stains[0], kind="stable")]
    if np.linalg.svd(stains, compute_uv=False)[1] < _THIN:
        return None
    most = np.percentile(density @ np.linalg.pinv(stains).T, 100 - _PERCENT, axis=0, method="hazen")
    return StainFit(stains, most) if (most > 0).all() else None


def restain(image: Array, fit: StainFit | None, shown: Stained) -> Array:
    """Return the image with one or both stains at reference colours and concentrations.

    Args:
        image: (H, W, 3) in 0..255, the one that was fitted or a part of it.
        fit: its stains; None leaves the image as it is.
        shown: norm: both stains; else one alone.

    Returns:
        the same shape and type, values cut off at 0 and 255, 8-bit ones rounded.
    """
    if fit is None:
        return image
    concentrations = np.linalg.pinv(fit.stains) * (REFERENCE_MOST / fit.most)[:, None]
    kept = {"norm": slice(0, 2), "hematoxylin": slice(0, 1), "eosin": slice(1, 2)}[shown]
    return _light(image, REFERENCE[:, kept] @ concentrations[kept], np.zeros(3), 0.0)


def jitter(image: Array, fit: StainFit | None, *, scale: Array, shift: Array) -> Array:
    """Return the image with other concentrations of its stains; what neither stain explains stays.

    Args:
        image: (H, W, 3) in 0..255, the one that was fitted or a part of it.
        fit: its stains; None leaves the image as it is.
        scale: (2,) factor of each stain's concentration; 1 changes nothing.
        shift: (2,) added to it, as shares of the largest concentration.
    """
    if fit is None:
        return image
    change = np.eye(3) + fit.stains @ ((np.asarray(scale) - 1)[:, None] * np.linalg.pinv(fit.stains))
    return _light(image, change, fit.stains @ (np.asarray(shift) * fit.most), 1.0)


def _density(image: Array) -> Array:
    """Return the optical density as float32: −ln((I + 1) / 240)."""
    if image.dtype == np.uint8:
        table = -np.log((np.arange(256) + 1) / LIGHT)
        return cv2.LUT(image, table.astype(np.float32)).reshape(image.shape)
    density: Array = -np.log((np.maximum(image, 0).astype(np.float32) + 1) / np.float32(LIGHT))
    return density


def _light(image: Array, matrix: Array, offset: Array, less: float) -> Array:
    """Return 240 · exp(−(matrix · density + offset)) − `less`, in 0..255 and of the image's type."""
    change = -np.column_stack([matrix, offset])
    light = cv2.exp(cv2.transform(_density(image), change.astype(np.float32)))
    if image.dtype == np.uint8:
        bright: Array = cv2.addWeighted(light, LIGHT, light, 0, -less, dtype=cv2.CV_8U)
        return bright
    found: Array = np.clip(light * LIGHT - less, 0, 255).astype(image.dtype)
    return found

"""A fully connected CRF: pixels that are near and alike agree on a category. Mean field, no compiler.

Krähenbühl and Koltun (2011), "Efficient inference in fully connected CRFs with Gaussian edge potentials", with Potts
labels. Each iteration is Q ← softmax(ln P + Σ w D^(−1/2) K D^(−1/2) Q) over a Gaussian kernel K of places and a
bilateral one of places and colours, K(f, g) = exp(−|f − g|² / 2) of features in standard deviations, D = diag(K 1). A
pixel is its own neighbour (K(f, f) = 1), as in the authors' code and unlike in the paper's formula.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maskwright.errors import DataError, problem
from maskwright.postprocess.checks import check_probabilities
from maskwright.postprocess.crf_lattice import Lattice
from maskwright.recipe.steps import CrfSpec
from maskwright.types import Array, Probabilities

Kernel = Callable[[Array], Array]
"""(N, C) values of pixels → their (N, C) weighted sums."""

_LEAST = 1e-5
"""The lowest probability that counts, so that none rules a category out for good."""
_OFF = 0.02
"""How far the probabilities of a pixel may be from adding up to 1: float16 storage and resizing."""
_NARROWEST = 0.1
"""The least standard deviation in pixels: no pixel sees its neighbours any more, and places stay exact in float32."""
_ROWS = 512
"""Rows of the matrix of all pairs that are computed at a time."""


def crf(probabilities: Probabilities, image: Array, spec: CrfSpec | None = None) -> Probabilities:
    """Let pixels that are near and of like colour agree.

    Up to `spec.exact_pixels` pixels the sums over all pairs of pixels are exact. Beyond, both kernels are filtered on a
    permutohedral lattice, as in the authors' code: all of the image at once, so there are no seams, in about
    100 + 20 C bytes a pixel of a photograph; two to five times that where many channels hold noise.

    Args:
        probabilities: (C, H, W) float in 0..1 that add up to 1 over C.
        image: (H, W) or (H, W, channels) of any number of channels and any real type. 8-bit values count as they are;
            others are first stretched from their .1 and 99.9 percentiles, of all channels together, to 0..255 and cut
            off there.
        spec: weights, standard deviations and iterations; default: those of the recipe.

    Returns:
        (C, H, W) float32: the probabilities after the last iteration, which add up to 1 over C.

    Raises:
        DataError: probabilities that aren't finite, are outside of 0..1 or don't add up to 1; an image of another
            size or with values that aren't finite.

    Example:
        >>> noisy = np.full((2, 8, 8), 0.5) + np.array([-0.2, 0.2]).reshape(2, 1, 1)
        >>> noisy[:, 4, 4] = [0.6, 0.4]
        >>> bool((crf(noisy, np.zeros((8, 8), np.uint8)).argmax(axis=0) == 1).all())
        True
    """
    spec = spec or CrfSpec()
    _check(probabilities, image)
    if probabilities.size == 0:
        return probabilities.astype(np.float32)
    given = np.log(np.clip(probabilities, _LEAST, 1, dtype=np.float32)).reshape(len(probabilities), -1)
    kernels = _kernels(image.reshape(*image.shape[:2], -1), spec)
    found = _softmax(given.copy())
    for _ in range(spec.iterations):
        values = np.ascontiguousarray(found.T)
        np.copyto(found, given)
        for weight, kernel in kernels:
            found += np.float32(weight) * kernel(values).T
        _softmax(found)
    return found.reshape(probabilities.shape)


def _check(probabilities: Probabilities, image: Array) -> None:
    if image.ndim not in (2, 3) or image.shape[:2] != probabilities.shape[1:] or probabilities.ndim != 3:
        raise DataError(
            problem(
                "(C, H, W) probabilities and an (H, W, channels) image of one size",
                f"{probabilities.shape} and {image.shape}",
                where="crf",
                next_move="resize the probabilities to the image",
            )
        )
    check_probabilities(probabilities)
    sums = probabilities.sum(axis=0, dtype=np.float32)
    if sums.size and max(sums.max() - 1, 1 - sums.min()) > _OFF:
        raise DataError(
            problem(
                "probabilities that add up to 1 at every pixel",
                f"sums from {sums.min():.4g} to {sums.max():.4g}",
                where="crf",
                next_move="give softmax outputs; of one sigmoid p give the two categories 1 - p and p",
            )
        )
    if not np.isfinite(image).all():
        raise DataError(
            problem(
                "an image of finite values",
                f"{np.count_nonzero(~np.isfinite(image))} values that aren't",
                where="crf",
                next_move="fill them, with the mean of the image for instance",
            )
        )


def _kernels(image: Array, spec: CrfSpec) -> list[tuple[float, Kernel]]:
    """Return each kernel with its weight; those of weight 0 are left out."""
    height, width = image.shape[:2]
    exact = height * width <= spec.exact_pixels
    kernels: list[tuple[float, Kernel]] = []
    if spec.gaussian_weight > 0 and exact:
        kernels.append((spec.gaussian_weight, _separable(height, width, spec.gaussian_sigma)))
    elif spec.gaussian_weight > 0:
        kernels.append((spec.gaussian_weight, _filtered(_places(height, width, spec.gaussian_sigma))))
    if spec.bilateral_weight > 0:
        scale = 1 if spec.reference is None else min(height, width) / spec.reference
        sigma = max(spec.bilateral_sigma * scale, _NARROWEST)
        points = np.concatenate([_places(height, width, sigma), _colors(image) / np.float32(spec.color_sigma)])
        kernels.append((spec.bilateral_weight, (_all_pairs if exact else _filtered)(points)))
    return kernels


def _places(height: int, width: int, sigma: float) -> Array:
    """Return the (2, N) float32 columns and rows of pixels in standard deviations."""
    rows, columns = np.indices((height, width), np.float32).reshape(2, -1)
    return np.stack([columns, rows]) / np.float32(sigma)


def _colors(image: Array) -> Array:
    """Return the (channels, N) float32 values of an (H, W, channels) image, as if in 0..255."""
    colors = np.array(image.reshape(-1, image.shape[2]).T, np.float32, order="C")
    if image.dtype == np.uint8:
        return colors
    low, high = np.percentile(colors, (0.1, 99.9))
    if high <= low:
        low, high = colors.min(), colors.max()
    if high > low:
        colors -= np.float32(low)
        colors *= np.float32(255 / (high - low))
    return np.clip(colors, 0, 255, out=colors)


def _separable(height: int, width: int, sigma: float) -> Kernel:
    """Return the kernel of places, exact: the product of one along rows and one along columns."""
    along = []
    for side in (height, width):
        places = np.arange(side) / sigma
        weights = np.exp(-0.5 * (places[:, None] - places) ** 2)
        roots = 1 / np.sqrt(weights.sum(axis=1))
        along.append((weights * roots * roots[:, None]).astype(np.float32))

    def sums(values: Array) -> Array:
        down = along[0] @ values.reshape(height, -1)
        found: Array = along[1] @ down.reshape(height, width, -1)
        return found.reshape(values.shape)

    return sums


def _all_pairs(points: Array) -> Kernel:
    """Return the kernel of (d, N) points, exact: an (N, N) float32 matrix."""
    features = (points - points.mean(axis=1, keepdims=True)).T.astype(np.float64)
    halves = 0.5 * (features**2).sum(axis=1)
    matrix = np.empty((len(features), len(features)), np.float32)
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        exponents = features[rows] @ features.T  # minus half of |f - g|², in float64: the parts are far larger
        exponents -= halves
        exponents -= halves[rows, None]
        np.exp(exponents.astype(np.float32), out=matrix[rows])
    roots = (1 / np.sqrt(matrix.sum(axis=1, dtype=np.float64))).astype(np.float32)
    matrix *= roots
    matrix *= roots[:, None]
    return lambda values: np.asarray(matrix @ values)


def _filtered(points: Array) -> Kernel:
    """Return the kernel of (d, N) points, approximate: filtered on a lattice."""
    lattice = Lattice.around(points)
    roots = 1 / np.sqrt(lattice.filter(np.ones((points.shape[1], 1), np.float32)) + np.float32(1e-20))

    def sums(values: Array) -> Array:
        found = lattice.filter(values * roots)
        found *= roots
        return found

    return sums


def _softmax(scores: Array) -> Array:
    """Turn (C, N) scores into probabilities, in place."""
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores

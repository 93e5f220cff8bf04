"""The structural-similarity loss between probabilities and truth."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch.nn import functional

from maskwright.losses.reduction import mean
from maskwright.losses.truth import full_precision, is_soft, known, shares

_C1, _C2 = 0.01**2, 0.03**2
_Blur = Callable[[torch.Tensor], torch.Tensor]


def ssim_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    window: int = 11,
    sigma: float = 1.5,
    padding: str = "zero",
) -> torch.Tensor:
    """Return 1 − mean SSIM of each category's softmax probability with its truth; 0 (with a graph) if nothing counts.

    Wang et al. 2004 with Gaussian windows and a data range of 1, as BASNet's. Ignored pixels are zeros in both maps, as
    what lies beyond the image is, and the windows around them don't count.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares.
        class_weights: (C,) of the mean over categories; 0: takes no part.
        window: side of the window, odd.
        sigma: of the Gaussian, in pixels.
        padding: `zero`: windows around all pixels that aren't ignored count; `valid`: only those that lie inside the
            image and hold no ignored pixel.
    """
    with torch.autocast(logits.device.type, enabled=False):
        probabilities = full_precision(logits).softmax(1)
        weights = probabilities.new_ones(logits.shape[1]) if class_weights is None else class_weights.to(probabilities)
        if padding == "valid" and min(logits.shape[2:]) < window:
            return probabilities.sum() * 0
        pixels = known(labels).to(probabilities)[:, None]
        found, truth = probabilities * pixels, shares(labels, logits.shape[1], probabilities.dtype)
        pad = window // 2 if padding == "zero" else 0
        blur = functools.partial(_blur, window=window, sigma=sigma, pad=pad)
        similarity = _similarity(found, truth, blur, binary=not is_soft(labels))
        counts = pixels if padding == "zero" else _untouched(pixels, window)
        total = ((1 - similarity) * counts).sum((0, 2, 3))
        return mean((total * weights).sum(), counts.sum() * weights.sum())


def _similarity(x: torch.Tensor, y: torch.Tensor, blur: _Blur, *, binary: bool) -> torch.Tensor:
    """Return SSIM around each pixel of two (N, C, H, W) maps; `binary`: y is 0 or 1."""
    mean_x, mean_y = blur(x), blur(y)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance = blur(x * y) - product
    variances = blur(x.square() + (y if binary else y.square())) - squares
    return ((2 * product + _C1) * (2 * covariance + _C2)) / ((squares + _C1) * (variances + _C2))


def _blur(values: torch.Tensor, *, window: int, sigma: float, pad: int) -> torch.Tensor:
    """Return (N, C, h, w) blurred by a Gaussian, rows and columns one after the other."""
    images, count = values.shape[:2]
    offsets = torch.arange(window, dtype=values.dtype, device=values.device) - window // 2
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = values.flatten(0, 1)[:, None]
    flat = functional.conv2d(flat, kernel[None, None, :, None], padding=(pad, 0))
    flat = functional.conv2d(flat, kernel[None, None, None, :], padding=(0, pad))
    return flat.view(images, count, *flat.shape[2:])


def _untouched(pixels: torch.Tensor, window: int) -> torch.Tensor:
    """Return (N, 1, h, w): 1 for windows inside the image without an ignored pixel."""
    return -functional.max_pool2d(-pixels, window, stride=1)

"""The soft Dice loss in its several reductions."""

from __future__ import annotations

import torch

from maskwright.losses.regions import Sums, mean_over_categories, region_sums


def dice_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    smooth: float = 1.0,
    per_image: bool = False,
    absent: str = "skip",
    squared: bool = False,
    one_ratio: bool = False,
) -> torch.Tensor:
    """Return 1 − mean soft Dice, (2 Σ p·y + s) / (Σ p + Σ y + s) per category with sums over the batch.

    The mean is over the categories that occur among the labels; ignored pixels count nowhere. 0 (with a graph) if none
    occurs.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares.
        class_weights: (C,) of the mean, or of the sums of the one ratio; 0: takes no part.
        smooth: s, in pixels.
        per_image: sums over each image, mean over images and categories (MONAI's).
        absent: `skip` or `count` categories without a pixel.
        squared: Σ p² and Σ y² in the denominator (Milletari et al. 2016).
        one_ratio: the sums are over the categories, too (the text of the STAS solution).
    """
    overlap, predicted, truth = region_sums(logits, labels, per_image=per_image, squared=squared)
    if one_ratio:
        overlap, predicted, truth = _over_categories(Sums(overlap, predicted, truth), class_weights)
        class_weights = None
    dice = (2 * overlap + smooth) / (predicted + truth + smooth)
    return mean_over_categories(1 - dice, truth, class_weights, absent=absent)


def _over_categories(sums: Sums, class_weights: torch.Tensor | None) -> Sums:
    weights = 1.0 if class_weights is None else class_weights.to(sums.truth)
    return Sums(*((part * weights).sum(-1, keepdim=True) for part in sums))

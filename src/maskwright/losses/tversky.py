"""The Tversky loss, which weighs false positives and false negatives, and its focal form."""

from __future__ import annotations

import torch

from maskwright.losses.regions import mean_over_categories, region_sums


def tversky_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    exponent: float = 1.0,
    class_weights: torch.Tensor | None = None,
    smooth: float = 1.0,
    per_image: bool = False,
    absent: str = "skip",
) -> torch.Tensor:
    """Return the mean of (1 − T)^e with T = (TP + s) / (TP + α FP + β FN + s) of soft counts per category.

    TP = Σ p·y, FP = Σ p − TP, FN = Σ y − TP: Salehi et al. 2017; with e = 1/γ the focal form of Abraham and Khan 2018.
    0 (with a graph) if no category occurs.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares.
        alpha: α, of false positives.
        beta: β, of false negatives.
        exponent: e.
        class_weights: (C,) of the mean; 0: takes no part.
        smooth: s, in pixels.
        per_image: sums over each image, mean over images and categories; else over the batch.
        absent: `skip` or `count` categories without a pixel.
    """
    overlap, predicted, truth = region_sums(logits, labels, per_image=per_image)
    wrong = alpha * (predicted - overlap) + beta * (truth - overlap)
    losses = 1 - (overlap + smooth) / (overlap + wrong + smooth)
    if exponent != 1:
        some = losses > 1e-7  # below it is rounding, where the gradient of a root is anything
        losses = torch.where(some, torch.where(some, losses, 1.0) ** exponent, 0.0)
    return mean_over_categories(losses, truth, class_weights, absent=absent)

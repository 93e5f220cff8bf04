"""The focal loss over softmax probabilities."""

from __future__ import annotations

import torch

from maskwright.losses.reduction import mean
from maskwright.losses.truth import at_truth, full_precision, is_soft, known


def focal_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | torch.Tensor = 1.0,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean of −α (1 − p)^γ log p over the pixels that aren't ignored; 0 (with a graph) if all are.

    Lin et al. 2017 with the softmax probability p of the true category. With class weights it is the weighted mean,
    Σ w_y·… / Σ w_y, so that γ = 0 is `cross_entropy` with the same weights.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares.
        gamma: γ.
        alpha: α, one for all or (C,).
        class_weights: (C,); default 1.
    """
    logs = full_precision(logits).log_softmax(1)
    if is_soft(labels):
        values = at_truth(_factor(logs, gamma) * -logs * _table(alpha, class_weights, logs)[:, None, None], labels)
    else:
        of_truth = at_truth(logs, labels)
        values = _factor(of_truth, gamma) * -of_truth
        if class_weights is not None or isinstance(alpha, torch.Tensor):
            values = values * at_truth(_table(alpha, class_weights, logs), labels)
        else:
            values = values * alpha
    number = known(labels) if class_weights is None else at_truth(class_weights.to(logs), labels)
    return mean(values.sum(), number.sum())


def _factor(logs: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return (1 − p)^γ of log p, exact near p = 1, and with a finite gradient there also for γ < 1."""
    rest = -torch.expm1(logs)
    return rest.square() if gamma == 2 else rest.clamp(min=1e-12) ** gamma


def _table(alpha: float | torch.Tensor, class_weights: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    ones = like.new_ones(like.shape[1]) if class_weights is None else class_weights.to(like)
    return ones * (alpha.to(like) if isinstance(alpha, torch.Tensor) else alpha)

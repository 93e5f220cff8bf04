"""Cross-entropy."""

from __future__ import annotations

import torch
from torch.nn import functional

from maskwright.losses.reduction import mean
from maskwright.losses.truth import at_truth, full_precision, is_soft, known
from maskwright.types import IGNORE


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean cross-entropy over the pixels that aren't ignored; 0 (with a graph) if all are.

    With class weights Σ −w_y log p_y / Σ w_y, as in PyTorch; 0 (with a graph) where all weights are 0.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares.
        class_weights: (C,); default 1.
        label_smoothing: share of the target spread over all categories.
    """
    logits = full_precision(logits)
    weights = None if class_weights is None else class_weights.to(logits)
    pixels = known(labels)
    number = (pixels if weights is None else at_truth(weights, labels)).sum()
    if not is_soft(labels):
        options = {"weight": weights, "ignore_index": IGNORE, "label_smoothing": label_smoothing}
        return mean(functional.cross_entropy(logits, labels, reduction="sum", **options), number)  # type: ignore[arg-type]
    target = labels.to(logits) * (1 - label_smoothing) + pixels[:, None] * (label_smoothing / logits.shape[1])
    if weights is not None:
        target = target * weights[:, None, None]
    return mean(-(target * logits.log_softmax(1)).sum(), number)

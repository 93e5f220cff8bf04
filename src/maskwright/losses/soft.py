"""Losses for soft labels: how far the probabilities are from the shares of the categories."""

from __future__ import annotations

import torch

from maskwright.losses.reduction import mean
from maskwright.losses.truth import at_truth, full_precision, known, shares


def kl_divergence(
    logits: torch.Tensor, labels: torch.Tensor, *, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean of Σ_c t_c (log t_c − log p_c) over the pixels that aren't ignored; 0 (with a graph) if all are.

    Its gradient is that of cross-entropy; its least value is 0 whatever the shares. Of hard labels it is cross-entropy.
    With class weights Σ_c w_c t_c (log t_c − log p_c), divided by the sum of w_c t_c.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares t.
        class_weights: (C,); default 1.
    """
    logits = full_precision(logits)
    target = shares(labels, logits.shape[1], logits.dtype)
    terms = torch.xlogy(target, target) - target * logits.log_softmax(1)
    if class_weights is None:
        return mean(terms.sum(), known(labels).sum())
    weights = class_weights.to(logits)
    return mean((terms * weights[:, None, None]).sum(), at_truth(weights, labels).sum())


def squared_error(
    logits: torch.Tensor, labels: torch.Tensor, *, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean of Σ_c (p_c − t_c)² over the pixels that aren't ignored (Brier); 0 (with a graph) if all are.

    A pixel whose shares sum to less than 1 weighs that much, and is compared with its shares divided by their sum. With
    class weights Σ_c w_c (p_c − t_c)², divided by the sum of w_c t_c.

    Args:
        logits: as in `kl_divergence`.
        labels: as there.
        class_weights: (C,); default 1.
    """
    logits = full_precision(logits)
    target, weight = shares(labels, logits.shape[1], logits.dtype), known(labels).to(logits.dtype)
    whole = target / torch.where(weight > 0, weight, 1)[:, None]
    terms = (logits.softmax(1) - whole) ** 2 * weight[:, None]
    if class_weights is None:
        return mean(terms.sum(), weight.sum())
    weights = class_weights.to(logits)
    return mean((terms * weights[:, None, None]).sum(), at_truth(weights, labels).sum())

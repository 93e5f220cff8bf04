"""Losses that compare label regions pixel by pixel or by overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from maskwright.losses.reduction import processes, summed
from maskwright.types import IGNORE


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean cross-entropy over the pixels that aren't ignored; 0 (with a graph) if all are.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W) int64 in 0..C-1 or `IGNORE`.
        label_smoothing: share of the target spread over all categories.
    """
    number = summed((labels != IGNORE).sum())
    options = {"ignore_index": IGNORE, "label_smoothing": label_smoothing}
    total = functional.cross_entropy(logits.float(), labels, reduction="sum", **options)  # type: ignore[arg-type]
    mean: torch.Tensor = total * processes() / number.clamp(min=1)
    return mean


def dice_loss(
    logits: torch.Tensor, labels: torch.Tensor, *, positions: Sequence[int] | None = None, smooth: float = 1.0
) -> torch.Tensor:
    """Return 1 − mean soft Dice, (2 Σ p·y + s) / (Σ p + Σ y + s) per category with sums over the batch.

    The mean is over the given categories that occur among the labels of the batch; ignored pixels count nowhere.
    0 (with a graph) if none occurs.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W) int64 in 0..C-1 or `IGNORE`.
        positions: categories that take part; default all.
        smooth: s, in pixels.
    """
    count = logits.shape[1]
    valid = labels != IGNORE
    safe = torch.where(valid, labels, 0)
    probabilities = logits.float().softmax(1) * valid[:, None]
    at_truth = probabilities.gather(1, safe[:, None]).flatten()
    flat, weight = safe.flatten(), valid.flatten().float()
    overlap = at_truth.new_zeros(count).index_add(0, flat, at_truth)
    truth = weight.new_zeros(count).index_add(0, flat, weight)
    overlap, predicted, truth = summed(torch.stack([overlap, probabilities.sum((0, 2, 3)), truth]))
    dice = (2 * overlap + smooth) / (predicted + truth + smooth)
    takes_part = truth > 0
    if positions is not None:
        takes_part = takes_part & torch.isin(
            torch.arange(count, device=truth.device), torch.tensor(list(positions), device=truth.device)
        )
    if not takes_part.any():
        return logits.float().sum() * 0
    loss: torch.Tensor = 1 - dice[takes_part].mean()
    return loss

"""Soft sums over the regions of categories, and what the ratios made of them share."""

from __future__ import annotations

from typing import NamedTuple

import torch

from maskwright.losses.reduction import mean, summed
from maskwright.losses.truth import full_precision, is_soft, known
from maskwright.types import IGNORE


class Sums(NamedTuple):
    """Sums over the batch (C,), or over each image (N, C).

    Attributes:
        overlap: Σ p·y.
        predicted: Σ p, or Σ p².
        truth: Σ y, or Σ y² (the same for hard labels).
    """

    overlap: torch.Tensor
    predicted: torch.Tensor
    truth: torch.Tensor


def region_sums(logits: torch.Tensor, labels: torch.Tensor, *, per_image: bool, squared: bool = False) -> Sums:
    """Return the soft sums of each category; ignored pixels are in none.

    Args:
        logits: (N, C, H, W).
        labels: hard, (N, H, W) int64 in 0..C-1 or `IGNORE`, or soft, (N, C, H, W) shares.
        per_image: sums over each image; else over the batch, which all processes share.
        squared: sum squares of probabilities and shares.
    """
    probabilities = full_precision(logits).softmax(1)
    pixels = known(labels)[:, None]
    if is_soft(labels):
        truth = labels.to(probabilities)
        overlap = (probabilities * truth).sum((2, 3))
        counted = (truth.square() if squared else truth).sum((2, 3))
    else:
        overlap, counted = _hard_sums(probabilities, labels)
    predicted = ((probabilities.square() if squared else probabilities) * pixels).sum((2, 3))
    if per_image:
        return Sums(overlap, predicted, counted)
    return Sums(*summed(torch.stack([overlap.sum(0), predicted.sum(0), counted.sum(0)])))


def _hard_sums(probabilities: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return overlap and truth of each image and category."""
    images, count = probabilities.shape[:2]
    valid = labels != IGNORE
    safe = torch.where(valid, labels, 0)
    at_truth = probabilities.gather(1, safe[:, None])[:, 0] * valid
    place = (safe + count * torch.arange(images, device=labels.device)[:, None, None]).flatten()
    zeros = probabilities.new_zeros(images * count)
    overlap = zeros.index_add(0, place, at_truth.flatten()).view(images, count)
    counted = zeros.index_add(0, place, valid.flatten().to(zeros)).view(images, count)
    return overlap, counted


def mean_over_categories(
    losses: torch.Tensor, truth: torch.Tensor, class_weights: torch.Tensor | None, *, absent: str
) -> torch.Tensor:
    """Return the weighted mean of (C,) or (N, C) losses over the categories that take part; 0 with a graph if none.

    Args:
        losses: of each category, or each image and category.
        truth: sums of the labels, likewise.
        class_weights: (C,); default 1.
        absent: `skip`: categories whose truth is 0 take no part.
    """
    weights = torch.ones_like(losses) if class_weights is None else class_weights.to(losses).expand_as(losses)
    if absent == "skip":
        weights = torch.where(truth > 0, weights, 0.0)
    total = torch.where(weights > 0, losses * weights, 0.0).sum()
    if losses.ndim == 2:
        return mean(total, weights.sum())
    return total / torch.where(weights.sum() > 0, weights.sum(), 1)

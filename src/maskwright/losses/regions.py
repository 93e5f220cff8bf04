"""Soft sums over the regions of categories, and what the ratios made of them share."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from maskwright.losses.reduction import mean, summed
from maskwright.losses.truth import full_precision, is_soft, may_be_ignored, shares
from maskwright.types import IGNORE

_FEW = 2
"""Categories up to which products of whole maps take less time than looking up the true one."""


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
    logits = full_precision(logits)
    if is_soft(labels) or logits.shape[1] <= _FEW:
        truth = shares(labels, logits.shape[1], logits.dtype)
        sums = _soft_sums(logits.softmax(1), truth, squared=squared)
    else:
        sums = _HardSums.apply(logits, labels, squared)
    if per_image:
        return Sums(*sums)
    return Sums(*summed(torch.stack(list(sums)).sum(1)))


def _soft_sums(probabilities: torch.Tensor, truth: torch.Tensor, *, squared: bool) -> tuple[torch.Tensor, ...]:
    """Return overlap, predicted and truth of each image and category."""
    predicted = (probabilities.square() if squared else probabilities) * truth.sum(1, keepdim=True)
    counted = truth.square() if squared else truth
    return (probabilities * truth).sum((2, 3)), predicted.sum((2, 3)), counted.sum((2, 3))


class _HardSums(torch.autograd.Function):
    """Overlap, predicted and truth of each image and category (N, C), from logits and hard labels.

    Written out because it is what the ratios cost: the gradient of all sums through the softmax needs two passes over
    the probabilities, p · (b − Σ p·b) with b the gradient at p, and one over the true ones.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor, squared: bool) -> tuple[torch.Tensor, ...]:
        probabilities, valid, safe = logits.softmax(1), labels != IGNORE, labels
        if may_be_ignored(valid):
            probabilities *= valid[:, None]  # no sum and no gradient sees ignored pixels
            safe = torch.where(valid, labels, 0)
        at_truth = probabilities.gather(1, safe[:, None])
        ctx.save_for_backward(probabilities, safe, at_truth)
        ctx.squared = squared
        zeros = probabilities.new_zeros(probabilities.shape[:2])
        overlap = zeros.scatter_add(1, safe.flatten(1), at_truth.flatten(1))
        truth = zeros.scatter_add(1, safe.flatten(1), valid.flatten(1).to(zeros))
        predicted = (probabilities.square() if squared else probabilities).sum((2, 3))
        return overlap, predicted, truth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_overlap, of_predicted, _ = gradients
        probabilities, safe, at_truth = ctx.saved_tensors
        at_p = of_predicted[:, :, None, None]
        if ctx.squared:
            at_p = 2 * at_p * probabilities
        true = of_overlap.gather(1, safe.flatten(1)).view_as(at_truth) * at_truth
        inner = (probabilities * at_p).sum(1, keepdim=True) + true
        found = (at_p - inner).mul_(probabilities)
        return found.scatter_add_(1, safe[:, None], true), None, None


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

"""The Lovász-softmax loss."""

from __future__ import annotations

import torch

from maskwright.losses.reduction import gathered, mean
from maskwright.losses.truth import full_precision
from maskwright.types import IGNORE


def lovasz_softmax(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    classes: str = "present",
    class_weights: torch.Tensor | None = None,
    per_image: bool = False,
) -> torch.Tensor:
    """Return the mean over categories of the Lovász extension of 1 − IoU at the pixels' errors.

    Berman et al. 2018: errors |1[y = c] − p_c|, sorted descending, times the differences of 1 − IoU. 0 (with a graph)
    if no category takes part. With several processes and sums over the batch, each sorts the errors of all.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W) int64 in 0..C-1 or `IGNORE`; hard ones only.
        classes: `present`: those that occur in the batch (or image); `all`.
        class_weights: (C,) of the mean; 0: takes no part.
        per_image: sort the pixels of each image, mean over images and categories.
    """
    assert labels.ndim == 3, "hard labels: losses.check_soft tells of this when a recipe is built"
    probabilities, count = full_precision(logits).softmax(1), logits.shape[1]
    if not per_image:
        probabilities, labels = gathered(probabilities), gathered(labels)
    valid = (labels != IGNORE)[:, None]
    truth = labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]
    errors = torch.where(valid, torch.where(truth, 1 - probabilities, probabilities), 0.0)
    order = torch.where(valid, errors.detach(), -1.0)
    errors, order, truth = (_rows(part, per_image=per_image) for part in (errors, order, truth))
    losses = (errors * _slopes(order, truth)).sum(-1)  # (C, rows)
    weights = torch.ones_like(losses) if class_weights is None else class_weights.to(losses)[:, None].expand_as(losses)
    some = _rows(valid.expand_as(logits if per_image else probabilities), per_image=per_image).any(-1)
    weights = torch.where(truth.any(-1) if classes == "present" else some, weights, 0.0)
    total = (losses * weights).sum()
    return mean(total, weights.sum()) if per_image else total / torch.where(weights.sum() > 0, weights.sum(), 1)


def _rows(values: torch.Tensor, *, per_image: bool) -> torch.Tensor:
    """Return (N, C, H, W) as (C, N, H·W), or (C, 1, N·H·W)."""
    turned = values.transpose(0, 1)
    return turned.flatten(2) if per_image else turned.flatten(1)[:, None]


@torch.no_grad()
def _slopes(errors: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return by how much 1 − IoU grows where each pixel becomes wrong, largest errors first; (…, P) like the errors.

    Written out instead of as a difference of two near numbers: with I right pixels left and a union of U, a wrong true
    pixel adds 1 / U, and a wrong other one I / (U (U − 1)) with itself in U.
    """
    rank = errors.argsort(-1, descending=True)
    true = truth.gather(-1, rank)
    seen = true.cumsum(-1)
    number = seen[..., -1:]
    left = (number - seen).to(errors)
    union = number + torch.arange(1, errors.shape[-1] + 1, device=errors.device) - seen
    union = union.to(errors)
    slopes = torch.where(true, 1 / union, left / (union * (union - 1).clamp(min=1)))
    slopes[..., 0] = torch.where(number[..., 0] > 0, slopes[..., 0], 1.0)
    return torch.zeros_like(errors).scatter_(-1, rank, slopes)

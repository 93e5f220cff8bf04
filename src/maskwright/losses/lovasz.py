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
    assert labels.ndim == 3, "hard labels: recipe.mixing.check_mix tells of this when a recipe is built"
    probabilities = full_precision(logits).softmax(1)
    if not per_image:
        probabilities, labels = gathered(probabilities), gathered(labels)
    positions = _positions(labels, probabilities.shape[1], classes, class_weights)
    if not len(positions):
        return probabilities.sum() * 0
    if len(positions) < probabilities.shape[1]:
        probabilities = probabilities[:, positions]
    valid = (labels != IGNORE)[:, None]
    truth = labels[:, None] == positions[:, None, None]
    errors = torch.where(truth, 1 - probabilities, probabilities) * valid
    errors, truth, valid = (_rows(part.expand_as(truth), per_image=per_image) for part in (errors, truth, valid))
    losses = (errors * _slopes(errors.detach(), truth, valid)).sum(-1)  # (positions, rows)
    weights = torch.ones_like(losses) if class_weights is None else class_weights.to(losses)[positions, None]
    weights = torch.where((truth if classes == "present" else valid).any(-1), weights, 0.0)
    total = (losses * weights).sum()
    return mean(total, weights.sum()) if per_image else total / torch.where(weights.sum() > 0, weights.sum(), 1)


def _positions(labels: torch.Tensor, count: int, classes: str, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Return the categories that take part: the others need not be sorted."""
    known = labels[labels != IGNORE]
    takes_part = torch.bincount(known, minlength=count) > 0 if classes == "present" else known.new_ones(count) > 0
    if class_weights is not None:
        takes_part = takes_part & (class_weights.to(labels.device) > 0)
    return takes_part.nonzero()[:, 0]


def _rows(values: torch.Tensor, *, per_image: bool) -> torch.Tensor:
    """Return (N, C, H, W) as (C, N, H·W), or (C, 1, N·H·W)."""
    turned = values.transpose(0, 1)
    return turned.flatten(2) if per_image else turned.flatten(1)[:, None]


@torch.no_grad()
def _slopes(errors: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return by how much 1 − IoU grows where each pixel becomes wrong, largest errors first; (…, P) like the errors.

    Written out instead of as a difference of two near numbers: with I right pixels left and a union of U, a wrong true
    pixel adds 1 / U, and a wrong other one I / (U (U − 1)) with itself in U. The order of positive floats is that of
    their bits; integers are sorted in less than half the time, and the last bit brings the truth along.
    """
    bits = errors.contiguous().view(torch.int64 if errors.dtype == torch.float64 else torch.int32)
    keys, rank = torch.where(valid, 2 * bits.long() + truth, -2).sort(-1, descending=True)
    true = (keys & 1).bool()
    seen = true.cumsum(-1)
    number = seen[..., -1:]
    left = (number - seen).to(errors)
    union = (number + torch.arange(1, errors.shape[-1] + 1, device=errors.device) - seen).to(errors)
    slopes = torch.where(true, 1 / union, left / (union * (union - 1).clamp(min=1)))
    slopes[..., 0] = torch.where(number[..., 0] > 0, slopes[..., 0], 1.0)
    return torch.zeros_like(errors).scatter_(-1, rank, slopes)

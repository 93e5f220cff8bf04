"""What is learned from pseudo-labels: cross-entropy that rare categories and sure pixels weigh more in."""

from __future__ import annotations

from typing import Literal

import torch

from maskwright.losses.reduction import mean
from maskwright.losses.truth import full_precision
from maskwright.types import IGNORE

Denominator = Literal["all", "valid", "kept"]
"""What the sum over pixels is divided by."""


def focal_pseudo_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    confidence: torch.Tensor | None,
    valid: torch.Tensor,
    *,
    denominator: Denominator = "all",
) -> torch.Tensor:
    """Return −m (1 − χ)^λ log p of the pseudo-label, summed over the pixels (thesis, equation 7.3), over their number.

    Args:
        logits: (N, C, H, W) of the student.
        labels: (N, H, W) int64 pseudo-labels with `IGNORE`.
        weights: (C,) (1 − χ)^λ.
        confidence: (N, H, W) m, probability that the teacher gives the label; None: 1.
        valid: (N, H, W) bool, pixels inside the image.
        denominator: all: every pixel, as in the public code, so that few labels move little; valid: those inside the
            image; kept: those with a label.

    Returns:
        scalar; 0 with a gradient of 0 where nothing is kept.
    """
    terms = torch.nn.functional.cross_entropy(
        full_precision(logits), labels, weights.to(logits.device, torch.float32), ignore_index=IGNORE, reduction="none"
    )
    if confidence is not None:
        terms = terms * confidence
    number = _number(labels, valid, denominator)
    return mean(terms.sum(), number)


def _number(labels: torch.Tensor, valid: torch.Tensor, denominator: Denominator) -> torch.Tensor:
    if denominator == "all":
        return torch.tensor(float(labels.numel()), device=labels.device)
    counted = valid if denominator == "valid" else labels != IGNORE
    return counted.sum(dtype=torch.float32)

"""Which of the teacher's predictions are learned from: a threshold for each category of each image."""

from __future__ import annotations

from typing import NamedTuple

import torch

from maskwright.types import IGNORE


class PseudoLabels(NamedTuple):
    """What a teacher's predictions come to.

    Attributes:
        guess: (N, H, W) int64, the most likely category, `IGNORE` where nothing is known.
        kept: (N, H, W) bool, whether it is learned from.
        confidence: (N, H, W) float32, its probability, 0 where nothing is known.
    """

    guess: torch.Tensor
    kept: torch.Tensor
    confidence: torch.Tensor

    @property
    def labels(self) -> torch.Tensor:
        """(N, H, W) int64, `IGNORE` where the guess isn't relied on."""
        return torch.where(self.kept, self.guess, IGNORE)


def class_thresholds(
    peaks: torch.Tensor, prior: torch.Tensor, *, upper: float = 0.75, beta: float = 1e-3, floor: float = 0.2
) -> torch.Tensor:
    """Return θ = max(ζ m (1 − exp(−χ / β)), floor): lower for rare categories, and where none is sure of them.

    The thesis gives no formula; this is that of the public code (visinf/da-sac).

    Args:
        peaks: (N, C) m, the largest confidence among the pixels of an image that are predicted as a category.
        prior: (C,) χ.
        upper: ζ.
        beta: β.
        floor: .2; .1 with VGG-16 in the public code.

    Example:
        >>> class_thresholds(torch.full((1, 4), 0.9), torch.tensor([0.3, 5e-3, 1e-3, 3e-4])).round(decimals=6)
        tensor([[0.6750, 0.6705, 0.4267, 0.2000]])
    """
    return (upper * peaks * (1 - torch.exp(-prior / beta))).clamp(min=floor)


@torch.no_grad()
def pseudo_labels(
    probabilities: torch.Tensor,
    valid: torch.Tensor,
    prior: torch.Tensor,
    *,
    upper: float = 0.75,
    beta: float = 1e-3,
    floor: float = 0.2,
) -> PseudoLabels:
    """Return what is learned from: a pixel's label where its probability is above its category's threshold.

    Args:
        probabilities: (N, C, H, W) of the teacher, 0 where nothing is known.
        valid: (N, H, W) bool; pixels beyond the image are never learned from.
        prior: (C,) χ.
        upper: ζ of `class_thresholds`.
        beta: β.
        floor: the lowest threshold.
    """
    confidence, label = probabilities.float().max(1)
    valid = valid & (confidence > 0)
    categories = probabilities.shape[1]
    confidence = torch.where(valid, confidence, 0.0)
    chosen = torch.where(valid, label, categories)
    thresholds = class_thresholds(_peaks(confidence, chosen, categories), prior, upper=upper, beta=beta, floor=floor)
    kept = valid & (confidence > thresholds.gather(1, label.flatten(1)).view_as(label))
    return PseudoLabels(torch.where(valid, label, IGNORE), kept, confidence)


def _peaks(confidence: torch.Tensor, label: torch.Tensor, categories: int) -> torch.Tensor:
    """Return (N, C) the largest confidence of each category's pixels, 0 where it has none; label C is of none."""
    found = confidence.new_zeros(len(confidence), categories + 1)
    found.scatter_reduce_(1, label.flatten(1), confidence.flatten(1), "amax")
    return found[:, :categories]

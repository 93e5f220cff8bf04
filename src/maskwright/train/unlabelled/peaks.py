"""How sure a teacher's surest pixels of each category are, and the thresholds that follow from it."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.losses.reduction import summed
from maskwright.recipe.unlabelled import AdaptiveThresholdSpec

BINS = 256
"""Of confidences, from 0 to 1: percentiles are known to 1 / 256, and add up over processes."""


class Peaks(nn.Module):
    """A moving mean, for each category, of a high percentile of the confidences of the pixels predicted as it.

    A category that was never predicted has the peak 1, which no pixel asks for; it takes over what the first step that
    predicts it says. The mean then grows longer, as that of the average that is shipped.

    Args:
        categories: C.
        spec: the method's.

    Attributes:
        value: (C,) float32, the peaks.
        steps: (C,) int64, how many steps have predicted the category.
    """

    value: torch.Tensor
    steps: torch.Tensor

    def __init__(self, categories: int, spec: AdaptiveThresholdSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("value", torch.ones(categories))
        self.register_buffer("steps", torch.zeros(categories, dtype=torch.int64))

    def thresholds(self) -> torch.Tensor:
        """Return (C,) θ = max(share · peak, floor)."""
        return (self.spec.share * self.value).clamp(min=self.spec.lowest(len(self.value)))

    @torch.no_grad()
    def update(self, probabilities: torch.Tensor, valid: torch.Tensor) -> None:
        """Move by what a step predicts, of all processes together.

        Args:
            probabilities: (N, C, h, w) of the teacher.
            valid: (N, h, w) bool, pixels that count.
        """
        categories = len(self.value)
        confidence, labels = probabilities.float().max(1)
        places = labels * BINS + (confidence * BINS).long().clamp(0, BINS - 1)
        places = torch.where(valid, places, categories * BINS).flatten()
        counted = torch.zeros(categories * BINS + 1, dtype=torch.int64, device=places.device)
        counted.scatter_add_(0, places, torch.ones_like(places))  # as whole numbers: a float stops at 16.7 million
        counts = summed(counted)[:-1].view(categories, BINS)
        found, total = percentile(counts, self.spec.percentile), counts.sum(1)
        stays = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.spec.momentum)
        stays = torch.where(self.steps > 0, stays, 0.0)  # nothing of what wasn't seen
        self.value.copy_(torch.where(total > 0, stays * self.value + (1 - stays) * found, self.value))
        self.steps.add_(total > 0)


def percentile(counts: torch.Tensor, share: float) -> torch.Tensor:
    """Return (C,) the lower edge of the bin in which the share of (C, bins) counts is reached, from 0 to 1.

    Example:
        >>> percentile(torch.tensor([[0.0, 9, 1, 0], [4, 0, 0, 0]]), 0.95)
        tensor([0.5000, 0.0000])
    """
    below = counts.double().cumsum(1)
    wanted = share * below[:, -1:]
    return (below < wanted).sum(1) / counts.shape[1]

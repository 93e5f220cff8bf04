"""Whether the loss rises in the first steps, after which a training with SAC seldom recovers."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.losses.reduction import processes, summed


class EarlyLoss(nn.Module):
    """Compares the mean loss of the first half of the first steps with that of the second; its state resumes.

    Args:
        steps: that are watched; 0: none.
        rise: factor above which the loss has risen.
    """

    sums: torch.Tensor
    counts: torch.Tensor

    def __init__(self, steps: int, rise: float) -> None:
        super().__init__()
        self.steps, self.rise = steps, rise
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(2, dtype=torch.int64))

    @torch.no_grad()
    def add(self, loss: torch.Tensor, step: int) -> None:
        """Add the loss of a step, or of a part of it; without the weights that change over the training."""
        if step < self.steps:
            half = int(2 * step >= self.steps)
            self.sums[half] += summed(loss.detach()) / processes()  # alike in all: DDP copies those of the first
            self.counts[half] += 1

    def verdict(self, step: int) -> str:
        """Return what is to be said after a step; nothing but where the watched ones have ended and the loss rose."""
        if not self.steps or step != self.steps:
            return ""
        first, second = (self.sums / self.counts.clamp(min=1)).tolist()
        if not self.counts.all() or second <= self.rise * first:
            return ""
        return (
            f"the loss rose from {first:.4g} to {second:.4g} in the first {self.steps} steps: such a training seldom "
            "recovers; restart it with another seed, a longer ramp, or a smaller weight"
        )

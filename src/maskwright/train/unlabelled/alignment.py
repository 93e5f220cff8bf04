"""What a teacher predicts of the pool, brought to the shares that categories have among the labels."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.losses.reduction import summed
from maskwright.types import IGNORE

_MOMENTUM = 0.99
_LEAST = 1e-3
"""Added to both shares: a category that nearly never comes has no say in a ratio."""


class Alignment(nn.Module):
    """Distribution alignment (ReMixMatch, Berthelot et al. 2020; of pixels DARS, He et al. 2021).

    A network that learned from few labels predicts frequent categories too often, and what learns from its labels more
    often still. Its probabilities are multiplied by (share among labels / mean probability over the pool) to the power
    of `strength`, and made to sum to 1 again. Both shares are moving means over the steps, which grow longer at first.

    Args:
        categories: C.
        strength: 0 changes nothing, 1 aligns in full.

    Attributes:
        labelled: (C,) float32, the share of the labelled pixels.
        predicted: (C,) float32, the teacher's mean probability.
        steps: how many have been counted, int64.
    """

    labelled: torch.Tensor
    predicted: torch.Tensor
    steps: torch.Tensor

    def __init__(self, categories: int, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.register_buffer("labelled", torch.zeros(categories))
        self.register_buffer("predicted", torch.zeros(categories))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, probabilities: torch.Tensor, valid: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Move by a step, of all processes together, and return the aligned probabilities.

        Args:
            probabilities: (N, C, h, w) of the teacher.
            valid: (N, h, w) bool, pixels that count.
            labels: (M, H, W) int64 of the step's labelled crops, with `IGNORE`; where nothing is labelled, nothing
                moves.
        """
        categories = len(self.labelled)
        places = torch.where(labels == IGNORE, categories, labels).flatten()  # no value is looked at: a GPU goes on
        told = torch.zeros(categories + 1, dtype=torch.int64, device=labels.device)
        told.scatter_add_(0, places, torch.ones_like(places))
        seen = (probabilities.float() * valid[:, None]).sum((0, 2, 3))
        told, seen = summed(torch.stack([told[:-1].float(), seen]))
        moves = (told.sum() > 0) & (seen.sum() > 0)
        stays = ((1 + self.steps) / (10 + self.steps)).clamp(max=_MOMENTUM) * (self.steps > 0)
        for mean, found in ((self.labelled, told), (self.predicted, seen)):
            mean.copy_(torch.where(moves, stays * mean + (1 - stays) * found / found.sum().clamp(min=1e-6), mean))
        self.steps.add_(moves)
        ratio = ((self.labelled + _LEAST) / (self.predicted + _LEAST)) ** self.strength  # 1 before anything was seen
        aligned = probabilities * ratio[:, None, None]
        return aligned / aligned.sum(1, keepdim=True)

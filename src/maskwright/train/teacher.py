"""The moving average of a network: one class for shipping, for teachers and for momentum networks."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage(nn.Module):
    """An exponential moving average of a network's parameters and floating-point buffers.

    The momentum is ramped: min(momentum, (1 + t) / (10 + t)) after t updates, so early weights are soon forgotten.
    Integer buffers are copied. Its own state counts the updates and so resumes.

    Args:
        network: what is averaged; copied, not kept.
        momentum: share that stays at each update; 1 freezes, 0 copies.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, momentum: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.momentum = momentum
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> MovingAverage:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present state."""
        count = int(self.updates)
        ramped = min(self.momentum, (1 + count) / (10 + count)) if self.momentum < 1 else 1.0
        mine, theirs = list(self.network.state_dict().values()), list(network.state_dict().values())
        floating = [i for i, value in enumerate(mine) if value.is_floating_point()]
        torch._foreach_lerp_([mine[i] for i in floating], [theirs[i] for i in floating], 1 - ramped)
        for own, other in zip(mine, theirs, strict=True):
            if not own.is_floating_point():
                own.copy_(other)
        self.updates += 1

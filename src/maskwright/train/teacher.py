"""The moving average of a network: one class for shipping, for teachers and for momentum networks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage(nn.Module):
    """An exponential moving average of a network's parameters and floating-point buffers.

    The momentum is ramped: min(momentum, (1 + t) / (10 + t)) after t updates, so early weights are soon forgotten.
    Integer buffers are copied. Its own state counts the updates and so resumes. With `mean_from` it is the plain mean
    of all states after that (stochastic weight averaging, Izmailov et al. 2018; statistics of batch norm are averaged
    like the weights, not measured anew), and follows the network until then.

    Args:
        network: what is averaged; copied, not kept.
        momentum: share that stays at each update; 1 freezes, 0 copies.
        mean_from: updates after which the plain mean begins; None: the exponential one.
    """

    updates: torch.Tensor
    _of: nn.Module | None

    def __init__(self, network: nn.Module, momentum: float, *, mean_from: int | None = None) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.momentum, self.mean_from = momentum, mean_from
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count: int | None = None
        object.__setattr__(self, "_of", None)  # not a submodule: whose tensors are paired with ours
        self._pairs: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []

    def train(self, mode: bool = True) -> MovingAverage:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present state."""
        if self._count is None or self._of is not network:
            # once, and after a state was loaded or this was moved: asking the buffer would wait for the device
            self._count, self._pairs = int(self.updates), self._paired(network)
            object.__setattr__(self, "_of", network)
        (floating, their_floating), (others, their_others) = self._pairs
        torch._foreach_lerp_(floating, their_floating, 1 - self._stays(self._count))
        if others:
            torch._foreach_copy_(others, their_others)
        self._count += 1
        self.updates.fill_(self._count)

    def _stays(self, count: int) -> float:
        """Return the share of the average that stays at the update after `count` others."""
        if self.mean_from is not None:
            averaged = max(0, count - self.mean_from)
            return averaged / (averaged + 1)
        return min(self.momentum, (1 + count) / (10 + count)) if self.momentum < 1 else 1.0

    def _paired(self, network: nn.Module) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
        """Return ours and theirs: floating-point tensors, then the others."""
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        kinds = ([p for p in pairs if p[0].is_floating_point()], [p for p in pairs if not p[0].is_floating_point()])
        return [([own for own, _ in kind], [other for _, other in kind]) for kind in kinds]

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._count = None

    def _apply(self, *arguments: Any, **options: Any) -> MovingAverage:
        self._count = None
        moved: MovingAverage = super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        return moved

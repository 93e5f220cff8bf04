"""Sums over all the processes that share a step: a loss of the whole batch, not a mean of the losses of its parts."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import distributed


def processes() -> int:
    """Return how many processes share a step."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Summed(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs.

    torch.distributed.nn has the like, but its default arguments hold the group that is there when it is imported: one
    that is destroyed lives on, a later one is not used, and its threads may abort the process as it ends.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return summed(gradients[0])


class _Gathered(torch.autograd.Function):
    """The rows of all the processes; the gradient of its own ones is the sum of what each process says of them."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(processes())]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return summed(gradients[0]).chunk(processes())[distributed.get_rank()]


def summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over the processes, with a gradient; alone, the tensor itself."""
    return values if processes() == 1 else cast(torch.Tensor, _Summed.apply(values))


def gathered(values: torch.Tensor) -> torch.Tensor:
    """Return the (N, …) tensors of all the processes, of the same shape, one after the other, with a gradient."""
    return values if processes() == 1 else cast(torch.Tensor, _Gathered.apply(values))


def mean(total: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Return the sum of scalars `total` over the processes, divided by that of `number`; 0 with a graph where it is 0.

    The value of one process is its share times their number: the mean over the processes, which the loop takes of
    losses and gradients alike, is the value.
    """
    whole = summed(number.detach())
    shared = total if processes() == 1 else total * processes()
    return shared / torch.where(whole > 0, whole, 1)

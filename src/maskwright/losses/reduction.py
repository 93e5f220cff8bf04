"""Sums over all the processes that share a step: a loss of the whole batch, not a mean of the losses of its parts."""

from __future__ import annotations

import torch
from torch import distributed


def processes() -> int:
    """Return how many processes share a step."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over the processes, with a gradient; alone, the tensor itself."""
    if processes() == 1:
        return values
    from torch.distributed.nn.functional import all_reduce

    total: torch.Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def gathered(values: torch.Tensor) -> torch.Tensor:
    """Return the (N, …) tensors of all the processes, of the same shape, one after the other, with a gradient."""
    if processes() == 1:
        return values
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(values))  # type: ignore[no-untyped-call]


def mean(total: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Return the sum of scalars `total` over the processes, divided by that of `number`; 0 with a graph where it is 0.

    The value of one process is its share times their number: the mean over the processes, which the loop takes of
    losses and gradients alike, is the value.
    """
    whole = summed(number.detach())
    shared = total if processes() == 1 else total * processes()
    return shared / torch.where(whole > 0, whole, 1)

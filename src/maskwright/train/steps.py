"""What a training step means: losses of a batch, and what happens after each update."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from maskwright.losses import WeightedLoss
from maskwright.train.teacher import MovingAverage


class Step(Protocol):
    """The part of training that differs between methods. An nn.Module, so that all of its state resumes."""

    def losses(self, batch: Any, progress: float) -> dict[str, torch.Tensor]:
        """Return {name: weighted scalar}, to be summed; `progress` runs from 0 to 1 over the training."""
        ...

    def after_update(self) -> None:
        """Called after each optimiser step."""
        ...

    @property
    def predictor(self) -> nn.Module:
        """The network that is validated and shipped."""
        ...


def thin_out(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return the (N, h, w) labels at the size of (N, C, h, w) logits: pixels s · i + s // 2 where these are coarser."""
    factor = labels.shape[-1] // logits.shape[-1]
    return labels[:, factor // 2 :: factor, factor // 2 :: factor]


class SupervisedStep(nn.Module):
    """Learning from labels alone.

    Args:
        network: images → logits.
        loss: of logits and labels.
        momentum: of the moving average that is shipped; 0: the network itself is.
    """

    def __init__(self, network: nn.Module, loss: WeightedLoss, *, momentum: float) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.average = MovingAverage(network, momentum) if momentum > 0 else None

    def losses(self, batch: tuple[torch.Tensor, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the loss for (images (N, C, H, W), labels (N, H, W))."""
        images, labels = batch
        logits = self.network(images)
        terms: dict[str, torch.Tensor] = self.loss(logits, thin_out(labels, logits))
        return terms

    def after_update(self) -> None:
        """Move the average."""
        if self.average is not None:
            self.average.update(self.network)

    @property
    def predictor(self) -> nn.Module:
        """The moving average where there is one."""
        return self.network if self.average is None else self.average.network

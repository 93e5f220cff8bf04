"""What a training step means: losses of a batch, and what happens after each update."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from maskwright.losses import LevelsLoss
from maskwright.train.batch import Batch
from maskwright.train.teacher import Teacher


class Step(Protocol):
    """The part of training that differs between methods. An nn.Module, so that all of its state resumes."""

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return {name: weighted scalar}, to be summed; `progress` runs from 0 to 1 over the training."""
        ...

    def after_update(self) -> None:
        """Called after each optimiser step."""
        ...

    @property
    def predictor(self) -> nn.Module:
        """The network that is validated and shipped."""
        ...


class SupervisedStep(nn.Module):
    """Learning from labels alone.

    Args:
        network: images → logits; in training as many outputs as the loss has levels, a list if there are several.
        loss: of these outputs and the labels.
        momentum: of the moving average that is shipped; 0: the network itself is.
        mean_from: ship the plain mean of the weights after so many updates instead.
    """

    def __init__(self, network: nn.Module, loss: LevelsLoss, *, momentum: float, mean_from: int | None = None) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        averaged = momentum > 0 or mean_from is not None
        self.average = Teacher(network, momentum, ramp="shipping", mean_from=mean_from) if averaged else None

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the loss."""
        outputs = self._outputs(batch.images)
        terms: dict[str, torch.Tensor] = self.loss(outputs, batch.labels, batch.targets, progress, batch.counts)
        return terms

    def after_update(self) -> None:
        """Move the average."""
        if self.average is not None:
            self.average.update(self.network)

    @property
    def predictor(self) -> nn.Module:
        """The moving average where there is one."""
        return self.network if self.average is None else self.average.network

    def _outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the network's outputs, the finest first."""
        outputs = self.network(images)
        return outputs if isinstance(outputs, list) else [outputs]

"""What a training step means: losses of a batch, and what happens after each update."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from maskwright.losses import LevelsLoss, thin_out
from maskwright.train.batch import Batch
from maskwright.train.teacher import Teacher
from maskwright.types import IGNORE


class TrainedOn:
    """How the labelled crops of an epoch were predicted while they were learned from: of every second row and column.

    Labels that a round has made beforehand count like others: there it is agreement with them. Crops are varied and
    mixed, and the network changes from one to the next: what comes of it lies below the score that the same network has
    on whole training images.
    """

    def __init__(self) -> None:
        self._table: torch.Tensor | None = None

    @torch.no_grad()
    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count a batch.

        Args:
            logits: (N, C, h, w).
            labels: (N, H, W) with `IGNORE`, or (N, C, H, W) shares, which sum to 0 where ignored.
        """
        if labels.ndim == logits.ndim:
            labels = torch.where(labels.sum(1) > 0, labels.argmax(1), IGNORE)
        truth, predicted = thin_out(labels, logits)[:, ::2, ::2], logits[:, :, ::2, ::2].argmax(1)
        count = logits.shape[1]
        cells = torch.where(truth == IGNORE, count * count, truth * count + predicted)
        table = torch.bincount(cells.flatten(), minlength=count * count + 1)[:-1].view(count, count)
        self._table = table if self._table is None else self._table + table

    def take(self) -> torch.Tensor | None:
        """Return the (truth, prediction) pixels since the last time, None without any, and begin anew."""
        table, self._table = self._table, None
        return table


class Step(Protocol):
    """The part of training that differs between methods. An nn.Module, so that all of its state resumes."""

    trained_on: TrainedOn

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
        self.network, self.loss, self.trained_on = network, loss, TrainedOn()
        averaged = momentum > 0 or mean_from is not None
        self.average = Teacher(network, momentum, ramp="shipping", mean_from=mean_from) if averaged else None

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the loss."""
        return self._labelled(self._outputs(batch.images), batch, progress)

    def after_update(self) -> None:
        """Move the average."""
        if self.average is not None:
            self.average.update(self.network)

    @property
    def predictor(self) -> nn.Module:
        """The moving average where there is one."""
        return self.network if self.average is None else self.average.network

    def _labelled(self, outputs: list[torch.Tensor], batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the labelled crops, and count how they were predicted."""
        self.trained_on.add(outputs[0], batch.labels)
        terms: dict[str, torch.Tensor] = self.loss(outputs, batch.labels, batch.targets, progress, batch.counts)
        return terms

    def _outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the network's outputs, the finest first."""
        outputs = self.network(images)
        return outputs if isinstance(outputs, list) else [outputs]

"""Batch norm and the domains: its statistics see both, or stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from maskwright.losses import LevelsLoss
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.sac import NormAdaptationSpec
from maskwright.train.batch import Batch
from maskwright.train.steps import SupervisedStep


class NormAdaptationStep(SupervisedStep):
    """Learning from labelled crops; then images of the pool pass through the network, for its statistics alone.

    Each domain is normalised by its own mean and deviation while training, and the running ones that prediction uses
    follow both (visinf/da-sac's baseline). A network without batch norm has none: there is nothing to adapt, and this
    is said.

    Args:
        network: images → logits.
        loss: of the labelled crops.
        recipe: resolved.
        spec: the method's.
        average: options of the moving average that is shipped, as `SupervisedStep` has them.
    """

    def __init__(
        self, network: nn.Module, loss: LevelsLoss, recipe: Recipe, spec: NormAdaptationSpec, **average: Any
    ) -> None:
        super().__init__(network, loss, **average)
        self.adapts = any(norm.track_running_stats for norm in batch_norms(network))
        if not self.adapts:
            report("norm adaptation", 1, 1, "the network has no batch norm: there is nothing to adapt")

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the labelled crops, and let the pool's images change the statistics."""
        terms = super().losses(batch, progress)
        if batch.pool is not None and self.adapts:
            with torch.no_grad():
                self.network(batch.pool.clean.flatten(0, 1))
        return terms


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the layers of a network that normalise by a batch or by running statistics; instance norm isn't one."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@torch.no_grad()
def adapt_statistics(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Measure the running statistics of batch norm anew: the means of those of the batches, of both domains alike.

    The network is left in training mode.

    Args:
        network: on any device, to which batches are moved.
        batches: of labelled crops, each with images of the pool.
    """
    norms = [norm for norm in batch_norms(network) if norm.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    device = next(network.parameters()).device
    network.train()
    for batch in batches:
        assert batch.pool is not None
        for images in (batch.images, batch.pool.clean.flatten(0, 1)):
            network(images.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def freeze_statistics(network: nn.Module) -> None:
    """Let batch norm use its running statistics, and change them no more; its weights still learn."""
    for norm in batch_norms(network):
        norm.eval()


class PoolStep(SupervisedStep):
    """Learning from labels and a pool, with batch norm's statistics as they are if `frozen` says so."""

    frozen = False

    def train(self, mode: bool = True) -> Self:
        """Train, or be asked."""
        super().train(mode)
        if mode and self.frozen:
            freeze_statistics(self.network)
        return self

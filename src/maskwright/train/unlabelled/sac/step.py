"""A training step of SAC: labelled crops, and noisy views that learn what a slow teacher sees in the clean ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from maskwright.losses import LevelsLoss
from maskwright.losses.step import thin_out_by
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.sac import SacSpec
from maskwright.train.batch import Batch, PoolBatch
from maskwright.train.teacher import Teacher
from maskwright.train.unlabelled.agreement import hard_labels
from maskwright.train.unlabelled.kept import KeptLabels
from maskwright.train.unlabelled.masks import block_masks, half_of_categories
from maskwright.train.unlabelled.norm import PoolStep, adapt_statistics
from maskwright.train.unlabelled.sac.early import EarlyLoss
from maskwright.train.unlabelled.sac.fusion import fuse_views
from maskwright.train.unlabelled.sac.labels import PseudoLabels, pseudo_labels
from maskwright.train.unlabelled.sac.loss import focal_pseudo_loss
from maskwright.train.unlabelled.sac.prior import ClassPrior
from maskwright.types import IGNORE


class SacStep(PoolStep):
    """Self-supervised augmentation consistency (Araslanov and Roth 2021; thesis, chapter 7.1).

    The order inside a step is that of the public code: labelled crops; the network on noisy views; the teacher moves,
    if it is its turn; the teacher on clean views; the class prior moves by its probabilities; their fusion;
    thresholds from the moved prior; the loss. What a step costs, in images through the network, for N labelled crops
    and M images of V views: N + V · M forward and backward, and V · M forward; M more
    both ways where a view is masked.

    With a `labelled_share` of 0 it learns from the pool alone. Where a step is made of parts (`train.accumulate`), the
    prior moves with each part, and means are those of the parts.

    Args:
        network: images → logits.
        loss: of the labelled crops.
        recipe: resolved.
        spec: the method's.
        average: options of the moving average that is shipped, as `SupervisedStep` has them.
    """

    steps: torch.Tensor

    def __init__(self, network: nn.Module, loss: LevelsLoss, recipe: Recipe, spec: SacSpec, **average: Any) -> None:
        super().__init__(network, loss, **average)
        names = recipe.data.to_categories().names
        assert recipe.train.steps is not None
        self.spec = spec = spec.at_length(recipe.train.steps)
        assert spec.teacher_momentum is not None and spec.teacher_every is not None and spec.watch_steps is not None
        self.teacher = Teacher(network, spec.teacher_momentum, every=spec.teacher_every)
        self.prior = ClassPrior(len(names), momentum=spec.prior_momentum, start=spec.prior_start)
        self.kept = KeptLabels(names, spec, {"prior_": lambda: self.prior.value})
        self.early = EarlyLoss(spec.watch_steps, spec.watch_rise)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._step: int | None = None  # as `steps`, without asking the device
        self._begins = True
        self.frozen = spec.freeze_norm is True
        self.train()

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the labelled crops, and of the pool `target` and `masked`."""
        unlabelled_only = batch.pool is not None and self.spec.labelled_share == 0
        terms = {} if unlabelled_only else super().losses(batch, progress)
        if batch.pool is None:
            return terms
        images, pasted = self._noisy(batch)
        logits = self._outputs(images)[0]
        stride = images.shape[-1] // logits.shape[-1]
        guessed, valid = self._guess(batch.pool, stride=stride), thin_out_by(batch.pool.valid.flatten(0, 1), stride)
        self.kept.add(guessed.guess, guessed.kept, guessed.confidence, batch.labels)
        found = {"target": self._target(logits, *_with(pasted, guessed, valid, stride))}
        if self.spec.masked is not None:
            found["masked"] = self.spec.masked.weight * self._masked(batch.pool, guessed, valid)
        with torch.no_grad():
            self.early.add(torch.stack([*terms.values(), *found.values()]).sum(), self._number())
        ramp = 1.0 if self.spec.ramp is None else self.spec.ramp.at(progress)
        weight = self.kept.trust * (self.spec.weight * ramp)
        return terms | {name: weight * value for name, value in found.items()}

    def after_update(self) -> None:
        """Move the average that is shipped, and count the step; the teacher waits for the next one to begin."""
        super().after_update()
        self._step = self._number() + 1
        self.steps.fill_(self._step)
        self._begins = True
        if verdict := self.early.verdict(self._step):
            report("sac", 1, 1, verdict)

    def adapt(self, batches: Iterable[Batch]) -> None:
        """Measure the statistics of batch norm anew, before the first step: those of labelled crops and pool alike."""
        adapt_statistics(self.network, batches)
        self.train()
        for copy in (self.teacher, self.average):
            if copy is not None:
                copy.network.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def _guess(self, pool: PoolBatch, *, stride: int) -> PseudoLabels:
        """Return the pseudo-labels of all views, (N · V, h, w), at the pixels that the network's outputs stand for."""
        spec = self.spec
        if self._begins:  # not once more for every part of a step
            self.teacher.update(self.network)
            self._begins = False
        probabilities = self.teacher(pool.clean.flatten(0, 1))
        valid = pool.valid.flatten(0, 1)
        self.prior.update(
            thin_out_by(probabilities, stride), None if spec.prior_padding else thin_out_by(valid, stride)
        )
        fused = fuse_views(
            probabilities.unflatten(0, pool.valid.shape[:2]),
            pool.valid,
            pool.matrices,
            pooling=spec.pooling,
            coverage=spec.coverage,
            stride=stride,
        )
        return pseudo_labels(
            fused.flatten(0, 1),
            thin_out_by(valid, stride),
            self.prior.value,
            upper=spec.upper,
            beta=spec.beta,
            floor=spec.floor,
        )

    def _noisy(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the noisy views (N · V, C, H, W), and the labels (N · V, H, W) of what is pasted into them."""
        assert batch.pool is not None
        images = batch.pool.noisy.flatten(0, 1)
        if "order" not in batch.pool.drawn:
            return images, None
        turn = torch.arange(len(images), device=images.device) % len(batch.images)
        labels = hard_labels(batch.labels)[turn]
        mask = half_of_categories(labels, batch.pool.drawn["order"].flatten(0, 1))
        return torch.where(mask[:, None], batch.images[turn], images), torch.where(mask, labels, IGNORE)

    def _masked(self, pool: PoolBatch, guessed: PseudoLabels, valid: torch.Tensor) -> torch.Tensor:
        """Return the loss of the noisy whole views with hidden blocks, which show the mean colour."""
        assert self.spec.masked is not None
        whole, views = pool.noisy[:, 0], pool.clean.shape[1]
        hidden = block_masks(pool.drawn["masked"], self.spec.masked.block, (whole.shape[2], whole.shape[3]))
        logits = self._outputs(torch.where(hidden[:, None], 0.0, whole))[0]
        first = PseudoLabels(*(part[::views] for part in guessed))
        return self._target(logits, first, valid[::views])

    def _target(self, logits: torch.Tensor, guessed: PseudoLabels, valid: torch.Tensor) -> torch.Tensor:
        """Return the loss of the noisy views, before its weight."""
        spec = self.spec
        return focal_pseudo_loss(
            logits,
            guessed.labels,
            self.prior.focal_weights(spec.focal),
            guessed.confidence if spec.confidence else None,
            valid,
            denominator=spec.denominator,
        )

    def _number(self) -> int:
        if self._step is None:
            self._step = int(self.steps)
        return self._step

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._step = None


def _with(
    pasted: torch.Tensor | None, guessed: PseudoLabels, valid: torch.Tensor, stride: int
) -> tuple[PseudoLabels, torch.Tensor]:
    """Return the labels with the true ones of what was pasted into the views, of confidence 1, and what counts."""
    if pasted is None:
        return guessed, valid
    labels = thin_out_by(pasted, stride)
    there = labels != IGNORE
    mixed = PseudoLabels(
        torch.where(there, labels, guessed.guess),
        guessed.kept | there,
        torch.where(there, 1.0, guessed.confidence),
    )
    return mixed, valid | there

"""Losses: plain functions of logits and labels, and the weighted sum that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from maskwright.losses.regional import cross_entropy, dice_loss
from maskwright.recipe.loss import CrossEntropySpec, DiceSpec, LossSpec, PythonLossSpec
from maskwright.recipe.target import import_target
from maskwright.types import Categories

__all__ = ["LOSSES", "WeightedLoss", "build_loss", "cross_entropy", "dice_loss"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(logits (N, C, H, W), labels (N, H, W) int64 with IGNORE) → scalar."""


def _build_cross_entropy(spec: CrossEntropySpec, categories: Categories) -> Loss:
    return lambda logits, labels: cross_entropy(logits, labels, label_smoothing=spec.label_smoothing)


def _build_dice(spec: DiceSpec, categories: Categories) -> Loss:
    positions = categories.evaluated
    return lambda logits, labels: dice_loss(logits, labels, positions=positions, smooth=spec.smooth)


def _build_python(spec: PythonLossSpec, categories: Categories) -> Loss:
    loss: Loss = import_target(spec.target)(categories=categories, **spec.arguments)
    return loss


LOSSES: dict[type, Callable[..., Loss]] = {
    CrossEntropySpec: _build_cross_entropy,
    DiceSpec: _build_dice,
    PythonLossSpec: _build_python,
}


class WeightedLoss(nn.Module):
    """The terms of a recipe, each with its weight: call → {name: weighted scalar}, to be summed."""

    def __init__(self, terms: Sequence[tuple[str, float, Loss]]) -> None:
        super().__init__()
        self.terms = list(terms)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the weighted value of each term."""
        return {name: weight * loss(logits, labels) for name, weight, loss in self.terms}


def build_loss(specs: Sequence[LossSpec], categories: Categories) -> WeightedLoss:
    """Return the weighted loss of a recipe."""
    terms, seen = [], list[str]()
    for spec in specs:
        name = spec.kind if spec.kind not in seen else f"{spec.kind}_{seen.count(spec.kind) + 1}"
        seen.append(spec.kind)
        terms.append((name, spec.weight, LOSSES[type(spec)](spec, categories)))
    return WeightedLoss(terms)

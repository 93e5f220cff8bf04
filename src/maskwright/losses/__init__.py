"""Losses: plain functions of logits and labels, and the weighted sum that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from maskwright.losses.regional import cross_entropy, dice_loss
from maskwright.recipe.loss import CrossEntropySpec, DiceSpec, LevelSpec, LossSpec, PythonLossSpec
from maskwright.recipe.target import import_target
from maskwright.types import Categories

__all__ = [
    "LOSSES",
    "LevelsLoss",
    "WeightedLoss",
    "build_levels",
    "build_loss",
    "cross_entropy",
    "dice_loss",
    "thin_out",
]

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


class LevelsLoss(nn.Module):
    """The losses of a network's outputs: call → {name: weighted scalar}, to be summed.

    Args:
        levels: a weight and a weighted loss for each output, the finest first.
    """

    def __init__(self, levels: Sequence[tuple[float, WeightedLoss]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in levels]
        self.losses = nn.ModuleList(loss for _, loss in levels)

    def forward(
        self,
        outputs: Sequence[torch.Tensor],
        labels: torch.Tensor,
        targets: Mapping[str, torch.Tensor],
        progress: float,
    ) -> dict[str, torch.Tensor]:
        """Return the terms of all levels.

        Args:
            outputs: (N, C, h, w) logits, the finest first; coarser ones learn from thinned out labels.
            labels: (N, H, W) int64 with `IGNORE`.
            targets: what the losses need besides, by name.
            progress: of the training, from 0 to 1.
        """
        terms: dict[str, torch.Tensor] = {}
        for level, (weight, loss, logits) in enumerate(zip(self.weights, self.losses, outputs, strict=True)):
            suffix = f"_level_{level + 1}" if len(outputs) > 1 else ""
            found = loss(logits, thin_out(labels, logits))
            terms |= {name + suffix: weight * value for name, value in found.items()}
        return terms


def thin_out(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return the (N, h, w) labels at the size of (N, C, h, w) logits: pixels s · i + s // 2 where these are coarser."""
    factor = labels.shape[-1] // logits.shape[-1]
    return labels[:, factor // 2 :: factor, factor // 2 :: factor]


def build_levels(levels: Sequence[LevelSpec], loss: Sequence[LossSpec], categories: Categories) -> LevelsLoss:
    """Return the loss of all supervised outputs of a recipe; `loss` alone for the finest if no level is named."""
    named = levels or (LevelSpec(),)
    return LevelsLoss([(level.weight, build_loss(level.loss or loss, categories)) for level in named])


def build_loss(specs: Sequence[LossSpec], categories: Categories) -> WeightedLoss:
    """Return the weighted loss of a recipe."""
    terms, seen = [], list[str]()
    for spec in specs:
        name = spec.kind if spec.kind not in seen else f"{spec.kind}_{seen.count(spec.kind) + 1}"
        seen.append(spec.kind)
        terms.append((name, spec.weight, LOSSES[type(spec)](spec, categories)))
    return WeightedLoss(terms)

"""Sums of terms: of one output, and of all supervised outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from maskwright.losses.boundary import DistanceMap
from maskwright.losses.step import Number, PixelCounts, thin_out_by

Targets = Mapping[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor, Targets], torch.Tensor]
"""(logits (N, C, H, W), hard or soft labels, targets) → scalar."""
Schedule = Callable[[float], tuple[float, float]]
"""Progress of the training (0 to 1) → (the term's weight, factor on the other terms of the mix)."""


@dataclass(frozen=True)
class Term:
    """One summand of a loss.

    Attributes:
        name: what the curves call it.
        function: its value, unweighted.
        weight: a number, a schedule, or None: learned.
        needs: the targets that it looks for in a batch.
        number: what its mean is divided by, of the labels; None: nothing that differs between parts of a step, or
            nothing that is known of them one by one.
    """

    name: str
    function: Loss
    weight: float | Schedule | None = 1.0
    needs: tuple[DistanceMap, ...] = ()
    number: Number | None = None

    def weight_at(self, progress: float) -> tuple[float, float]:
        """Return the weight, that of a learned one without what is learned, and the factor on the other terms."""
        if callable(self.weight):
            return self.weight(progress)
        return (1.0 if self.weight is None else self.weight), 1.0


class WeightedLoss(nn.Module):
    """The terms of a recipe, each with its weight: call → {name: weighted scalar}, to be summed.

    A learned weight is exp(−s) with a trained s, from 0 on; s / 2 is a summand of its own, NAME_uncertainty (Kendall et
    al. 2018, with σ² = exp(s)).
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        learned = {term.name: nn.Parameter(torch.zeros(())) for term in terms if term.weight is None}
        self.log_variances = nn.ParameterDict(learned)

    def forward(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        targets: Targets | None = None,
        progress: float = 0.0,
        counts: PixelCounts | None = None,
        stride: int = 1,
    ) -> dict[str, torch.Tensor]:
        """Return the weighted value of each term.

        Args:
            logits: (N, C, H, W).
            labels: hard, (N, H, W) int64 with `IGNORE`, or soft, (N, C, H, W) shares.
            targets: what the terms need besides, by name.
            progress: of the training, from 0 to 1.
            counts: where the batch is a part of a step: the mean over the parts is then that over the step.
            stride: by which the labels were thinned out.
        """
        weights = [term.weight_at(progress) for term in self.terms]
        found: dict[str, torch.Tensor] = {}
        for place, (term, (weight, _)) in enumerate(zip(self.terms, weights, strict=True)):
            for other, (_, factor) in enumerate(weights):
                weight *= factor if other != place else 1.0
            value = weight * term.function(logits, labels, targets or {})
            if counts is not None and term.number is not None:
                value = value * counts.share(term.number, stride)
            if term.weight is None:
                variance = self.log_variances[term.name]
                found[term.name] = value * torch.exp(-variance)
                found[f"{term.name}_uncertainty"] = variance / 2
            else:
                found[term.name] = value
        return found


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
        targets: Targets,
        progress: float,
        counts: PixelCounts | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the terms of all levels.

        Args:
            outputs: (N, C, h, w) logits, the finest first; coarser ones learn from thinned out labels.
            labels: hard, (N, H, W) int64 with `IGNORE`, or soft, (N, C, H, W) shares.
            targets: what the losses need besides, by name: (N, …, H, W).
            progress: of the training, from 0 to 1.
            counts: where the batch is a part of a step.
        """
        terms: dict[str, torch.Tensor] = {}
        for level, (weight, loss, logits) in enumerate(zip(self.weights, self.losses, outputs, strict=True)):
            suffix = f"_level_{level + 1}" if len(outputs) > 1 else ""
            thinned = {name: thin_out(target, logits) for name, target in targets.items()}
            found = loss(logits, thin_out(labels, logits), thinned, progress, counts, _stride(labels, logits))
            terms |= {name + suffix: weight * value for name, value in found.items()}
        return terms


def thin_out(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return (N, …, H, W) labels at the size of (N, C, h, w) logits: pixels s · i + s // 2 where these are coarser."""
    return thin_out_by(labels, _stride(labels, logits))


def _stride(labels: torch.Tensor, logits: torch.Tensor) -> int:
    return labels.shape[-1] // logits.shape[-1]

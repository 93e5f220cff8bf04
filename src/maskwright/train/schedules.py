"""Learning rates over a training."""

from __future__ import annotations

import math

import torch
from torch import nn

from maskwright.recipe.optimise import CosineSpec, PlateauSpec, PolynomialSpec, RateSpec, StepSpec


def rate(spec: RateSpec, step: int, *, steps: int, warmup: float) -> float:
    """Return the factor on the peak rate at a step: a linear rise over `warmup` of the steps, then the schedule.

    Args:
        spec: the schedule; a plateau is constant here, what has fallen is `Plateau.factor`.
        step: from 0.
        steps: of the training.
        warmup: share of the steps in which the rate rises.

    Example:
        >>> [round(rate(CosineSpec(), s, steps=10, warmup=0.2), 2) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = min(steps - 1, max(1, round(steps * warmup))) if warmup > 0 else 0
    if step < rising:
        return (step + 1) / rising
    progress = min(1.0, (step - rising) / max(1, steps - rising))
    if isinstance(spec, CosineSpec):
        return spec.to + (1 - spec.to) * 0.5 * (1 + math.cos(math.pi * progress))
    if isinstance(spec, PolynomialSpec):
        return float((1 - progress) ** spec.power)
    if isinstance(spec, StepSpec):  # counted from the first step, not from the end of the rise
        return float(spec.factor ** math.floor(step / (spec.every * steps) + 1e-9))
    return 1.0


class Plateau(nn.Module):
    """Remembers the best score and how often the rate has fallen; its buffers resume with the training."""

    best: torch.Tensor
    waited: torch.Tensor
    factor: torch.Tensor

    def __init__(self, spec: PlateauSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("best", torch.tensor(-math.inf, dtype=torch.float64))
        self.register_buffer("waited", torch.zeros((), dtype=torch.int64))
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))

    def see(self, score: float) -> None:
        """Take a validation's score; NaN is no rise."""
        if score > float(self.best) + self.spec.threshold:
            self.best.fill_(score)
            self.waited.zero_()
        elif int(self.waited) >= self.spec.patience:
            self.factor.mul_(self.spec.factor)
            self.waited.zero_()
        else:
            self.waited.add_(1)

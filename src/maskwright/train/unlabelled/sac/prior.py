"""How often the teacher sees each category: a moving mean of its probabilities."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.losses.reduction import summed


class ClassPrior(nn.Module):
    """χ, the moving mean of the teacher's probability of each category (thesis, equation 7.2; Araslanov and Roth 2021).

    A category has the start value until the teacher first predicts it somewhere; then its entry is what it found there,
    and moves from then on: χ ← γ χ + (1 − γ) a. In the public code an entry counts as untouched while it equals the
    start value, and as seen when its mean probability isn't 0; as no softmax is ever 0, there every entry is
    overwritten in the first step, and those of unseen categories fall towards 0. Here what was seen is known by itself.

    Args:
        categories: C.
        momentum: γ, of source 4: .99.
        start: value before a category is first predicted, β in the public code.

    Attributes:
        value: (C,) float32, χ.
        seen: (C,) bool, whether the category was ever predicted.
    """

    value: torch.Tensor
    seen: torch.Tensor

    def __init__(self, categories: int, *, momentum: float = 0.99, start: float = 1e-3) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.full((categories,), start))
        self.register_buffer("seen", torch.zeros(categories, dtype=torch.bool))

    @torch.no_grad()
    def update(self, probabilities: torch.Tensor, valid: torch.Tensor | None = None) -> None:
        """Move by a step's probabilities, those of all processes together.

        Args:
            probabilities: (N, C, H, W) of the teacher; each pixel sums to 1.
            valid: (N, H, W) bool, pixels that count; None: all, padded ones included, as in the public code.
        """
        found, count = _totals(probabilities, valid)
        all_seen = self.seen.device.type == "cpu" and bool(self.seen.all())  # to ask would stop another device
        predicted = torch.zeros_like(found) if all_seen else _predicted(probabilities, valid)
        total = summed(torch.cat([found, predicted, count]))
        categories = len(self.value)
        mean = total[:categories] / total[-1].clamp(min=1)
        there = (total[-1] > 0) & (total[categories:-1] > 0)
        first = there & ~self.seen
        moved = torch.lerp(self.value, mean, 1 - self.momentum)
        kept = torch.where(self.seen & (total[-1] > 0), moved, self.value)
        self.value.copy_(torch.where(first, mean, kept))
        self.seen.logical_or_(there)

    def focal_weights(self, exponent: float = 3.0) -> torch.Tensor:
        """Return (C,) (1 − χ)^λ, by which frequent categories weigh less (thesis, equation 7.3).

        Example:
            >>> prior = ClassPrior(1, start=0.3)
            >>> round(float(prior.focal_weights()), 3)
            0.343
        """
        return (1 - self.value).clamp(min=0) ** exponent


def _totals(probabilities: torch.Tensor, valid: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (C,) summed probabilities and (1,) the number of pixels, float32."""
    if valid is None:
        found = probabilities.sum((0, 2, 3), dtype=torch.float32)
        return found, found.new_full((1,), probabilities[:, 0].numel())
    found = (probabilities * valid[:, None]).sum((0, 2, 3), dtype=torch.float32)
    return found, valid.sum(dtype=torch.float32)[None]


def _predicted(probabilities: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """Return (C,) float32, how many pixels each category is the likeliest of."""
    categories, largest = probabilities.shape[1], probabilities.argmax(1)
    counted = largest if valid is None else torch.where(valid, largest, categories)
    return torch.bincount(counted.flatten(), minlength=categories + 1)[:categories].float()

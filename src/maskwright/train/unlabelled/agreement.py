"""What a teacher says of each pixel, and how far a student's logits are from it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from maskwright.losses import dice_loss
from maskwright.losses.reduction import mean
from maskwright.losses.truth import full_precision, is_soft, known, shares
from maskwright.types import IGNORE

_SMOOTH = 1e-5


class Guess(NamedTuple):
    """A teacher's labels of a batch.

    Attributes:
        labels: (N, h, w) int64, `IGNORE` where a pixel isn't valid.
        weights: (N, h, w) float32, how much a pixel counts: 0 where its label isn't kept, or not valid.
        probabilities: (N, C, h, w) float32 where the loss learns from them.
    """

    labels: torch.Tensor
    weights: torch.Tensor
    probabilities: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        probabilities: torch.Tensor,
        valid: torch.Tensor,
        *,
        threshold: float | torch.Tensor,
        weighting: str = "pixel",
    ) -> tuple[Guess, torch.Tensor, torch.Tensor]:
        """Return the guess, the (N, h, w) confidence, and (N, h, w) bool, which pixels are kept.

        Args:
            probabilities: (N, C, h, w).
            valid: (N, h, w) bool.
            threshold: confidence from which on a pixel is kept; (C,): by its label.
            weighting: pixel: pixels that are kept weigh 1, others 0; image: all valid ones weigh the share of those of
                their image that are kept.
        """
        confidence, labels = probabilities.max(1)
        kept = valid & (confidence >= (threshold[labels] if isinstance(threshold, torch.Tensor) else threshold))
        weights = kept.float()
        if weighting == "image":
            inside = valid.float()
            share = weights.sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
            weights = share[:, None, None] * inside
        return cls(torch.where(valid, labels, IGNORE), weights, probabilities), confidence, kept

    def rolled(self) -> Guess:
        """Return the guess in which image i has what image i − 1 had."""
        rolled = None if self.probabilities is None else self.probabilities.roll(1, 0)
        return Guess(self.labels.roll(1, 0), self.weights.roll(1, 0), rolled)

    def pasted(self, mask: torch.Tensor, other: Guess) -> Guess:
        """Return the guess with another's pixels where the (N, h, w) mask is True."""
        soft = None
        if self.probabilities is not None and other.probabilities is not None:
            soft = torch.where(mask[:, None], other.probabilities, self.probabilities)
        labels = torch.where(mask, other.labels, self.labels)
        return Guess(labels, torch.where(mask, other.weights, self.weights), soft)

    def without(self, mask: torch.Tensor) -> Guess:
        """Return the guess that says nothing where the (N, h, w) mask is True."""
        return self._replace(
            labels=torch.where(mask, IGNORE, self.labels), weights=torch.where(mask, 0.0, self.weights)
        )


def known_guess(labels: torch.Tensor, categories: int | None = None) -> Guess:
    """Return labels that are certain, (N, h, w) with `IGNORE`, as a guess; with probabilities of so many categories."""
    soft = None if categories is None else shares(labels, categories, torch.float32)
    return Guess(labels, (labels != IGNORE).float(), soft)


def hard_labels(labels: torch.Tensor) -> torch.Tensor:
    """Return hard labels as they are, and of soft ones the largest share, `IGNORE` where they have none."""
    return torch.where(known(labels) > 0, labels.argmax(1), IGNORE) if is_soft(labels) else labels


def disagreement(logits: torch.Tensor, guess: Guess, *, loss: str, denominator: str = "valid") -> torch.Tensor:
    """Return how far logits are from a guess; 0 with a graph where no pixel counts.

    Args:
        logits: (N, C, h, w), the student's.
        guess: of the same pixels.
        loss: see the recipe's `loss` of the method; of pixels, the weighted sum over them is divided by `denominator`;
            of Dice, which is a ratio of sums over the batch, pixels count that are kept at all.
        denominator: valid: pixels whose label isn't `IGNORE`; kept: the sum of the weights; all: all pixels.
    """
    logits = full_precision(logits)
    if loss == "dice":
        return _dice(logits, guess)
    if loss == "cross_entropy_dice":
        whole = disagreement(logits, guess, loss="cross_entropy", denominator=denominator)
        return (whole + _dice(logits, guess)) / 2
    total = (_pixelwise(logits, guess, loss) * guess.weights).sum()
    if denominator == "all":
        return mean(total, torch.full_like(total, guess.labels.numel()).detach())
    return mean(total, (guess.weights if denominator == "kept" else guess.labels != IGNORE).sum())


def _pixelwise(logits: torch.Tensor, guess: Guess, loss: str) -> torch.Tensor:
    if loss == "cross_entropy":
        return functional.cross_entropy(logits, guess.labels, ignore_index=IGNORE, reduction="none")
    assert guess.probabilities is not None
    if loss == "mse":
        return (logits.softmax(1) - guess.probabilities).square().mean(1)
    return -(guess.probabilities * logits.log_softmax(1)).sum(1)


def _dice(logits: torch.Tensor, guess: Guess) -> torch.Tensor:
    labels = torch.where(guess.weights > 0, guess.labels, IGNORE)
    found = dice_loss(logits, labels, smooth=_SMOOTH, absent="count", squared=True)
    return torch.where((labels != IGNORE).any(), found, logits.sum() * 0)

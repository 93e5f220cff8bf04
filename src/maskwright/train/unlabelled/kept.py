"""What a teacher's labels were and which of them were kept, by category, and whether they have collapsed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import distributed, nn

from maskwright.losses.reduction import processes
from maskwright.losses.truth import is_soft
from maskwright.recipe.unlabelled import OnlineMethodSpec
from maskwright.types import IGNORE

FROM_SCRATCH = 0.2
"""`watched_from` of a network that has learned nothing before."""
_THINNED = 4


class _Sums(NamedTuple):
    """What is counted.

    Attributes:
        pixels: (2 C + 1,) int64: labels thrown away, labels kept, pixels that aren't valid.
        truth: (C,) float64 of the labelled crops.
        confidence: float64.
    """

    pixels: torch.Tensor
    truth: torch.Tensor
    confidence: torch.Tensor

    @classmethod
    def of(cls, count: int, device: torch.device) -> _Sums:
        pixels = torch.zeros(2 * count + 1, dtype=torch.int64, device=device)
        truth = torch.zeros(count, dtype=torch.float64, device=device)
        return cls(pixels, truth, torch.zeros((), dtype=torch.float64, device=device))


class KeptLabels(nn.Module):
    """Counts pixels from one row to the next, an epoch; what has been seen so far is in its state and resumes.

    Args:
        names: of the categories.
        spec: says what is called a collapse.
        columns: further values of the categories that a row shows: what their names begin with → returns them, (C,).

    Attributes:
        trust: scalar, the factor on the weight of what is learned from images without labels: 1, less after a collapse.
        ever: (C,) bool, categories of which a label was kept at any time.
        missing: categories that labels have and of which none was ever kept, though it was time, at the last row.
    """

    highest: torch.Tensor
    others: torch.Tensor
    trust: torch.Tensor
    ever: torch.Tensor

    def __init__(
        self,
        names: Sequence[str],
        spec: OnlineMethodSpec,
        columns: Mapping[str, Callable[[], torch.Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.names, self.spec, self.columns = tuple(names), spec, dict(columns or {})
        self.watched_from = FROM_SCRATCH if spec.watched_from is None else spec.watched_from
        self.missing: tuple[str, ...] = ()
        count = len(self.names)
        self._sums: _Sums | None = None  # no buffers: DDP would overwrite them with those of the first process
        self.register_buffer("highest", torch.zeros(count))
        self.register_buffer("others", torch.zeros(count))
        self.register_buffer("trust", torch.ones(()))
        self.register_buffer("ever", torch.zeros(count, dtype=torch.bool))

    @torch.no_grad()
    def add(self, labels: torch.Tensor, kept: torch.Tensor, confidence: torch.Tensor, truth: torch.Tensor) -> None:
        """Count a batch.

        Args:
            labels: (N, h, w) int64, the teacher's, `IGNORE` where a pixel isn't valid.
            kept: (N, h, w) bool, of the valid ones.
            confidence: (N, h, w), the teacher's.
            truth: labels of the labelled crops, hard or soft; of them every fourth pixel either way is counted.
        """
        count, valid = len(self.names), labels != IGNORE
        sums = self._sums = _Sums.of(count, labels.device) if self._sums is None else self._sums
        places = torch.where(valid, labels + count * kept, 2 * count).flatten()
        sums.pixels.scatter_add_(0, places, torch.ones_like(places))
        sums.confidence.add_((confidence * valid).sum(dtype=torch.float64))
        thinned = truth[..., ::_THINNED, ::_THINNED]
        if is_soft(truth):
            sums.truth.add_(thinned.sum((0, 2, 3), dtype=torch.float64))
        else:
            is_category = thinned[:, None] == torch.arange(count, device=truth.device)[:, None, None]
            sums.truth.add_(is_category.sum((0, 2, 3)))

    def row(self, progress: float = 1.0) -> tuple[dict[str, float], str]:
        """Return what was counted since the last row, over all processes, and what has collapsed, if anything.

        `kept_NAME` is the share of the pixels labelled NAME whose label was kept, NaN where none was labelled so;
        `share_NAME` that of NAME among all labels that were kept; `confidence` the teacher's mean.

        Args:
            progress: of the training, from 0 to 1; before `watched_from` nothing collapses, and of what there was only
                `ever` is remembered.
        """
        sums = _Sums.of(len(self.names), self.trust.device) if self._sums is None else self._sums
        for values in sums:
            if processes() > 1:
                distributed.all_reduce(values)
        thrown, kept = sums.pixels[:-1].double().cpu().reshape(2, -1)
        guessed = thrown + kept
        row = {f"kept_{n}": _ratio(float(k), float(g)) for n, k, g in zip(self.names, kept, guessed, strict=True)}
        row |= {f"share_{n}": _ratio(float(k), float(kept.sum())) for n, k in zip(self.names, kept, strict=True)}
        row["confidence"] = _ratio(float(sums.confidence), float(guessed.sum()))
        for prefix, values_of in self.columns.items():
            row |= {f"{prefix}{name}": value for name, value in zip(self.names, values_of().tolist(), strict=True)}
        self._sums = None
        truth = sums.truth.cpu() / sums.truth.cpu().sum().clamp(min=1)
        self.ever.logical_or_((kept > 0).to(self.ever.device))
        seen = bool(guessed.sum() > 0)
        due = seen and self.spec.begun_by <= progress and self.spec.begun_by < 1
        self.missing = self._never_begun(truth) if due else ()
        return row, self._collapsed(kept, truth) if seen and progress >= self.watched_from else ""

    def _never_begun(self, truth: torch.Tensor) -> tuple[str, ...]:
        """Return the categories that have a share of the labelled pixels, and never had a label kept."""
        there = (truth >= self.spec.gone_from) & ~self.ever.cpu()
        return tuple(name for name, missing in zip(self.names, there.tolist(), strict=True) if missing)

    def _collapsed(self, kept: torch.Tensor, truth: torch.Tensor) -> str:
        """Return what has collapsed, of kept pixels and labelled shares, and remember how much there was."""
        shares = kept / kept.sum().clamp(min=1)
        others = (1 - shares) / (1 - truth).clamp(min=1e-9)  # of what all others have among the labels
        others = torch.where(kept.sum() > 0, others, 0)
        highest, before = self.highest.cpu(), self.others.cpu()
        limit = self.spec.taken_over
        gone = (highest >= self.spec.gone_from) & (shares <= self.spec.gone_to * highest)
        said = [
            f"{name} has no labels left" if not share else f"{name} has hardly any labels left"
            for name, share, lost in zip(self.names, shares, gone, strict=True)
            if lost
        ]
        said += [
            f"{name} takes over"
            for name, now, then, share in zip(self.names, others, before, shares, strict=True)
            if limit and now < limit and then >= 2 * limit and share > 0
        ]
        if not said:
            self.highest.copy_(torch.maximum(highest, shares.float()))
            self.others.copy_(torch.maximum(before, others.float()))
        return ", ".join(said)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan

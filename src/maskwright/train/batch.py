"""What the loader hands to the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from maskwright.losses import PixelCounts, count_labels


class Batch(NamedTuple):
    """A batch of training crops.

    Attributes:
        images: (N, C, H, W) float32, standardised.
        labels: (N, H, W) int64 with `IGNORE`, or (N, C, H, W) float shares of the categories,
            which sum to 0 where ignored.
        targets: what the losses need besides, by name: (N, …) tensors.
        counts: where this is a part of a step: what the labels of both hold.
    """

    images: torch.Tensor
    labels: torch.Tensor
    targets: dict[str, torch.Tensor]
    counts: PixelCounts | None = None

    @classmethod
    def of(cls, items: Sequence[Batch]) -> Batch:
        """Return the batch of single crops, whose tensors have no N."""
        images, labels, targets, _ = zip(*items, strict=True)
        named = {name: torch.stack([target[name] for target in targets]) for name in targets[0]}
        return cls(torch.stack(images), torch.stack(labels), named)


def parts_of_step(batches: Sequence[Batch], categories: int) -> list[Batch]:
    """Return batches of which one step is made, each with what its own labels and those of all of them hold."""
    counted = [torch.stack([count_labels(label, categories) for label in batch.labels]) for batch in batches]
    whole = torch.cat(counted)
    return [batch._replace(counts=PixelCounts(part, whole)) for batch, part in zip(batches, counted, strict=True)]

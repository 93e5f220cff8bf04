"""What the loader hands to the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """A batch of training crops.

    Attributes:
        images: (N, C, H, W) float32, standardised.
        labels: (N, H, W) int64 with `IGNORE`, or (N, C, H, W) float shares of the categories,
            which sum to 0 where ignored.
        targets: what the losses need besides, by name: (N, …) tensors.
    """

    images: torch.Tensor
    labels: torch.Tensor
    targets: dict[str, torch.Tensor]

    @classmethod
    def of(cls, items: Sequence[Batch]) -> Batch:
        """Return the batch of single crops, whose tensors have no N."""
        images, labels, targets = zip(*items, strict=True)
        named = {name: torch.stack([target[name] for target in targets]) for name in targets[0]}
        return cls(torch.stack(images), torch.stack(labels), named)

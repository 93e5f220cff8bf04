"""What the loader hands to the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from maskwright.losses import PixelCounts, count_labels


class PoolBatch(NamedTuple):
    """Views of images without labels; V views of each image for the teacher, S for the student.

    Attributes:
        clean: (N, V, C, H, W) float32, standardised: what a teacher sees.
        noisy: (N, S, C, H, W) float32, S a multiple of V; noisy view s shows what clean view s % V shows, pixel for
            pixel, in other colours.
        valid: (N, V, H, W) bool: whether a pixel lies inside the image.
        matrices: (N, V, 2, 3) float32: from (x, y) pixels of a view to those of the image at working size.
        drawn: (N, …) what the step mixes and masks by, by name; drawn with the views, so that a draw of the stream is
            the same in every run.
    """

    clean: torch.Tensor
    noisy: torch.Tensor
    valid: torch.Tensor
    matrices: torch.Tensor
    drawn: dict[str, torch.Tensor]

    @classmethod
    def of(cls, items: Sequence[PoolBatch]) -> PoolBatch:
        """Return the batch of single images, whose tensors have no N."""
        clean, noisy, valid, matrices, drawn = zip(*items, strict=True)
        named = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
        return cls(torch.stack(clean), torch.stack(noisy), torch.stack(valid), torch.stack(matrices), named)


class Batch(NamedTuple):
    """A batch of training crops.

    Attributes:
        images: (N, C, H, W) float32, standardised.
        labels: (N, H, W) int64 with `IGNORE`, or (N, C, H, W) float shares of the categories,
            which sum to 0 where ignored.
        targets: what the losses need besides, by name: (N, …) tensors.
        counts: where this is a part of a step: what the labels of both hold.
        pool: images without labels, where the method learns from them, too.
    """

    images: torch.Tensor
    labels: torch.Tensor
    targets: dict[str, torch.Tensor]
    counts: PixelCounts | None = None
    pool: PoolBatch | None = None

    @classmethod
    def of(cls, items: Sequence[Batch]) -> Batch:
        """Return the batch of single crops, whose tensors have no N."""
        images, labels, targets, *_ = zip(*items, strict=True)
        named = {name: torch.stack([target[name] for target in targets]) for name in targets[0]}
        return cls(torch.stack(images), torch.stack(labels), named)


def parts_of_step(batches: Sequence[Batch], categories: int) -> list[Batch]:
    """Return batches of which one step is made, each with what its own labels and those of all of them hold."""
    counted = [torch.stack([count_labels(label, categories) for label in batch.labels]) for batch in batches]
    whole = torch.cat(counted)
    return [batch._replace(counts=PixelCounts(part, whole)) for batch, part in zip(batches, counted, strict=True)]

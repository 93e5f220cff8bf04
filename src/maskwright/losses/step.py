"""How much of a step's labels one part of it has: what makes of the means over parts the mean over the step.

A step that is taken in parts adds up the gradients of their losses. A mean over pixels, or over the categories that
images hold, is divided by a number that differs from part to part; times the part's share of the step's number it is
the part's summand in the mean over the whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from maskwright.losses.reduction import summed
from maskwright.losses.truth import is_soft
from maskwright.types import IGNORE

STRIDES = (1, 2, 4, 8, 16, 32)
"""Of the outputs that are supervised; at others each part counts alike, whatever it holds."""

Number = Callable[[torch.Tensor], torch.Tensor]
"""(N, C) pixels of each category in each image → the scalar that a loss divides by."""


class PixelCounts(NamedTuple):
    """Pixels of each category in each image, of labels thinned out by each of `STRIDES`.

    Attributes:
        part: (n, S, C) of the images of a part.
        step: (N, S, C) of those of the whole step.
    """

    part: torch.Tensor
    step: torch.Tensor

    def share(self, number: Number, stride: int) -> torch.Tensor:
        """Return the part's share of a number of the step, times the parts: 1 where all parts have as much.

        Args:
            number: what a loss divides by.
            stride: of the output.
        """
        if stride not in STRIDES:
            return self.part.new_ones(())
        own, whole = (summed(number(counts[:, STRIDES.index(stride)])) for counts in self)
        return own * (len(self.step) / len(self.part)) / torch.where(whole > 0, whole, 1)


def count_labels(labels: torch.Tensor, categories: int) -> torch.Tensor:
    """Return (S, C) float32 pixels of each category in a label thinned out by each of `STRIDES`.

    Args:
        labels: hard, (H, W) int64 with `IGNORE`, or soft, (C, H, W) shares, whose sums are counted.
        categories: C.
    """
    found = []
    for stride in STRIDES:
        thinned = thin_out_by(labels, stride)
        if is_soft(labels[None]):
            found.append(thinned.sum((1, 2)))
        else:
            found.append(torch.bincount(thinned.flatten(), minlength=IGNORE + 1)[:categories].float())
    return torch.stack(found)


def thin_out_by(labels: torch.Tensor, stride: int) -> torch.Tensor:
    """Return (…, h, w): the pixels s · i + s // 2 of (…, H, W) for a stride of s."""
    return labels[..., stride // 2 :: stride, stride // 2 :: stride]


def number_of_pixels(class_weights: torch.Tensor | None) -> Number:
    """Return the number of a mean over pixels: how many count, or the sum of the weights of their categories."""
    if class_weights is None:
        return lambda counts: counts.sum()
    return lambda counts: (counts @ class_weights.to(counts)).sum()


def number_of_regions(class_weights: torch.Tensor | None, *, whole_images: bool = False) -> Number:
    """Return the number of a mean over images and the categories that each holds, or over images that hold any.

    Args:
        class_weights: (C,) of the mean; default 1.
        whole_images: an image counts once, if it holds a category whose weight isn't 0.
    """

    def number(counts: torch.Tensor) -> torch.Tensor:
        weights = counts.new_ones(counts.shape[1]) if class_weights is None else class_weights.to(counts)
        if whole_images:
            return (counts * weights > 0).any(1).sum().to(counts)
        return ((counts > 0) * weights).sum()

    return number


def number_of_images(counts: torch.Tensor) -> torch.Tensor:
    """Return how many images have a pixel that isn't ignored."""
    return (counts > 0).any(1).sum().to(counts)

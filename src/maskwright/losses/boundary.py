"""Kervadec's boundary loss, and the target it needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from maskwright.losses.reduction import mean
from maskwright.losses.truth import full_precision, may_be_ignored
from maskwright.types import IGNORE


@dataclass(frozen=True)
class DistanceMap:
    """A target: the signed distance to each category's boundary (`data.distances.signed_distances`).

    Attributes:
        resolution: height and width of a pixel.
    """

    resolution: tuple[float, float] = (1.0, 1.0)

    @property
    def name(self) -> str:
        """Of the target in a batch."""
        return "distance_map" if self.resolution == (1, 1) else "distance_map_{:g}x{:g}".format(*self.resolution)


def kervadec_boundary(
    logits: torch.Tensor,
    labels: torch.Tensor,
    distances: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean of p·D over categories and the pixels that aren't ignored; 0 (with a graph) if all are.

    Kervadec et al. 2019. It gets negative where the truth is met.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W) int64 with `IGNORE`: says which pixels are ignored.
        distances: (N, C, H, W) float32, negative inside.
        class_weights: (C,) of the mean over the categories; 0: takes no part.
    """
    probabilities = full_precision(logits).softmax(1)
    valid = labels != IGNORE
    if may_be_ignored(valid):
        distances = torch.where(valid[:, None], distances, 0.0)
    products = probabilities * distances
    if class_weights is None:
        return mean(products.sum(), valid.sum() * logits.shape[1])
    weights = class_weights.to(probabilities)
    return mean((products.sum((0, 2, 3)) * weights).sum(), valid.sum() * weights.sum())

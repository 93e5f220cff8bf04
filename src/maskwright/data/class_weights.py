"""Class weights computed from labels: counted once in a stream, then weighed by one of three rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.types import Array, LabelMap

EFFECTIVE_BETA = 0.999
"""β of the effective number: images beyond about 1 / (1 − β) add little."""


@dataclass(frozen=True)
class LabelCounts:
    """What the labels hold, by category.

    Attributes:
        pixels: (C,) pixels of each.
        images: (C,) images with each.
        around: (C,) pixels that aren't ignored, in the images with each.
    """

    pixels: Array
    images: Array
    around: Array

    @classmethod
    def of(cls, labels: Iterable[LabelMap], count: int) -> LabelCounts:
        """Count a stream of (H, W) uint8 label maps with `IGNORE`; one is in memory at a time."""
        pixels, images, around = (np.zeros(count, np.int64) for _ in range(3))
        for label in labels:
            found = np.bincount(np.ravel(label), minlength=256)[:count]
            pixels += found
            images += found > 0
            around += np.where(found > 0, found.sum(), 0)
        return cls(pixels, images, around)


def class_weights(
    counts: LabelCounts, rule: str, *, cap: float | None = None, leave_out: Sequence[int] = ()
) -> tuple[float, ...]:
    """Return the weight of each category.

    Args:
        counts: of the training labels.
        rule: `inverse_frequency`: N / (K · n) with n of N pixels and K categories (scikit-learn's `balanced`);
            `median_frequency`: the median of the frequencies over the category's own, a frequency being its share of
            the pixels of the images that hold it (Eigen and Fergus 2015); `effective_number`: (1 − β) / (1 − β^n) with
            n images that hold it, scaled to a mean of 1 (Cui et al. 2019).
        cap: the largest weight.
        leave_out: positions with weight 0, which take no part in N, K, median and mean.

    Returns:
        C numbers; 0 for categories without a pixel.
    """
    takes_part = counts.pixels > 0
    takes_part[list(leave_out)] = False
    weights = np.zeros(len(counts.pixels))
    if takes_part.any():
        pixels, images, around = (
            part[takes_part].astype(float) for part in (counts.pixels, counts.images, counts.around)
        )
        if rule == "inverse_frequency":
            found = pixels.sum() / (len(pixels) * pixels)
        elif rule == "median_frequency":
            found = np.median(pixels / around) / (pixels / around)
        else:
            assert rule == "effective_number", rule
            found = 1 / -np.expm1(images * np.log(EFFECTIVE_BETA))
            found = found / found.mean()
        weights[takes_part] = found if cap is None else np.minimum(found, cap)
    return tuple(weights.tolist())

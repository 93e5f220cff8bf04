"""How far a mask is displaced against its image: where the probabilities would fit it best."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from maskwright.types import LabelMap, Probabilities

_SIDE = 192
"""Cells of the longer side at which masks and probabilities are compared."""

_FLOOR = 1e-3
_LEAST = 0.002
"""Share of the pixels from which a category is asked."""

_KEPT = 0.5
"""Least share of the mask's pixels that must stay inside the image for a displacement to count."""


@dataclass(frozen=True)
class Displacement:
    """The shift after which a mask fits best.

    Attributes:
        down: pixels by which the mask must move down, negative: up.
        right: pixels to the right, negative: left.
        gain: share of the mask's log loss that this takes away, 0..1; 0 where it fits best as it is.
    """

    down: int
    right: int
    gain: float


def displacement(
    label: LabelMap, probabilities: Probabilities, *, largest: float = 0.1, tolerance: float = 0.0
) -> Displacement:
    """Return the displacement that lets the mask agree best with the probabilities.

    The mean log loss of the labels is computed for every displacement at once, as a correlation, on cells of
    1/192 of the longer side. It is a mean over the pixels that are inside the image and not ignored, of each category
    alone, and then over the categories: otherwise a mask with little foreground would fit best where that is outside.

    Args:
        label: (H, W) uint8 category positions with `IGNORE`.
        probabilities: (C, H, W) in 0..1.
        largest: displacement that is looked for, as a share of each side. A best one at the end of that range is none:
            the loss falls on and on, as where one category fits the surroundings better.
        tolerance: pixels up to which a displacement is none.
    """
    height, width = label.shape
    factor = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    reach = round(size[1] * largest), round(size[0] * largest)
    present = _large(label, len(probabilities))
    if len(present) < 2 or min(reach) == 0:
        return Displacement(0, 0, 0.0)
    padded = [fft.next_fast_len(side + r, real=True) for side, r in zip(size[::-1], reach, strict=True)]
    total = np.zeros((2 * reach[0] + 1, 2 * reach[1] + 1))
    for category in present:
        drawn = cv2.resize((label == category).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        found = cv2.resize(probabilities[category].astype(np.float32), size, interpolation=cv2.INTER_AREA)
        loss = _moved(drawn, -np.log(np.maximum(found, _FLOOR)), padded, reach)
        inside = _moved(drawn, np.ones_like(found), padded, reach)
        total += np.where(inside >= _KEPT * drawn.sum(), loss / np.maximum(inside, 1e-6), np.inf)
    row, column = np.unravel_index(int(total.argmin()), total.shape)
    still = total[reach[0], reach[1]]
    gain = float(1 - total[row, column] / still) if still > 0 else 0.0
    at_the_end = row in (0, 2 * reach[0]) or column in (0, 2 * reach[1])
    down, right = round((int(row) - reach[0]) / factor), round((int(column) - reach[1]) / factor)
    if gain <= 0 or at_the_end or float(np.hypot(down, right)) <= tolerance:
        return Displacement(0, 0, 0.0)
    return Displacement(down, right, gain)


def _large(label: LabelMap, count: int) -> list[int]:
    """Return the categories that hold enough pixels to say where they are, and the two largest in any case."""
    pixels = np.bincount(label.ravel(), minlength=256)[:count]
    order = [int(c) for c in np.argsort(-pixels, kind="stable") if pixels[c]]
    return order[:2] + [c for c in order[2:] if pixels[c] >= _LEAST * label.size]


def _moved(
    drawn: npt.NDArray[np.float32], values: npt.NDArray[np.float32], padded: list[int], reach: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Return Σ drawn(x) · values(x + d) for every displacement d of at most `reach`, (2 · reach + 1) a side."""
    product = np.conj(fft.rfft2(drawn, padded)) * fft.rfft2(values, padded)
    whole = fft.irfft2(product, padded)
    rows, columns = (np.arange(-r, r + 1) % length for r, length in zip(reach, padded, strict=True))
    return np.asarray(whole[np.ix_(rows, columns)], np.float64)

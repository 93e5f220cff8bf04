"""Colours that people tell apart, whatever their colour vision."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from maskwright.errors import DataError, problem
from maskwright.types import MAX_CATEGORIES

Color = tuple[int, int, int]

OKABE_ITO: tuple[Color, ...] = (
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
)
"""Okabe and Ito's colours, which people with any colour vision tell apart; black and white are left to the page."""


def category_colors(n: int) -> list[Color]:
    """Return `n` distinct RGB colours, 0..255; the first seven are Okabe and Ito's, a longer list extends a shorter.

    Args:
        n: 0 to 254.

    Raises:
        DataError: `n` is outside that.

    Example:
        >>> category_colors(2)
        [(0, 114, 178), (213, 94, 0)]
    """
    if not 0 <= n <= MAX_CATEGORIES:
        raise DataError(
            problem(f"0 to {MAX_CATEGORIES} colours", str(n), where="category_colors", next_move="merge categories")
        )
    return list(_distinct_colors()[:n])


@lru_cache
def _distinct_colors() -> tuple[Color, ...]:
    """Okabe-Ito, then again and again the colour farthest (in Lab) from all before and from black and white."""
    steps = np.arange(40, 256, 24, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    taken = np.array([*OKABE_ITO, (0, 0, 0), (255, 255, 255)], np.uint8)
    lab, lab_taken = (
        cv2.cvtColor((c[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0].astype(np.float64) for c in (grid, taken)
    )
    nearest = np.linalg.norm(lab[:, None] - lab_taken[None], axis=-1).min(1)  # (G,)
    colors = list(OKABE_ITO)
    while len(colors) < MAX_CATEGORIES:
        best = int(nearest.argmax())
        r, g, b = (int(v) for v in grid[best])
        colors.append((r, g, b))
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[best], axis=-1))
    return tuple(colors)

"""A made-up slide whose stains are known."""

from __future__ import annotations

import numpy as np

STAINS = np.array([[0.62, 0.30], [0.68, 0.82], [0.39, 0.49]])
"""Haematoxylin and eosin: optical density in red, green, blue, before it is made a unit vector."""


def make_slide(height=60, width=80, seed=0):
    """Return the uint8 (H, W, 3) slide and its (2, H, W) concentrations.

    Nuclei of haematoxylin alone, tissue of eosin alone, a band of both, a corner of glass.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    nuclei = (x % 16 - 8) ** 2 + (y % 14 - 7) ** 2 < 20
    glass = (x < width // 6) & (y < height // 3)
    strength = rng.uniform(0.6, 1.6, (2, height, width))
    both = y > 3 * height // 4
    shown = np.stack([nuclei | both, ~nuclei | both]) & ~glass
    concentrations = np.where(shown, strength * np.array([1, 0.9])[:, None, None], 0)
    stains = STAINS / np.linalg.norm(STAINS, axis=0)
    light = 240 * np.exp(-np.einsum("ck,kyx->yxc", stains, concentrations)) - 1
    return np.clip(light.round(), 0, 255).astype(np.uint8), concentrations

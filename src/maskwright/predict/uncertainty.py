"""How sure a prediction is: the entropy of its probabilities, and how far several networks disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.artifacts import write_bytes
from maskwright.pictures import encode
from maskwright.types import Array, Probabilities

Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Uncertainty:
    """Of one image.

    Attributes:
        entropy: (h, w) float32 in 0..1, as `entropy` returns it.
        disagreement: (h, w) float32 in 0..1, as `disagreement` returns it; None of a single network.
    """

    entropy: Map
    disagreement: Map | None = None

    @classmethod
    def of(cls, mean: Probabilities, members: Sequence[Probabilities]) -> Uncertainty:
        """Return that of (C, h, w) probabilities, which several members' were averaged to."""
        return cls(entropy(mean), disagreement(members) if len(members) > 1 else None)

    def means(self) -> dict[str, float | None]:
        """Return the mean over the image of each, None for what there isn't."""
        apart = None if self.disagreement is None else float(self.disagreement.mean(dtype=np.float64))
        return {"entropy": float(self.entropy.mean(dtype=np.float64)), "disagreement": apart}

    def write(self, folder: Path, name: str, size: tuple[int, int]) -> None:
        """Write `entropy/NAME.png`, and `disagreement/NAME.png` where there is one: gray, 255 is 1, at (H, W)."""
        for kind, found in (("entropy", self.entropy), ("disagreement", self.disagreement)):
            if found is not None:
                whole = found if found.shape == size else cv2.resize(found, size[::-1], interpolation=cv2.INTER_LINEAR)
                write_bytes(folder / kind / f"{name}.png", encode(to_gray(whole), "png"))


def entropy(probabilities: Probabilities) -> Map:
    """Return −Σ p ln p over the categories, in nats, divided by ln C: 0 is certain, 1 is all categories alike.

    Args:
        probabilities: (C, H, W) float in 0..1, summing to 1 over C.

    Returns:
        (H, W) float32 in 0..1; zeros where there is one category.

    Example:
        >>> entropy(np.float32([[[0.5, 1.0]], [[0.5, 0.0]]])).tolist()
        [[1.0, 0.0]]
    """
    if len(probabilities) < 2:
        return np.zeros(probabilities.shape[1:], np.float32)
    total = np.zeros(probabilities.shape[1:], np.float32)
    for p in probabilities:
        total -= p * np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return np.asarray((total / np.float32(math.log(len(probabilities)))).clip(0, 1), np.float32)


def disagreement(members: Sequence[Probabilities]) -> Map:
    """Return the mutual information of category and network: the entropy of the mean less the mean entropy.

    In nats, divided by ln C. 0: all networks say the same, also where each is unsure; it is 1 only if as many networks
    as there are categories are each certain of another one (BALD; Houlsby et al. 2011).

    Args:
        members: (C, H, W) float in 0..1 of each network, at least one.

    Returns:
        (H, W) float32 in 0..1.
    """
    mean = sum(members[1:], start=members[0]) / np.float32(len(members))
    apart = np.mean([entropy(member) for member in members], axis=0)
    return np.asarray((entropy(mean) - apart).clip(0, 1), np.float32)


def to_gray(values: Array) -> npt.NDArray[np.uint8]:
    """Return (H, W) numbers in 0..1 as 0..255."""
    gray: npt.NDArray[np.uint8] = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return gray

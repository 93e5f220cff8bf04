"""Several probability maps of one image to one: their weighted mean, or their ranks on a common scale. Streaming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from maskwright.types import Probabilities


class Fusion(Protocol):
    """Takes the maps of one image one by one; none of them is kept."""

    def add(self, probabilities: Probabilities, weight: float = 1.0) -> None:
        """Add a member's (C, H, W) float32 map with a weight above 0."""
        ...

    def result(self) -> Probabilities:
        """Return the (C, H, W) float32 fused map, which sums to one over C as the members' do; then add no more."""
        ...


class MeanFusion:
    """Weighted arithmetic mean; holds one map."""

    def __init__(self) -> None:
        self._sum: Probabilities | None = None
        self._weight = 0.0

    def add(self, probabilities: Probabilities, weight: float = 1.0) -> None:
        """Add a member; see `Fusion`."""
        if self._sum is None:
            self._sum = np.zeros(probabilities.shape, np.float32)
        for total, plane in zip(self._sum, probabilities, strict=True):
            total += plane * np.float32(weight)
        self._weight += weight

    def result(self) -> Probabilities:
        """Return the mean; see `Fusion`."""
        assert self._sum is not None, "no member"
        if self._weight != 1:  # in place: no second map
            self._sum /= np.float32(self._weight)
            self._weight = 1.0
        return self._sum


class RankFusion:
    """Weighted mean of ranks, given back probabilities by the members' mean distribution; holds two maps.

    For each category, a member's pixels are ranked inside the image (0 the least probable, ties share their mean
    rank). The fused value of a pixel is the one that the mean quantile function has at the pixel's mean rank: the
    mean over members of their sorted probabilities, linearly between neighbours (quantile normalisation, Bolstad et
    al. 2003, with the ranks averaged first). A member that is too sure or too doubtful, but orders pixels rightly,
    counts as much as the others; thresholds and the most probable category keep their meaning. At last each pixel is
    divided by its sum over the categories (1/C where that is 0).
    """

    def __init__(self) -> None:
        self._ranks: Probabilities | None = None
        self._quantiles: npt.NDArray[np.float64] | None = None
        self._weight = 0.0

    def add(self, probabilities: Probabilities, weight: float = 1.0) -> None:
        """Add a member; see `Fusion`."""
        if self._ranks is None or self._quantiles is None:
            self._ranks = np.zeros(probabilities.shape, np.float64)
            self._quantiles = np.zeros((len(probabilities), probabilities[0].size))
        for ranks, quantiles, plane in zip(self._ranks, self._quantiles, probabilities, strict=True):
            ranks += weight * (rankdata(plane) - 1).reshape(plane.shape)
            quantiles += weight * np.sort(plane, axis=None)
        self._weight += weight

    def result(self) -> Probabilities:
        """Return the map; see `Fusion`."""
        assert self._ranks is not None and self._quantiles is not None, "no member"
        places = np.arange(self._quantiles.shape[1])
        fused = np.empty(self._ranks.shape, np.float32)
        for plane, ranks, quantiles in zip(fused, self._ranks, self._quantiles, strict=True):
            plane[:] = np.interp(ranks / self._weight, places, quantiles / self._weight)
        total = fused.sum(0)
        np.divide(fused, total, out=fused, where=total > 0)
        fused[:, total <= 0] = 1 / len(fused)
        return fused


FUSIONS: dict[str, Callable[[], Fusion]] = {"mean": MeanFusion, "rank": RankFusion}
"""Every way to fuse by its name in the recipe."""

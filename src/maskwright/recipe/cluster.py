"""How pixels of an embedding are parted into instances: one spec a method, and margins that change over a training."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.spec import Spec

Distance = Annotated[float, Field(gt=0, le=1e6)]


class DecayingMarginSpec(Spec):
    """A distance that starts elsewhere and comes to its value over the training, ever more slowly.

    `{value: 0.5, shift: 0.2, rate: 5}` starts at 0.7, has come to 0.516 in the middle and to 0.501 at the end:
    instances that the young network tears apart stay whole.
    """

    value: Distance
    """Where it ends."""
    shift: float = 0.2
    """What is added at the beginning (ε); below 0 the distance grows over the training."""
    rate: float = Field(5.0, ge=0)
    """How fast that fades: at progress p (0 to 1) e^(−rate · p) of it is left."""
    smallest: Distance = 1e-3
    """It is never below this."""

    def at(self, progress: float) -> float:
        """Return the distance at a point of the training, from 0 to 1."""
        return max(self.smallest, self.value + self.shift * math.exp(-self.rate * progress))


Margin = Distance | DecayingMarginSpec
"""A distance between embeddings, or how it changes over the training."""


def margin_at(margin: Margin, progress: float) -> float:
    """Return the distance that a margin is at a point of the training, from 0 to 1.

    Example:
        >>> round(margin_at(DecayingMarginSpec(value=0.5, shift=-0.2, rate=5), 0.2), 4), margin_at(0.5, 0.2)
        (0.4264, 0.5)
    """
    return margin.at(progress) if isinstance(margin, DecayingMarginSpec) else margin


class ShiftSpec(Spec):
    """Fields shared by both forms of mean-shift."""

    bandwidth: Margin = 0.5
    """Radius of the ball whose mean a centre moves to; δ_v of the loss."""
    seeding: Literal["bins", "farthest", "random"] = "bins"
    """Where centres start: at the corners of a grid as wide as the bandwidth (scikit-learn's), at pixels far from one
    another until each is within half a bandwidth of one, or at random pixels."""
    seeds: int = Field(8192, ge=1)
    """Most centres that start."""
    sample: int = Field(32768, ge=1)
    """Pixels that centres are looked for among; the others go to the nearest of those that were found."""
    seed: int = Field(0, ge=0)
    """Of the sample and of random seeds."""


class MeanShiftSpec(ShiftSpec):
    """Mean-shift with a flat kernel (Comaniciu and Meer 2002)."""

    kind: Literal["mean_shift"] = "mean_shift"


class MeanShiftPlusSpec(ShiftSpec):
    """Mean-shift, then clusters whose means are near are merged, the largest first."""

    kind: Literal["mean_shift_plus"] = "mean_shift_plus"
    merge: Margin = 1.5
    """Means that are nearer are of one instance; δ_d of the loss."""
    largest_apart: bool = False
    """The largest cluster takes no other: for masks that hold the background, which is that cluster."""


class AgglomerativeSpec(Spec):
    """Clusters are merged while the mean distance of their pixels is below a threshold (average linkage)."""

    kind: Literal["agglomerative"] = "agglomerative"
    threshold: Margin = 1.0
    """Between 2 δ_v and δ_d of the loss."""
    sample: int = Field(2000, ge=1)
    """Pixels that are linked; others go to the nearest mean. Time and memory grow with its square."""
    seed: int = Field(0, ge=0)
    """Of the sample."""


class HdbscanSpec(Spec):
    """HDBSCAN (Campello et al. 2013), by scikit-learn; pixels of no cluster are no instance."""

    kind: Literal["hdbscan"] = "hdbscan"
    min_cluster_size: int = Field(50, ge=2)
    """Fewest pixels of an instance; scaled down with the sample."""
    epsilon: Margin = 0.5
    """Clusters nearer than this are not parted; δ_v of the loss."""
    single: bool = True
    """One cluster may be all there is."""
    sample: int = Field(5000, ge=2)
    """Pixels that are clustered; others go where the nearest of these went."""
    seed: int = Field(0, ge=0)
    """Of the sample."""


ClusterSpec = Annotated[
    MeanShiftSpec | MeanShiftPlusSpec | AgglomerativeSpec | HdbscanSpec, Field(discriminator="kind")
]

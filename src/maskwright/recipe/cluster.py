"""How pixels of an embedding are parted into instances: one spec a method, and margins that change over a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.margin import Margin
from maskwright.recipe.spec import Spec


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

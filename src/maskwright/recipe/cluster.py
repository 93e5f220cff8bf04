"""How pixels of an embedding are parted into instances: one spec a method.

Distances that are null follow the margins of the loss: δ_v, within which pixels of an instance are pulled, and δ_d, to
twice which the means of two instances are pushed apart.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from maskwright.recipe.margin import DecayingMarginSpec, Margin, times
from maskwright.recipe.spec import Spec


class _Clustering(Spec):
    """What all methods share."""

    def within(self, pull: Margin, push: Margin) -> Self:
        """Return the spec with every distance that is null by the loss's δ_v and δ_d."""
        open_fields = {
            name: value for name, value in self._by_margins(pull, push).items() if getattr(self, name) is None
        }
        return self.model_copy(update=open_fields)

    def at(self, progress: float) -> Self:
        """Return the spec with every distance as it is at a point of the training, from 0 to 1."""
        changing = {name: value for name, value in self if isinstance(value, DecayingMarginSpec)}
        return self.model_copy(update={name: value.at(progress) for name, value in changing.items()})

    def _by_margins(self, pull: Margin, push: Margin) -> dict[str, Any]:
        raise NotImplementedError


class ShiftSpec(_Clustering):
    """Fields shared by both forms of mean-shift."""

    bandwidth: Margin | None = None
    """Radius of the ball whose mean a centre moves to; null: half of δ_d. What a network learns in minutes is looser
    than δ_v."""
    seeding: Literal["bins", "farthest", "random"] = "bins"
    """Where centres start: at the corners of a grid as wide as the bandwidth (scikit-learn's), at pixels far from one
    another until each is within half a bandwidth of one, or at random pixels."""
    seeds: int = Field(8192, ge=1)
    """Most centres that start."""
    sample: int = Field(32768, ge=1)
    """Pixels that centres are looked for among; the others go to the nearest of those that were found."""
    seed: int = Field(0, ge=0)
    """Of the sample and of random seeds."""

    def _by_margins(self, pull: Margin, push: Margin) -> dict[str, Any]:
        return {"bandwidth": times(push, 0.5)}


class MeanShiftSpec(ShiftSpec):
    """Mean-shift with a flat kernel (Comaniciu and Meer 2002)."""

    kind: Literal["mean_shift"] = "mean_shift"


class MeanShiftPlusSpec(ShiftSpec):
    """Mean-shift, then clusters whose means are near are merged, the largest first."""

    kind: Literal["mean_shift_plus"] = "mean_shift_plus"
    merge: Margin | None = None
    """Means that are nearer are of one instance; null: 1.5 δ_d, midway between δ_d and the 2 δ_d to which they are
    pushed. SPOCO has δ_d."""
    largest_apart: bool = False
    """The largest cluster takes no other: for masks that hold the background, which is that cluster."""

    def _by_margins(self, pull: Margin, push: Margin) -> dict[str, Any]:
        return super()._by_margins(pull, push) | {"merge": times(push, 1.5)}


class AgglomerativeSpec(_Clustering):
    """Clusters are merged while the mean distance of their pixels is below a threshold (average linkage)."""

    kind: Literal["agglomerative"] = "agglomerative"
    threshold: Margin | None = None
    """Null: 2 δ_v; up to δ_d there should be nothing between two instances."""
    sample: int = Field(2000, ge=1)
    """Pixels that are linked; others go to the nearest mean. Time and memory grow with its square."""
    seed: int = Field(0, ge=0)
    """Of the sample."""

    def _by_margins(self, pull: Margin, push: Margin) -> dict[str, Any]:
        return {"threshold": times(pull, 2)}


class HdbscanSpec(_Clustering):
    """HDBSCAN (Campello et al. 2013), by scikit-learn; pixels of no cluster are no instance."""

    kind: Literal["hdbscan"] = "hdbscan"
    min_cluster_size: int = Field(50, ge=2)
    """Fewest pixels of an instance; scaled down with the sample."""
    epsilon: Margin | None = None
    """Clusters nearer than this are not parted; null: δ_v."""
    single: bool = True
    """One cluster may be all there is."""
    sample: int = Field(5000, ge=2)
    """Pixels that are clustered; others go where the nearest of these went."""
    seed: int = Field(0, ge=0)
    """Of the sample."""

    def _by_margins(self, pull: Margin, push: Margin) -> dict[str, Any]:
        return {"epsilon": pull}


ClusterSpec = Annotated[
    MeanShiftSpec | MeanShiftPlusSpec | AgglomerativeSpec | HdbscanSpec, Field(discriminator="kind")
]

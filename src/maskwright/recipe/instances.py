"""How objects are told apart: what embeddings are learned from, how they are clustered and cleaned up."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from maskwright.recipe.cluster import ClusterSpec, MeanShiftPlusSpec
from maskwright.recipe.embedding import EmbeddingLossSpec
from maskwright.recipe.margin import margin_at
from maskwright.recipe.panoptic import MergeSpec
from maskwright.recipe.spec import Spec
from maskwright.recipe.workflow import Level, Team, Workflow, divisions, teams


class InstancesSpec(Spec):
    """Instance and panoptic segmentation; without effect where `data.task` is semantic.

    Pixels of each category of things are clustered by their embeddings, at the size that the network works at; the
    clusters are brought to the image's size, cleaned up and merged into the semantic map.
    """

    only: tuple[str, ...] | None = Field(None, min_length=1)
    """Things whose objects are learned and told apart; all others are stuff, in scores and files, too. null: all
    things."""
    workflow: Workflow = "all"
    """Which things share a network (source 4). all: one network for all of them. icm: so in the supervised training,
    and one for each thing in rounds of self-training. base: so in the supervised training, and one for each of
    `together` in rounds. ccm: one for each of `together` from the start. mix: in rounds those of all, icm and base, and
    each thing has the network that tells it best out of fold. Several networks of a fold say together what category a
    pixel is of, and each tells its own things apart; they are trainings of their own, side by side where the executor
    has room."""
    together: tuple[tuple[str, ...], ...] | None = Field(None, min_length=1)
    """Things that share a network in base, ccm and mix, such as [[car, bus], [person, rider]]; each thing in one of
    them. null: there is no such division, and mix chooses between all and icm."""
    loss: EmbeddingLossSpec = EmbeddingLossSpec(zero="background")
    """What embeddings are learned from, beside the semantic loss. Pixels of things that have no id in the instance map
    are ignored, or unlabelled where objects are missing there (`data.drawn`); 0 are the others, stuff and background:
    here one region of its own, kept apart from the objects."""
    partner_every: int = Field(1, ge=1)
    """Optimiser steps after which the partner, the moving average of `train.ema`, moves, and is frozen until then. With
    `train.ema` 0 it is a frozen copy of the network that is renewed so often (source 4's other way). The partner gives
    the consistency of unlabelled pixels, and is what is validated and shipped, as of its last move: take a divisor of
    `train.steps`."""
    cluster: ClusterSpec = MeanShiftPlusSpec()
    """How pixels of one category are parted into instances. Distances that are null follow the margins of `loss`. One
    that changes over the training is at 1 - 1/r where round r labels the pool: as it starts in the first, halfway in
    the second, at two thirds in the third. Elsewhere it is at its end."""
    by: Literal["best", "embeddings", "shape"] = "best"
    """What parts two objects that touch. embeddings: `cluster`. shape: a watershed on the distance to the border of
    what the network, after post-processing, says is of a thing, as it is without embeddings. best: for each thing what
    has the higher out-of-fold PQ; embeddings where there is one fold, or where objects are missing from instance maps
    that no masks stand beside (`data.drawn`)."""
    middles: tuple[float, ...] = Field((0.15, 0.25, 0.4, 0.6, 1.0), min_length=1)
    """Least distances of two middles that a shape is parted at, as shares of the median diameter of the thing's true
    objects; of several the one with the highest out-of-fold PQ, of equal ones the first, and the middle one of these
    where there is one fold."""
    apart: bool = True
    """Pixels of a cluster that don't touch are instances of their own, in training, too: a network sees no difference
    between two equal objects that lie far from each other. false: an object may be in pieces, such as a car behind a
    pole."""
    border: float | None = Field(None, ge=0)
    """Least step of the embeddings from one instance to another that touches it: the mean distance of pixels on both
    sides of their border, two apart. With less of a step they are one, as the embeddings of a half-trained network
    drift across an object. null: half of δ_d, as the clustering's radius; 0: no such rule."""
    across: bool = False
    """Pixels of all things are clustered together, and an instance is what most of its pixels are: an object of which
    a part is taken for another category stays whole, and its vote mends the category. false: each category by itself,
    so that no instance is in two."""
    minimum: int = Field(8, ge=1)
    """Fewest pixels of an instance, at the size that the network works at. Those of a smaller one go to the nearest
    instance of the same connected component of their category, or to none where there is none."""
    smallest: float = Field(0.35, ge=0, lt=1)
    """The same as a share of the usual area in that component: that of the instance in which its middle pixel lies,
    counted from the smallest instance to the largest. What a half-trained network tears off an object is small beside
    it, while a far car that touches no other stays, however small. 0: no such rule."""
    erosion: int = Field(1, ge=1)
    """Side in pixels of the square by which each instance is eroded, odd; 1: not at all."""
    dilation: int = Field(1, ge=1)
    """Side in pixels of the square by which each is dilated then, within the pixels of its category; 1: not at all."""
    score: Literal["agreement", "objectness"] = "objectness"
    """What an instance is ranked by, for AP and where `merge` lets the surest come first or drops what is below
    `merge.score_threshold`. agreement: the mean probability of its category inside. objectness: the probability that it
    is a true one, by a classifier of its shape, embeddings, probabilities and contrast, fitted on out-of-fold
    instances; the agreement where there are too few of these, or one fold."""
    least: float | None = Field(None, ge=0, lt=1)
    """Least objectness of an instance. null: half of the best F1 (recognition quality) that the out-of-fold objects let
    expect, from which on an object adds more than it costs: near 0.5 where most are found and true, less where many are
    missed, as a doubtful one is then worth its risk. 0.5: what is more likely false than true is left out, for those
    who mind a false object more than a missed one. Without effect where `score` is the agreement, or no objectness
    could be learned."""
    merge: MergeSpec = MergeSpec(score_threshold=0.0)
    """How instances and semantic map become one."""

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        """Lay what is stated of a component over what it is here by default, where that is of the same kind."""
        if not isinstance(given, dict):
            return given
        whole = dict(given)
        for name in ("loss", "cluster", "merge"):
            stated, default = given.get(name), cls.model_fields[name].default
            kind = getattr(default, "kind", None)
            if isinstance(stated, dict) and stated.get("kind", kind) == kind:
                own = default.model_dump(include=default.model_fields_set | {"kind"})
                whole[name] = own | stated
        return whole

    def filled_in(self) -> InstancesSpec:
        """Return the section with the distances that are null as the margins of the loss say."""
        cluster = self.cluster.within(self.loss.pull_margin, self.loss.push_margin)
        border = margin_at(self.loss.push_margin, 1.0) / 2 if self.border is None else self.border
        return self.model_copy(update={"cluster": cluster, "border": border})

    def at(self, progress: float) -> InstancesSpec:
        """Return the section with the distances of the clustering as they are at a point of the rounds, from 0 to 1."""
        return self.model_copy(update={"cluster": self.cluster.at(progress)})

    def divisions(self, things: Sequence[str], number: int) -> dict[Level, tuple[Team, ...]]:
        """Return the ways in which a round divides things, of all those that there are, among networks."""
        return divisions(self.workflow, self.only or things, self.together, number)

    def teams(self, things: Sequence[str], number: int) -> tuple[Team, ...]:
        """Return the things of each network of a fold in a round, of all those that there are."""
        return teams(self.workflow, self.only or things, self.together, number)

    def strangers(self, names: Collection[str], things: Collection[str]) -> str | None:
        """Return what is wrong with the things that are named, given all categories and the things among them."""
        named = {"only": self.only or (), "together": tuple(name for team in self.together or () for name in team)}
        for field, own in named.items():
            if unknown := [name for name in own if name not in things]:
                why = "is no thing" if unknown[0] in names else "isn't there"
                return f"{field}: {unknown[0]!r} {why}; things are {', '.join(things) or 'none'}"
        missing = [name for name in self.only or things if self.together is not None and name not in named["together"]]
        return f"together: {', '.join(missing)} in none of them" if missing else None

    @model_validator(mode="after")
    def _divides_once(self) -> InstancesSpec:
        named = [name for team in self.together or () for name in team]
        if len(set(named)) < len(named) or not all(self.together or ()):
            raise ValueError("together: each thing once, and no group without one")
        if self.workflow in ("base", "ccm") and self.together is None:
            raise ValueError(
                f"workflow: {self.workflow} has a network for each group of things: name them in instances.together, "
                "such as [[car, bus], [person, rider]]"
            )
        return self

    @field_validator("middles")
    @classmethod
    def _is_some_way(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < value < math.inf for value in values) or len(set(values)) < len(values):
            raise ValueError("each above 0, and each once")
        return values

    @field_validator("erosion", "dilation")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("an odd side, such as 3")
        return value

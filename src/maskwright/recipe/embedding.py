"""Instances from embeddings: what the network gives out besides logits, and what it learns them from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.margin import Margin
from maskwright.recipe.spec import Spec

Weight = Annotated[float, Field(ge=0)]
Zero = Literal["unlabelled", "background", "ignore"]
"""What 0 means in an instance map."""


class EmbeddingSpec(Spec):
    """An embedding for each pixel beside the logits, from the same encoder."""

    channels: int = Field(8, ge=1)
    """E: 8 for Cityscapes in SPOCO and source 4, 16 for leaves."""
    decoder: Literal["auto", "own", "shared"] = "auto"
    """own: a second decoder like the first; shared: more outputs of the first one; auto: own where encoder and decoder
    are parts that can be told apart, as in all networks of segmentation-models-pytorch, else shared."""


class ConsistencySpec(Spec):
    """Where nothing is labelled, network and momentum network must draw the same soft mask around the same pixel."""

    weight: Weight = 0.1
    """Of the term: 0.1 was the best of 0, 0.01, 0.1 and 1 in source 4; SPOCO has 1."""
    anchors: int = Field(20, ge=1)
    """Pixels that masks are drawn around, at most."""
    least: float = Field(0.05, gt=0, lt=1)
    """Share of an image below which what is left unlabelled gives no further anchor (SPOCO's volume threshold)."""
    rotation: tuple[float, float] = (0.0, 180.0)
    """Degrees, of which one is drawn, by which the momentum network's view of an image is turned (source 4)."""


class EmbeddingLossSpec(Spec):
    """The terms from which embeddings are learned (De Brabandere et al. 2017; SPOCO, Wolny et al. 2022)."""

    pull: Weight = 1.0
    """Of an instance's pixels towards its mean."""
    push: Weight = 1.0
    """Of the means of instances away from each other."""
    unlabelled_push: Weight = 1.0
    """Of unlabelled pixels away from the means."""
    object: Weight = 1.0
    """Of the Dice loss between each instance and the soft mask around its mean."""
    norm: Weight = 0.001
    """Of the norm of the means."""
    consistency: ConsistencySpec = ConsistencySpec()
    pull_margin: Margin = 0.5
    """δ_v: within this distance of the mean nothing pulls; also the radius of the soft mask."""
    push_margin: Margin = 1.5
    """δ_d: 1.5 in De Brabandere et al. and source 4, 2 in SPOCO's scripts. Means are pushed to 2 δ_d from each other,
    unlabelled pixels to δ_d from the means."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Value of the soft mask at a distance of δ_v: 0.5 in SPOCO, 0.9 in torch-em."""
    zero: Zero = "unlabelled"
    """What 0 means in an instance map. unlabelled: maybe an object that nobody drew; pushed from the means, and where
    consistency is learned. background: a region of its own, pulled together and pushed away, without an object term.
    ignore: no term sees these pixels."""
    reach: int | None = Field(None, ge=0)
    """Pixels of the crop between two objects up to which they are learned to be told apart, and so on from each to the
    next; objects farther from one another may have the same embedding, and where they lie tells them apart. null: all
    objects of a crop, as in SPOCO."""
    pairs: int | None = Field(1 << 22, ge=1)
    """Pairs of pixel and instance of an image up to which soft masks and the unlabelled push are summed over all
    pixels. Beyond, the pixels of other objects are drawn, at least 4096, and weighted: the sums are the same on
    average, at a cost that no longer grows with the instances. null: always all."""

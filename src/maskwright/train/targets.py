"""What the losses need besides the label, made of the label and the objects of a crop."""

from __future__ import annotations

import numpy as np
import torch

from maskwright.augment import Crop
from maskwright.data.distances import signed_distances
from maskwright.losses import needed_targets
from maskwright.postprocess.instances import split_parts
from maskwright.recipe import Recipe
from maskwright.types import IGNORE, LabelMap

INSTANCES = "instances"
"""Name of the target that holds (h, w) int64 ids: any from 1 on, 0 as the loss says, below 0: ignored."""


class LabelTargets:
    """Makes the targets that a recipe's losses name: call label (h, w) uint8 → {name: (…, h, w) tensor}."""

    def __init__(self, recipe: Recipe) -> None:
        self.needed = needed_targets(recipe.levels, recipe.loss)
        self.count = len(recipe.data.to_categories()) if self.needed else 0

    def __call__(self, label: LabelMap) -> dict[str, torch.Tensor]:
        """Return the targets of one crop, made after it was varied."""
        return {
            need.name: torch.from_numpy(signed_distances(label, self.count, resolution=need.resolution))
            for need in self.needed
        }


class ObjectTargets:
    """Makes the ids that embeddings are learned from: call crop → {`INSTANCES`: (h, w) int64}.

    Objects count where the label is a thing; all other known pixels are 0. What is ignored, or a thing of which nobody
    knows which object it is of, is below 0.
    """

    def __init__(self, recipe: Recipe) -> None:
        categories, self.apart = recipe.data.to_categories(), recipe.instances.apart
        self.isthing = np.zeros(256, bool)
        self.isthing[categories.things] = True

    def __call__(self, crop: Crop) -> dict[str, torch.Tensor]:
        """Return the target of one crop, made after it was varied and mixed."""
        assert crop.instances is not None, "instances are read"
        thing = self.isthing[crop.label]
        ids = np.where(thing, crop.instances, 0).astype(np.int32)
        if self.apart:
            ids = split_parts(ids)
        known = np.where(thing & (ids == 0) | (crop.label == IGNORE), -1, ids)
        return {INSTANCES: torch.from_numpy(known.astype(np.int64))}

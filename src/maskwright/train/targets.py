"""What the losses need besides the label, made of the label and the objects of a crop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from maskwright.augment import Crop
from maskwright.data.distances import signed_distances
from maskwright.losses import needed_targets
from maskwright.losses.embedding import IGNORED, UNLABELLED
from maskwright.postprocess.instances import split_parts
from maskwright.recipe import Recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.types import IGNORE, LabelMap

INSTANCES = "instances"
"""Name of the target that holds (h, w) int64 ids: any from 1 on, 0 as the loss says, below 0 `IGNORED` or `UNLABELLED`
of `losses.embedding`."""


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

    Objects count where the label is a thing, or one of `instances.only`; all other known pixels are 0. What is ignored
    is `IGNORED`, and so is a thing of which nobody knows which object it is of. Where objects are missing from the maps
    (`data.drawn`), such a thing is `UNLABELLED`, and where there are no other labels, so is the background; not so with
    pseudo-labels, which have all that a network finds: there it is as `selftrain.method.objects.rest` says.
    """

    def __init__(self, recipe: Recipe) -> None:
        categories, self.apart = recipe.data.to_categories(), recipe.instances.apart
        self.partial = recipe.data.drawn < 1
        self.alone = self.partial and recipe.data.target == "instances"
        method = recipe.selftrain.method
        self.doubted = isinstance(method, PseudoLabelsSpec) and method.objects.rest == "unlabelled"
        self.isthing = np.zeros(256, bool)
        only = recipe.instances.only
        self.isthing[[thing for thing in categories.things if only is None or categories.names[thing] in only]] = True

    def __call__(self, crop: Crop, *, pseudo: bool = False) -> dict[str, torch.Tensor]:
        """Return the target of one crop, made after it was varied and mixed; of an image with pseudo-labels, or not."""
        assert crop.instances is not None, "instances are read"
        thing = self.isthing[crop.label]
        ids = np.where(thing, crop.instances, 0).astype(np.int32)
        if self.apart:
            ids = split_parts(ids)
        nobodys = thing & (ids == 0)
        unlabelled = self.doubted if pseudo else self.partial
        ids = np.where(nobodys, UNLABELLED if unlabelled else IGNORED, ids)
        if self.alone and not pseudo:
            ids = np.where(ids == 0, UNLABELLED, ids)
        ids = np.where(crop.label == IGNORE, IGNORED, ids)
        return {INSTANCES: torch.from_numpy(ids.astype(np.int64))}


class Undrawn:
    """Chooses the pixels that nobody drew and that are not learned as background this time: call label → (h, w) bool.

    Of drawn and undrawn pixels, weighted 1 and w, a classifier says "drawn" where c p > w (1 - c p), p being the
    probability of an object and c the share that is drawn. w = c / (2 - c) makes that p > ½.
    """

    def __init__(self, recipe: Recipe) -> None:
        drawn = recipe.data.drawn if recipe.data.target == "instances" else 1.0
        self.passed_over = 1 - drawn / (2 - drawn)

    def __call__(self, label: LabelMap, rng: np.random.Generator) -> npt.NDArray[np.bool_] | None:
        """Return the pixels of the background that are passed over; None where every object is drawn."""
        return (label == 0) & (rng.random(label.shape) < self.passed_over) if self.passed_over else None

"""What the losses need besides the label, made of the label of a crop."""

from __future__ import annotations

import torch

from maskwright.data.distances import signed_distances
from maskwright.losses import needed_targets
from maskwright.recipe import Recipe
from maskwright.types import LabelMap


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

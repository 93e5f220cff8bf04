"""Files and folders that a recipe names, as a run writes them down: absolute, so that it goes on from anywhere."""

from __future__ import annotations

from pathlib import Path

from maskwright.recipe import Recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec

OF_OBJECTS = ("instances", "panoptic", "pictures", "embeddings")
"""Folders of predictions/ that are there where objects are told apart."""


def absolute(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths; relative ones are below the folder that the command is given in."""
    further = tuple(f.model_copy(update={"root": _resolved(f.root)}) for f in recipe.data.further)
    data = recipe.data.model_copy(update={"root": _resolved(recipe.data.root), "further": further})
    files = {key: getattr(recipe.split, key) for key in ("file", "previous")}
    split = recipe.split.model_copy(update={k: _resolved(f) for k, f in files.items() if f not in (None, "auto")})
    train = recipe.train.model_copy(update={"start": recipe.train.start and _resolved(recipe.train.start)})
    rounds, method = recipe.selftrain, recipe.selftrain.method
    if isinstance(method, PseudoLabelsSpec):
        others = tuple(map(_resolved, method.fused_with))
        rounds = rounds.model_copy(update={"method": method.model_copy(update={"fused_with": others})})
    return recipe.model_copy(update={"data": data, "split": split, "train": train, "selftrain": rounds})


def _resolved(path: str) -> str:
    return str(Path(path).expanduser().resolve())

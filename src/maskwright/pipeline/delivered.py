"""Which networks of a run are used: those of the round that was adopted, and the tasks that made them."""

from __future__ import annotations

from maskwright.artifacts import RunFolder, read_json
from maskwright.recipe import Recipe


def delivered(folder: RunFolder, recipe: Recipe, part: str) -> str:
    """Return the name of the task that predicts a part with the networks that are used."""
    number = folder.adopted_round if recipe.selftrain.rounds else 0
    return f"selftrain-{number}-{part}" if number else f"predict-{part}"


def trainings(folder: RunFolder, recipe: Recipe) -> list[str]:
    """Return the names of the tasks that trained the networks that are used."""
    number = folder.adopted_round if recipe.selftrain.rounds else 0
    return [training_name(number, fold) for fold in range(recipe.split.folds)]


def training_name(number: int, fold: int) -> str:
    """Return the name of the task that trains a fold of a round."""
    return f"selftrain-{number}-train-{fold}" if number else f"train-fold-{fold}"


def made_from(folder: RunFolder, name: str) -> str:
    """Return the fingerprint of what made the results of a finished task."""
    found: str = read_json(folder.records / f"{name}.json")["fingerprint"]
    return found


def trained(folder: RunFolder, recipe: Recipe) -> dict[str, str]:
    """Return {training: fingerprint of what made it} of the networks that are used."""
    return {name: made_from(folder, name) for name in trainings(folder, recipe)}

"""Which networks of a run are used: those of the round that was adopted, and the tasks that made them."""

from __future__ import annotations

from maskwright.artifacts import RunFolder, read_json
from maskwright.pipeline.teams import training_teams
from maskwright.recipe import Recipe


def delivered(folder: RunFolder, recipe: Recipe, part: str) -> str:
    """Return the name of the task that predicts a part with the networks that are used."""
    number = folder.adopted_round if recipe.selftrain.rounds else 0
    return f"selftrain-{number}-{part}" if number else f"predict-{part}"


def trainings(folder: RunFolder, recipe: Recipe) -> list[str]:
    """Return the names of the tasks that trained the networks that are used."""
    number = folder.adopted_round if recipe.selftrain.rounds else 0
    return [name for fold in range(recipe.split.folds) for name in trainings_of(recipe, number, fold)]


def trainings_of(recipe: Recipe, number: int, fold: int) -> list[str]:
    """Return the names of the tasks that train the networks of a fold of a round."""
    return [training_name(number, fold, team) for team in range(len(training_teams(recipe, number)))]


def training_name(number: int, fold: int, team: int = 0) -> str:
    """Return the name of the task that trains a fold of a round, or one of its networks."""
    name = f"selftrain-{number}-train-{fold}" if number else f"train-fold-{fold}"
    return f"{name}-team-{team}" if team else name


def made_from(folder: RunFolder, name: str) -> str:
    """Return the fingerprint of what made the results of a finished task."""
    found: str = read_json(folder.records / f"{name}.json")["fingerprint"]
    return found


def trained(folder: RunFolder, recipe: Recipe) -> dict[str, str]:
    """Return {training: fingerprint of what made it} of the networks that are used."""
    return {name: made_from(folder, name) for name in trainings(folder, recipe)}

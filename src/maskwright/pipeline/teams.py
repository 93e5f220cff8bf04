"""The networks of a fold that tell things apart between them: trainings, checkpoints, what each of them is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maskwright.artifacts import RunFolder, read_json
from maskwright.recipe import Recipe
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.workflow import Level, Team
from maskwright.types import Categories

CHOICE = "mix.json"
"""Name of the file of a round that says which division each thing has its network from."""


class Asked(NamedTuple):
    """Networks that predict an image together.

    Attributes:
        paths: of their checkpoints.
        things: of each, the positions of the things that it tells apart.
    """

    paths: tuple[Path, ...]
    things: tuple[tuple[int, ...], ...]


def training_teams(recipe: Recipe, number: int) -> tuple[Team | None, ...]:
    """Return the things of each training of a fold of a round; None for all that there are, as ever.

    Args:
        recipe: resolved.
        number: of the round; 0, the supervised training.
    """
    if not recipe.tells_instances or recipe.instances.workflow == "all":
        return (None,)
    found = recipe.instances.teams(_names(recipe.data.to_categories()), number)
    return found if len(found) > 1 else (None,)


def chosen_among(recipe: Recipe, number: int) -> tuple[Level, ...]:
    """Return the divisions of things of a round, of which each thing has the one that tells it best; none if it hasn't.

    Args:
        recipe: resolved.
        number: of the round.
    """
    if len(training_teams(recipe, number)) < 2:
        return ()
    found = tuple(recipe.instances.divisions(_names(recipe.data.to_categories()), number))
    return found if len(found) > 1 else ()


def of_team(number: int, team: Team | None) -> dict[str, Any]:
    """Return what the spec of a training says of its team, the first, second and so on of the round."""
    return {} if team is None else {"team": number, "only": list(team)}


def team_recipe(recipe: Recipe, spec: Mapping[str, Any]) -> Recipe:
    """Return the recipe of the training that a spec describes."""
    if "only" not in spec:
        return recipe
    own = recipe.instances.model_copy(update={"only": tuple(spec["only"]), "workflow": "all"})
    return recipe.model_copy(update={"instances": own})


def networks_asked(
    folder: RunFolder,
    instances: InstancesSpec,
    categories: Categories,
    folds: Sequence[int],
    kind: str,
    number: int,
    level: Level | None = None,
) -> Asked:
    """Return the checkpoints that predict together, and what each of them tells apart.

    Args:
        folder: of the run.
        instances: how objects are told apart.
        categories: of the run.
        folds: whose networks predict; of one fold, things have the networks that were chosen without its truth.
        kind: as `predict.checkpoint`.
        number: of the round.
        level: the division of things that is meant; None: the only one, or the choice among them.
    """
    told = things_of_teams(folder, instances, categories, folds, number, level)
    paths, things = list[Path](), list[tuple[int, ...]]()
    for place, own in enumerate(told):
        for fold in folds if own or len(told) == 1 else ():
            kept = folder.kept_in(folder.fold(fold, number, place), kind)
            paths, things = paths + kept, things + [own] * len(kept)
    return Asked(tuple(paths), tuple(things))


def things_of_teams(
    folder: RunFolder,
    instances: InstancesSpec,
    categories: Categories,
    folds: Sequence[int],
    number: int,
    level: Level | None = None,
) -> list[tuple[int, ...]]:
    """Return the positions of the things that each team of a round is asked to tell apart; as `networks_asked`."""
    names = _names(categories)
    teams, division = instances.teams(names, number) or ((),), instances.divisions(names, number)
    if level is None and len(division) > 1 and len(teams) > 1:
        chosen = _chosen(folder, number, folds)
        wanted = {team: [t for t in team if team in division[chosen[t]]] for team in teams}
    else:
        only = next(iter(division.values())) if level is None else division[level]
        wanted = {team: list(team) if team in only else [] for team in teams}
    return [tuple(p for p in categories.things if categories.names[p] in wanted[team]) for team in teams]


def _names(categories: Categories) -> list[str]:
    return [categories.names[position] for position in categories.things]


def _chosen(folder: RunFolder, number: int, folds: Sequence[int]) -> dict[str, Level]:
    """Return thing → division."""
    known = read_json(folder.root / f"round-{number}" / CHOICE)
    found: dict[str, Level] = known["folds"][str(folds[0])] if len(folds) == 1 else known["all"]
    return found

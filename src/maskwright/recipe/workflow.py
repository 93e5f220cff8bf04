"""Which networks of a fold tell which things apart: the workflows of source 4 as a table, and the teams of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Team = tuple[str, ...]
"""Things that one network tells apart."""
Workflow = Literal["all", "icm", "base", "ccm", "mix"]
Level = Literal["all", "together", "each"]

WORKFLOWS: dict[Workflow, tuple[tuple[Level, ...], tuple[Level, ...]]] = {
    "all": (("all",), ("all",)),
    "icm": (("all",), ("each",)),
    "base": (("all",), ("together",)),
    "ccm": (("together",), ("together",)),
    "mix": (("all",), ("all", "together", "each")),
}
"""How things are divided among networks in the supervised training, and in rounds of self-training. Of several
divisions each thing has the network of the one that tells it best out of fold."""


def divisions(
    workflow: Workflow, things: Sequence[str], together: Sequence[Team] | None, number: int
) -> dict[Level, tuple[Team, ...]]:
    """Return the ways in which a round divides things into teams; a thing is in one team of each.

    Args:
        workflow: of the recipe.
        things: names of those that are told apart.
        together: things that share a network, where a workflow has such; null: without that division.
        number: of the round; 0, the supervised training.

    Example:
        >>> divisions("base", ["car", "bus", "rider"], [("car", "bus"), ("rider",)], 1)
        {'together': (('car', 'bus'), ('rider',))}
    """
    known: dict[Level, tuple[Team, ...]] = {"all": (tuple(things),), "each": tuple((thing,) for thing in things)}
    if together is not None:
        known["together"] = tuple(tuple(thing for thing in things if thing in team) for team in together)
    return {level: known[level] for level in WORKFLOWS[workflow][min(number, 1)] if level in known}


def teams(workflow: Workflow, things: Sequence[str], together: Sequence[Team] | None, number: int) -> tuple[Team, ...]:
    """Return the teams of a round, each of which has a training in every fold; arguments as of `divisions`.

    Example:
        >>> teams("mix", ["car", "bus", "rider"], [("car", "bus"), ("rider",)], 1)
        (('car', 'bus', 'rider'), ('car', 'bus'), ('rider',), ('car',), ('bus',))
    """
    every = [team for division in divisions(workflow, things, together, number).values() for team in division]
    return tuple(dict.fromkeys(team for team in every if team))

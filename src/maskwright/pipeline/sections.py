"""What of a recipe decides what a stage gives, as plain data: the specs of tasks are made of it."""

from __future__ import annotations

from typing import Any

from maskwright.pipeline.teams import training_teams
from maskwright.recipe import Recipe
from maskwright.recipe.effort import all_rounds
from maskwright.recipe.optimise import PlateauSpec

LEARNING = {"seed", "data", "split", "model", "loss", "levels", "augment", "mix", "sampling", "train"}
"""Sections of the recipe that decide what a training gives."""


OF_LEARNING = {"loss", "apart", "only", "partner_every"}
"""Fields of `instances` that decide what embeddings are learned; the others only what is made of them."""

OF_PREDICTING = {"cluster", "apart", "across", "border", "minimum", "smallest", "only", "workflow", "together"}
"""Fields of `instances` that decide which objects are found; the others what is made of those afterwards."""


CHOSEN = {"by", "middles"}
"""Fields of `instances` that decide what parts objects once the networks are chosen."""

_UNSAID: dict[str, Any] = {"only": None, "workflow": "all", "together": None, "partner_every": 1}
"""Fields of `instances`, and the values with which they change nothing."""

AFTERWARDS = {
    "score",
    "least",
    "apart",
    "across",
    "merge",
    "erosion",
    "dilation",
    "minimum",
    "smallest",
    "only",
    *CHOSEN,
}
"""Fields of `instances` that decide what is made of objects that were found."""


def training(recipe: Recipe) -> dict[str, Any]:
    """Return what decides what a training of a fold gives, in round 0 and in those that follow."""
    spec = _learning(recipe)
    if isinstance(recipe.train.schedule, PlateauSpec):  # the rate follows the score, and that follows these
        spec["evaluate"] = recipe.evaluate.model_dump(mode="json", include={"empty", "absent"})
        spec["predict"] = recipe.predict.model_dump(mode="json", include={"tile", "overlap", "pad", "blend", "never"})
    return spec


def planning(recipe: Recipe) -> dict[str, Any]:
    """Return what decides what a plan fills in."""
    rounds = _further(recipe) if recipe.train.minutes is not None else 0
    spec = _learning(recipe) | recipe.model_dump(mode="json", include={"executor"})
    return spec | ({"rounds": rounds} if rounds else {})


def _further(recipe: Recipe) -> float:
    """Return what is trained beside one network of each fold, in supervised trainings."""
    rounds = all_rounds(recipe.selftrain, recipe.train.batch)
    first, each = (len(training_teams(recipe, number)) for number in (0, 1))
    return first - 1 + each * rounds


def _learning(recipe: Recipe) -> dict[str, Any]:
    spec = recipe.model_dump(mode="json", include=LEARNING)
    return spec | {"train": deciding(spec["train"])} | of_objects(recipe, OF_LEARNING)


def of_objects(recipe: Recipe, fields: set[str] | None = None) -> dict[str, Any]:
    """Return the section of objects, or some of its fields, where they are told apart."""
    if not recipe.tells_instances:
        return {}
    found = recipe.instances.filled_in().model_dump(mode="json", include=fields)
    return {"instances": {k: v for k, v in found.items() if k not in _UNSAID or v != _UNSAID[k]}}


def predicting(recipe: Recipe) -> dict[str, Any]:
    """Return what decides what is predicted."""
    spec = recipe.model_dump(mode="json", include={"data", "split"})
    spec["predict"] = recipe.predict.model_dump(mode="json", exclude={"overlays", "pool"})
    return spec | {"accelerator": recipe.train.accelerator} | of_objects(recipe, OF_PREDICTING)


def comparing(recipe: Recipe) -> dict[str, Any]:
    """Return what decides how scores are compared."""
    fields = {"empty", "absent", "samples", "confidence"}
    return {"evaluate": recipe.evaluate.model_dump(mode="json", include=fields)}


def choosing(recipe: Recipe) -> dict[str, Any]:
    """Return what decides which networks are used, if there are rounds to choose from."""
    return {"selftrain": selftraining(recipe)} if recipe.selftrain.rounds else {}


def selftraining(recipe: Recipe) -> dict[str, Any]:
    """Return what of the section decides what rounds give: what is kept on the disk after them doesn't."""
    section = recipe.selftrain.model_dump(mode="json")
    idle = {"keep_soft"} if recipe.tells_instances else {"keep_soft", "objects"}
    return section | {"method": {k: v for k, v in section["method"].items() if k not in idle}}


def deciding(train: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the training section that can change a number; the others may change between calls."""
    return {key: value for key, value in train.items() if key not in ("workers", "cache", "loggers")}

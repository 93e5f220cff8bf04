"""What a training from one domain to another needs besides its step: shares of a batch, statistics, importance."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from maskwright.data.index import Index
from maskwright.data.intensity import Intensity, measure
from maskwright.errors import RecipeError, problem
from maskwright.recipe import Recipe
from maskwright.recipe.sac import SacSpec
from maskwright.recipe.unlabelled import OnlineMethodSpec
from maskwright.train.batch import Batch
from maskwright.train.device import training_device
from maskwright.train.steps import Step
from maskwright.train.unlabelled.importance import pool_weights
from maskwright.train.unlabelled.kept import FROM_SCRATCH
from maskwright.train.unlabelled.sac.step import SacStep
from maskwright.train.working import WorkingImages

WEIGHTS = "pool_weights.csv"
"""The table of what the starting network predicts of the pool, in the folder of a training."""

ADAPTED = 32
"""Batches of either domain from which statistics are measured anew."""

_MEASURED = 48


def check_start(recipe: Recipe, start: Path | None) -> None:
    """Raise RecipeError if a method needs a network to start from, and there is none."""
    method = recipe.selftrain.method
    if start is not None or not isinstance(method, OnlineMethodSpec):
        return
    needs = [
        ("labelled_share", _alone(method), "0.5"),
        ("freeze_norm", method.freeze_norm is True, "false"),
    ]
    needs += [("importance", method.importance > 0, "0")] if isinstance(method, SacSpec) else []
    for field, asks, instead in needs:
        if asks:
            raise RecipeError(
                problem(
                    "a network to start from",
                    "none: the training begins from scratch",
                    where=f"selftrain.method.{field}",
                    next_move=f"name one as train.start, or set selftrain.method.{field} to {instead}",
                )
            )


def with_shares(recipe: Recipe) -> Recipe:
    """Return the recipe with `train.batch` labelled crops and `selftrain.method.batch` images of the pool in a step.

    Both are multiples of what is shared out among the devices and the parts of a step, and at least one such unit: a
    batch of a single one becomes two. Where no labels are used at all there is still a crop for each device and part,
    which tells how the labels are distributed; the step learns nothing from it.
    """
    method, train = recipe.selftrain.method, recipe.train
    if not isinstance(method, OnlineMethodSpec) or method.labelled_share is None:
        return recipe
    assert train.batch is not None
    unit = train.devices * train.accumulate
    units = train.batch // unit
    labelled = 0 if _alone(method) else min(max(round(method.labelled_share * units), 1), max(units - 1, 1))
    stated = method.model_copy(update={"batch": max(units - labelled, 1) * unit})
    return recipe.model_copy(
        update={
            "train": train.model_copy(update={"batch": max(labelled, 1) * unit}),
            "selftrain": recipe.selftrain.model_copy(update={"method": stated}),
        }
    )


def gone_on(recipe: Recipe, start: Path | None) -> Recipe:
    """Return the recipe of a training with what depends on whether it goes on from another network: the rate, whether
    batch norm's statistics stay, and from when on collapses are looked for.
    """
    method, train = recipe.selftrain.method, recipe.train
    if not isinstance(method, OnlineMethodSpec):
        return recipe
    if start is not None:
        train = train.model_copy(update={"lr": method.warm_lr * train.lr})
    freeze = start is not None if method.freeze_norm == "auto" else method.freeze_norm
    watched = method.watched_from
    if watched is None:
        watched = FROM_SCRATCH if start is None else 0.0
    method = method.model_copy(update={"freeze_norm": freeze, "watched_from": watched})
    stated = recipe.selftrain.model_copy(update={"method": method})
    return recipe.model_copy(update={"train": train, "selftrain": stated})


def renormalised(recipe: Recipe, pool: Index) -> Recipe:
    """Return the recipe with the pool's mean and standard deviation, if its method asks for them."""
    method, before = recipe.selftrain.method, Intensity.of(recipe.data)
    if not isinstance(method, SacSpec) or not method.renormalise:
        return recipe
    rows = range(0, len(pool), max(1, len(pool) // _MEASURED))
    found = measure(map(pool.read_image, rows), channels=before.channels, value_range=before.value_range)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"mean": found.mean, "std": found.std})})


def adapt_first(step: Step, recipe: Recipe, batches: Iterable[Batch]) -> None:
    """Let a step measure batch norm's statistics on both domains before a training begins, if its method asks for it.

    Args:
        step: of the training.
        recipe: resolved.
        batches: its first ones, as many as there are in an epoch; `ADAPTED` at most are used.
    """
    method = recipe.selftrain.method
    if isinstance(method, SacSpec) and method.adapt_norm and isinstance(step, SacStep):
        step.network.to(training_device(recipe.train.accelerator))
        step.adapt(itertools.islice(batches, ADAPTED))


def weights_of_pool(
    folder: Path, network: nn.Module, images: WorkingImages, recipe: Recipe, *, write: bool = True
) -> npt.NDArray[np.float64] | None:
    """Return how often each image of the pool comes in a turn; None: once each.

    Args:
        folder: of the training.
        network: that it starts from.
        images: of the pool.
        recipe: resolved.
        write: this process predicts and keeps the table; the others wait for it.
    """
    method = recipe.selftrain.method
    if not isinstance(method, SacSpec) or not method.importance:
        return None
    return pool_weights(folder / WEIGHTS, network, images, recipe, method.importance, write=write)


def _alone(method: OnlineMethodSpec) -> bool:
    return method.labelled_share == 0

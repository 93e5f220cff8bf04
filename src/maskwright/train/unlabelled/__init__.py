"""Learning from images without labels beside those with: one literal table from a method's spec to its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from maskwright.losses import LevelsLoss
from maskwright.models import build_model
from maskwright.recipe import Recipe
from maskwright.recipe.sac import NormAdaptationSpec, SacSpec
from maskwright.recipe.unlabelled import (
    ConsistencySpec,
    DACSSpec,
    FixMatchSpec,
    MeanTeacherSpec,
    UniMatchSpec,
    UniMatchV2Spec,
)
from maskwright.train.steps import SupervisedStep
from maskwright.train.unlabelled.consistency import ConsistencyStep, check_features
from maskwright.train.unlabelled.domains import with_shares
from maskwright.train.unlabelled.norm import NormAdaptationStep
from maskwright.train.unlabelled.pool import pool_batch
from maskwright.train.unlabelled.sac.step import SacStep
from maskwright.train.unlabelled.sac.views import plain_views, sac_views
from maskwright.train.unlabelled.views import Draw, consistency_views

__all__ = ["METHODS", "Method", "build_step", "build_views", "check_method", "learns_online"]


@dataclass(frozen=True)
class Method:
    """The parts of a method.

    Attributes:
        views: (recipe, spec) → what draws the views of an image without labels.
        step: (network, loss, recipe, spec, options of the moving average that is shipped) → the step; its attribute
            `kept` is a `KeptLabels`, which the curves and the watch over collapses read.
    """

    views: Callable[[Recipe, Any], Draw]
    step: Callable[..., SupervisedStep]


METHODS: dict[type, Method] = {
    SacSpec: Method(sac_views, SacStep),
    NormAdaptationSpec: Method(plain_views, NormAdaptationStep),
    FixMatchSpec: Method(consistency_views, ConsistencyStep),
    UniMatchSpec: Method(consistency_views, ConsistencyStep),
    UniMatchV2Spec: Method(consistency_views, ConsistencyStep),
    MeanTeacherSpec: Method(consistency_views, ConsistencyStep),
    DACSSpec: Method(consistency_views, ConsistencyStep),
}


def learns_online(recipe: Recipe) -> bool:
    """Tell whether the recipe's method learns from the pool while it trains."""
    return type(recipe.selftrain.method) in METHODS


def check_method(recipe: Recipe) -> None:
    """Raise RecipeError if a resolved recipe has rounds that can't be trained: better before the first training.

    What `ConsistencyStep` changes inside of a network is looked for in one that is built and let go.
    """
    if not recipe.selftrain.rounds or not learns_online(recipe):
        return
    pool_batch(with_shares(recipe))
    if isinstance(method := recipe.selftrain.method, ConsistencySpec) and method.changes_features:
        assert recipe.data.channels is not None
        spec = recipe.model.model_copy(update={"encoder_weights": "none"})
        check_features(build_model(spec, in_channels=recipe.data.channels, classes=2), recipe)


def build_views(recipe: Recipe) -> Draw:
    """Return what draws the views of an image without labels, of a resolved recipe whose method learns online."""
    method = recipe.selftrain.method
    return METHODS[type(method)].views(recipe, method)


def build_step(network: nn.Module, loss: LevelsLoss, recipe: Recipe, **average: Any) -> SupervisedStep:
    """Return the step of a resolved recipe whose method learns online.

    Args:
        network: images → logits.
        loss: of the labelled crops.
        recipe: resolved.
        average: options of the moving average that is shipped, as `SupervisedStep` has them.
    """
    method = recipe.selftrain.method
    return METHODS[type(method)].step(network, loss, recipe, method, **average)

"""What rounds of self-training cost, in supervised trainings: one rule for budgets, verdicts and advice."""

from __future__ import annotations

from typing import NamedTuple

from maskwright.recipe.sac import NormAdaptationSpec
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.recipe.unlabelled import OnlineMethodSpec

_MORE = 1.05


class Effort(NamedTuple):
    """What a training costs; 1 is the supervised training of the same recipe.

    Attributes:
        steps: of the optimiser.
        passes: forward and backward passes of an image through the network; a backward one counts as two forward ones,
            and labelling the pool isn't counted.
    """

    steps: float
    passes: float


def effort_of_round(spec: SelftrainSpec, batch: int | None = None) -> Effort:
    """Return what one round costs by itself.

    Args:
        spec: how it learns.
        batch: labelled crops of a step; None: nobody knows yet, and a step has as many images of the pool.

    Example:
        >>> effort_of_round(SelftrainSpec(method=PseudoLabelsSpec(images={"kind": "agreement"})))
        Effort(steps=2.0, passes=2.0)
    """
    method = spec.method
    if spec.protocol == "labelled_only":
        return Effort(spec.length, spec.length)
    if isinstance(method, PseudoLabelsSpec):
        trainings = (2.0 if method.relabels else 1.0) * spec.length
        return Effort(trainings, trainings)
    labelled, pool = _images_of_step(method, batch)
    forward = labelled + pool * (method.passes.forward - 1)
    backward = labelled + pool * (method.passes.backward - 1)
    return Effort(spec.length, spec.length * (forward + 2 * backward) / 3)


def effort_behind(spec: SelftrainSpec, number: int, batch: int | None = None) -> Effort:
    """Return what has gone into the network of a round: with what it started from, where it goes on from that.

    Args:
        spec: how rounds learn.
        number: of the round.
        batch: as of `effort_of_round`.

    Example:
        >>> effort_behind(SelftrainSpec(start="before"), 2)
        Effort(steps=3.0, passes=3.0)
    """
    each = effort_of_round(spec, batch)
    if not number or not spec.goes_on:
        return each if number else Effort(1.0, 1.0)
    return Effort(1 + number * each.steps, 1 + number * each.passes)


def all_rounds(spec: SelftrainSpec, batch: int | None = None) -> float:
    """Return the passes of as many rounds as there are at most, in supervised trainings; arguments as before."""
    return spec.rounds * effort_of_round(spec, batch).passes


def said_of(effort: Effort) -> str:
    """Return what a gain over the supervised training must be read with; empty where both cost the same.

    Example:
        >>> said_of(Effort(2, 5))[:71]
        'learned 2 times the steps of the supervised training, at 5 times its pa'
    """
    if max(effort) <= _MORE:
        return ""
    steps = f"{effort.steps:.3g} times the steps of" if effort.steps > _MORE else "as many steps as"
    return (
        f"learned {steps} the supervised training, at {effort.passes:.3g} times its passes: "
        "a longer supervised training might bring a part of the gain"
    )


def _images_of_step(method: OnlineMethodSpec | NormAdaptationSpec, batch: int | None) -> tuple[float, float]:
    """Return how many labelled crops and images of the pool a step has, each over `train.batch`."""
    if isinstance(method, OnlineMethodSpec) and method.labelled_share is not None:
        return method.labelled_share, 1 - method.labelled_share
    return 1.0, 1.0 if method.batch is None or batch is None else method.batch / batch

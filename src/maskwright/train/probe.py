"""What the recipe leaves open is decided here, once, before the first step: size, network, batch, precision, steps.

The rule: work at the size at which an image has about 256² pixels, one crop an image, with a small network whose
decoder stops at stride 2; measure what a step costs in each precision; take as many steps as the budget holds. From
scratch and in minutes, many cheap steps beat few dear ones: where the budget holds few, the batch is halved; where it
holds very many, a larger network takes the place of the small one.

The probe itself may take a tenth of the budget (a third of a short one, to 20 s at most; 60 s without one). What there
is no time to measure takes its default: float32, the small network, half the batch at half its cost.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch

from maskwright.data.index import Index
from maskwright.data.intensity import Scale, working_size
from maskwright.inference import STRIDE
from maskwright.models import build_model
from maskwright.models.embedding import sees_whole_tile
from maskwright.models.weights import cached_weights, told_weights
from maskwright.processes import cores
from maskwright.recipe import Recipe
from maskwright.recipe.embedding import EmbeddingSpec
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.executor import at_a_time, cores_of_task
from maskwright.recipe.model import UNetSpec
from maskwright.train.device import training_device
from maskwright.train.timing import Allowance, Cost, cost_of_step, scaled, tiny_step

AREA = 256 * 256
"""Pixels of an image at working size, before the budget is looked at."""

FEW, MANY = 1200, 6000
"""Steps of a fold below which the batch is halved, and above which the larger network is taken."""

DEFAULT_STEPS = 1500
"""Steps of a fold where neither they nor a budget is given."""

_OVERHEAD = 0.06
_STARTUP_SECONDS = 3.0
_VALIDATIONS = 8
_EMULATED = 3
"""How many times longer a tiny step takes in a precision that isn't worth measuring: a processor emulates it."""
_DEARER = 4
"""How many times longer a step of the larger network takes, roughly."""
_MOSTLY_PADDING = 2
"""Crops of more than this many times the area of the image at working size are said to be padding for the most part."""
_SMALL: dict[str, object] = {"encoder": "resnet10t", "decoder_channels": (128, 64, 48, 32, 16), "output_stride": 2}
_LARGE: dict[str, object] = {"encoder": "resnet18", "decoder_channels": (256, 128, 64, 32, 16), "output_stride": 1}


@dataclass(frozen=True)
class Plan:
    """A resolved recipe with what was measured on the way.

    Attributes:
        recipe: complete.
        seconds_per_step: median of the probe's steps, or what fewer crops than a step has make of it.
        projected_seconds: of the training of all folds, with that of the rounds that follow.
        reasons: one line a decision.
    """

    recipe: Recipe
    seconds_per_step: float
    projected_seconds: float
    reasons: list[str]


def plan_training(recipe: Recipe, training: Index, *, further: float = 0.0) -> Plan:
    """Fill in what the model and training sections leave open.

    Args:
        recipe: its data section is resolved.
        training: labelled images of all folds.
        further: trainings of each fold that rounds of self-training come to, in supervised ones; they share the budget.

    Raises:
        UsageError: the recipe asks for a device that this machine lacks.
    """
    training_device(recipe.train.accelerator)
    allowance, times = Allowance.of(recipe), 1 + further
    recipe = with_embedding(recipe)
    asked, reasons = recipe, list[str]()
    recipe = _weights(_network(plan_sizes(_machine(recipe), training, reasons), _SMALL), reasons)
    reasons += seams(recipe, training)
    recipe, cost = _precision(recipe, allowance, reasons)
    if recipe.train.steps is None and recipe.train.epochs is not None:
        recipe = _update(recipe, steps=_steps_of_epochs(recipe, len(training)))
        reasons.append(f"{recipe.train.steps} steps: {recipe.train.epochs:g} passes over the training images of a fold")
    elif recipe.train.steps is None and recipe.train.minutes is None:
        recipe = _update(recipe, steps=DEFAULT_STEPS)
        reasons.append(f"{DEFAULT_STEPS} steps: none of --minutes, train.epochs and train.steps was given")
    elif recipe.train.steps is None:
        recipe, cost = _fit_budget(asked, recipe, cost, allowance, reasons, times)
    assert recipe.train.steps is not None
    steps = recipe.train.steps
    if recipe.train.validate_every is None:
        recipe = _update(recipe, validate_every=steps // validations(steps))
    if cost.crops < (recipe.train.batch or 1) // recipe.train.accumulate:
        measured = f"{cost.crops} of its {recipe.train.batch} crops" if cost.crops else "small crops"
        reasons.append(
            f"what a step costs is estimated from {measured}: the probe may take {allowance.seconds:.0f} s, "
            "and this machine is slow or busy"
        )
    return Plan(recipe, cost.seconds, _projected(recipe, cost, times), reasons)


def with_embedding(recipe: Recipe) -> Recipe:
    """Let the network give out embeddings where objects are to be told apart."""
    if not recipe.tells_instances or getattr(recipe.model, "embedding", None) is not None:
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"embedding": EmbeddingSpec()})})


def seams(recipe: Recipe, training: Index) -> list[str]:
    """Return a line where objects may be cut at the seams of tiles.

    Args:
        recipe: with its network and scale.
        training: labelled images.
    """
    largest = max(zip(training.table["height"], training.table["width"], strict=True), key=max, default=(0, 0))
    if not recipe.tells_instances or max(working_size(largest, recipe.train.scale or 1.0)) <= recipe.predict.tile:
        return []
    bare = {"encoder_weights": "none"} if hasattr(recipe.model, "encoder_weights") else {}
    network = build_model(recipe.model.model_copy(update=bare), in_channels=recipe.data.channels or 3, classes=2)
    if not sees_whole_tile(network):
        return []
    return [
        f"an image of {largest[1]}×{largest[0]} is predicted by tiles of {recipe.predict.tile}, and what this network "
        "says of an object depends on the whole tile (attention, pooling or norms over it): objects may be cut where "
        "tiles meet; take a larger predict.tile, or an encoder without these, such as resnet34"
    ]


def plan_sizes(recipe: Recipe, training: Index, reasons: list[str] | None = None) -> Recipe:
    """Fill in scale, crop and batch.

    Args:
        recipe: its data section is resolved.
        training: labelled images.
        reasons: gets a line.
    """
    height = statistics.median(training.table["height"].to_list())
    width = statistics.median(training.table["width"].to_list())
    scale = recipe.train.scale or min(1.0, round(math.sqrt(AREA / (height * width)), 4))
    worked = working_size((height, width), scale)
    crop = recipe.train.crop or (_round_up(worked[0]), _round_up(worked[1]))
    largest = 2 * AREA  # a scale that was set by hand: crops stay small
    while recipe.train.crop is None and crop[0] * crop[1] > largest:
        crop = (_round_up(crop[0] / math.sqrt(2)), _round_up(crop[1] / math.sqrt(2)))
    assert crop is not None
    unit = _unit(recipe)
    batch = recipe.train.batch or unit * math.ceil(_batch(crop) / unit)
    if reasons is not None:
        reasons.append(
            f"images of {width:.0f}×{height:.0f} are worked on at {_said(scale)}, "
            f"{batch} crops of {crop[1]}×{crop[0]} a step"
        )
        if recipe.train.crop and crop[0] * crop[1] > _MOSTLY_PADDING * worked[0] * worked[1]:
            reasons.append(
                f"most of each crop lies outside the image, which has {worked[1]}×{worked[0]} there: train.crop of "
                "this recipe is meant for larger images; train.crop=null takes one that fits"
            )
    return _update(recipe, scale=scale, crop=crop, batch=batch)


def validations(steps: int) -> int:
    """Return how often to validate: a divisor of the steps, so that the last step is validated, best near 8.

    Example:
        >>> validations(1600), validations(1001), validations(1009)
        (8, 7, 1)
    """
    return next(count for count in (8, 7, 9, 6, 10, 5, 4, 3, 2, 1) if steps % count == 0)


def _machine(recipe: Recipe) -> Recipe:
    share = cores_of_task(recipe.executor, recipe.split.folds, cores())
    threads = recipe.train.threads or max(1, share // recipe.train.devices)
    torch.set_num_threads(threads)
    return _update(recipe, threads=threads)


def _unit(recipe: Recipe) -> int:
    """Return what the batch is a multiple of: a crop for each device in each part of a step."""
    return recipe.train.devices * recipe.train.accumulate


def _said(scale: Scale) -> str:
    return f"{scale[1]}×{scale[0]}" if isinstance(scale, tuple) else f"{scale:g} of their size"


def _batch(crop: tuple[int, int]) -> int:
    """Return how many crops make a step: 8 of 256², more of smaller ones."""
    return min(16, max(4, round(8 * math.sqrt(AREA / (crop[0] * crop[1])))))


def _network(recipe: Recipe, choice: dict[str, object]) -> Recipe:
    """Fill in what the model section leaves open."""
    open_fields = {key: value for key, value in choice.items() if getattr(recipe.model, key, value) is None}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=open_fields)})


def _weights(recipe: Recipe, reasons: list[str]) -> Recipe:
    """Write down what `auto` weights have come to, so that every fold and a resumed run start from the same."""
    model = recipe.model
    if not isinstance(model, EncoderSpec) or model.encoder_weights != "auto":
        return recipe
    assert model.encoder is not None
    path = cached_weights(model.encoder)
    reasons.append(told_weights(model.encoder, path))
    chosen = "none" if path is None else "cached"
    return recipe.model_copy(update={"model": model.model_copy(update={"encoder_weights": chosen})})


def _precision(recipe: Recipe, allowance: Allowance, reasons: list[str]) -> tuple[Recipe, Cost]:
    """Choose precision and memory format where they are open, and return what a step of the real size costs."""
    precisions = ["float32", "bfloat16"] if recipe.train.precision == "auto" else [recipe.train.precision]
    formats = [False, True] if recipe.train.channels_last is None else [recipe.train.channels_last]
    pairs = [(p, f) for p in precisions for f in formats]
    if len(pairs) == 4:  # the two others have not been seen to win anywhere
        pairs = [("float32", False), ("bfloat16", True)]
    trials = [_update(recipe, precision=p, channels_last=f) for p, f in pairs]
    allowed = allowance.left / 4  # of all the tiny steps together
    tiny = [tiny_step(trial, allowed / len(pairs)) for trial in trials]
    tried = [k for k, seconds in enumerate(tiny) if seconds < _EMULATED * min(tiny)]
    costs = {}
    for nth, k in enumerate(tried):
        share = allowance.left / (len(tried) - nth + 1)  # the last share is for the batch or the network
        costs[k] = cost_of_step(trials[k], scaled(trials[k], tiny[k]), share)
    known = [k for k in tried if costs[k].crops] if len(tried) > 1 else tried
    best = min(known, key=lambda k: costs[k].seconds) if len(known) == len(tried) else tried[0]
    if len(pairs) > 1:
        listed = ", ".join(f"{_name(pairs[k])} {costs[k].seconds:.2f} s" for k in tried)
        without = ", ".join(_name(pair) for k, pair in enumerate(pairs) if k not in tried)
        why = f"of {listed} a step" if len(tried) > 1 else f"{without} would take many times longer on this machine"
        if len(known) < len(tried):
            why = f"the default; there was no time to compare it with {_name(pairs[tried[-1]])}"
        reasons.append(f"{_name(pairs[best])}: {why}")
    return trials[best], costs[best]


def _name(pair: tuple[str, bool]) -> str:
    return pair[0] + (" channels-last" if pair[1] else "")


def _fit_budget(
    asked: Recipe, recipe: Recipe, cost: Cost, allowance: Allowance, reasons: list[str], times: float
) -> tuple[Recipe, Cost]:
    """Take the steps that the budget holds; change the batch or the network where that is few or very many."""
    steps = _steps(recipe, cost, allowance, times)
    half = (recipe.train.batch or 0) // 2
    if steps < FEW and asked.train.batch is None and half >= 4 and half % _unit(recipe) == 0:
        recipe, default = _update(recipe, batch=half), Cost(cost.seconds / 2, cost.crops // 2)
        halved = cost_of_step(recipe, default.seconds, allowance.left)
        cost = halved if halved.crops else default
        reasons.append(f"half the batch: the budget holds only {steps} steps of the whole one")
    elif steps > MANY and isinstance(asked.model, UNetSpec) and asked.model.encoder is None:
        said = list[str]()
        larger = _weights(_network(recipe.model_copy(update={"model": asked.model}), _LARGE), said)
        dearer = cost_of_step(larger, _DEARER * cost.seconds, allowance.left)
        if dearer.crops:
            recipe, cost = larger, dearer
            reasons += [f"the larger network: the budget holds {steps} steps of the small one", *said]
    recipe = _update(recipe, steps=_steps(recipe, cost, allowance, times))
    reasons.append(_told(recipe, cost, allowance, times))
    return recipe, cost


def _steps(recipe: Recipe, cost: Cost, allowance: Allowance, times: float) -> int:
    assert recipe.train.minutes is not None
    one_after_another = _waves(recipe) * times
    left = recipe.train.minutes * 60 - allowance.spent - one_after_another * _STARTUP_SECONDS
    steps = max(_VALIDATIONS, int(left / (one_after_another * cost.seconds * (1 + _OVERHEAD))))
    every = recipe.train.validate_every or _VALIDATIONS
    return max(every, steps // every * every)  # the last step is validated


def _steps_of_epochs(recipe: Recipe, images: int) -> int:
    """Return the steps of a fold that learns from all images but those of one fold."""
    folds = recipe.split.folds
    learned = images * (folds - 1) / folds if folds > 1 else images
    assert recipe.train.epochs is not None and recipe.train.batch is not None
    steps = max(1, math.ceil(recipe.train.epochs * learned / recipe.train.batch))
    every = recipe.train.validate_every or 1
    return math.ceil(steps / every) * every


def _projected(recipe: Recipe, cost: Cost, times: float) -> float:
    """Return the seconds that the trainings of all folds will take, without waiting in a queue.

    Args:
        recipe: with its steps.
        cost: of one.
        times: trainings of a fold, in supervised ones.
    """
    assert recipe.train.steps is not None
    each = recipe.train.steps * cost.seconds * (1 + _OVERHEAD) + _STARTUP_SECONDS
    return _waves(recipe) * times * each


def _waves(recipe: Recipe) -> int:
    """Return how often a training follows another: of as many as the executor runs at a time, each counts once."""
    folds = recipe.split.folds
    return math.ceil(folds / at_a_time(recipe.executor, folds))


def _told(recipe: Recipe, cost: Cost, allowance: Allowance, times: float) -> str:
    """Return whether the steps fit into the budget."""
    assert recipe.train.minutes is not None and recipe.train.steps is not None
    steps, folds, projected = recipe.train.steps, recipe.split.folds, _projected(recipe, cost, times)
    rounds = f", and rounds that cost {times - 1:.3g} times as much" if times > 1 else ""
    each = f"{steps} steps of {cost.seconds:.2f} s for each of {folds} fold(s){rounds}: about {projected / 60:.1f} min"
    if projected + allowance.spent <= 60 * recipe.train.minutes * (1 + _OVERHEAD):
        return f"{each} of the {recipe.train.minutes:g} min, after {allowance.spent:.0f} s of probing"
    return (
        f"{each}, MORE than the {recipe.train.minutes:g} min asked for: {steps} steps are the fewest that are trained; "
        "fewer --folds, a smaller train.scale or more --minutes make it fit"
    )


def _update(recipe: Recipe, **fields: object) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=fields)})


def _round_up(side: float) -> int:
    return max(STRIDE, math.ceil(round(side) / STRIDE) * STRIDE)

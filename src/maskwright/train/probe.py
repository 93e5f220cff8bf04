"""What the recipe leaves open is decided here, once, before the first step: size, network, batch, precision, steps.

The rule: work at the size at which an image has about 256² pixels, one crop an image, with a small network whose
decoder stops at stride 2; measure what a step costs in each precision; take as many steps as the budget holds. From
scratch and in minutes, many cheap steps beat few dear ones: where the budget holds few, the batch is halved; where it
holds very many, a larger network takes the place of the small one.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from dataclasses import dataclass

import torch

from maskwright.data.index import Index
from maskwright.inference import STRIDE, pick_device
from maskwright.models.weights import cached_weights, told_weights
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.model import UNetSpec
from maskwright.train.batch import Batch
from maskwright.train.fit import build_module
from maskwright.train.memory import Parts, free_memory
from maskwright.types import IGNORE

AREA = 256 * 256
"""Pixels of an image at working size, before the budget is looked at."""

FEW, MANY = 1200, 6000
"""Steps of a fold below which the batch is halved, and above which the larger network is taken."""

_OVERHEAD = 0.06
_STARTUP_SECONDS = 3.0
_VALIDATIONS = 8
_DEFAULT_STEPS = 1500
_SMALL: dict[str, object] = {"encoder": "resnet10t", "decoder_channels": (128, 64, 48, 32, 16), "output_stride": 2}
_LARGE: dict[str, object] = {"encoder": "resnet18", "decoder_channels": (256, 128, 64, 32, 16), "output_stride": 1}


@dataclass(frozen=True)
class Plan:
    """A resolved recipe with what was measured on the way.

    Attributes:
        recipe: complete.
        seconds_per_step: median of the probe's steps; NaN if nothing was measured.
        projected_seconds: of the training of all folds.
        reasons: one line a decision.
    """

    recipe: Recipe
    seconds_per_step: float
    projected_seconds: float
    reasons: list[str]


def plan_training(recipe: Recipe, training: Index) -> Plan:
    """Fill in what the model and training sections leave open.

    Args:
        recipe: its data section is resolved.
        training: labelled images of all folds.
    """
    started = time.perf_counter()
    asked, reasons = recipe, list[str]()
    recipe = _weights(_network(_sizes(_machine(recipe), training, reasons), _SMALL), reasons)
    recipe = _precision(recipe, reasons)
    seconds = measure_step(recipe)
    if recipe.train.steps is None and recipe.train.minutes is None:
        recipe = _update(recipe, steps=_DEFAULT_STEPS)
        reasons.append(f"{_DEFAULT_STEPS} steps: neither --minutes nor train.steps was given")
    elif recipe.train.steps is None:
        recipe, seconds = _fit_budget(asked, recipe, seconds, started, reasons)
    assert recipe.train.steps is not None
    steps = recipe.train.steps
    if recipe.train.validate_every is None:
        recipe = _update(recipe, validate_every=steps // validations(steps))
    projected = recipe.split.folds * (steps * seconds * (1 + _OVERHEAD) + _STARTUP_SECONDS)
    return Plan(recipe, seconds, projected, reasons)


def validations(steps: int) -> int:
    """Return how often to validate: a divisor of the steps, so that the last step is validated, best near 8.

    Example:
        >>> validations(1600), validations(1001), validations(1009)
        (8, 7, 1)
    """
    return next(count for count in (8, 7, 9, 6, 10, 5, 4, 3, 2, 1) if steps % count == 0)


def measure_step(recipe: Recipe, *, repeats: int = 3) -> float:
    """Return the median seconds of a training step on random data, the first one left out.

    A batch that doesn't fit into the device's memory is measured in parts, as it will be trained.

    Args:
        recipe: resolved but for `steps`.
        repeats: steps that count.
    """
    parts = Parts()
    while True:
        batch = (recipe.train.batch or 1) // recipe.train.devices // parts.step
        with contextlib.suppress(torch.OutOfMemoryError):
            return parts.step * _measure_batch(recipe, batch, repeats)
        parts = parts.smaller(recipe, validating=False)
        free_memory()


def _measure_batch(recipe: Recipe, batch: int, repeats: int) -> float:
    spec = recipe.train
    assert spec.crop is not None
    device = pick_device(spec.accelerator)
    module = build_module(_update(recipe, steps=spec.steps or 1), fold=0).to(device)
    categories, channels = len(recipe.data.to_categories()), recipe.data.channels or 1
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, channels, *spec.crop, generator=generator).to(device)
    labels = torch.randint(0, categories, (batch, *spec.crop), generator=generator).to(device)
    labels[:, :2] = IGNORE
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True)
    module.train()
    times = []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bfloat16"):
            terms = module.step.losses(Batch(images, labels, {}), 0.0)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), spec.clip)
        optimizer.step()
        module.step.after_update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        report("probe", turn + 1, repeats + 1)
    return statistics.median(times[1:])


def _machine(recipe: Recipe) -> Recipe:
    threads = recipe.train.threads or max(1, (os.cpu_count() or 1) // (recipe.executor.jobs * recipe.train.devices))
    torch.set_num_threads(threads)
    return _update(recipe, threads=threads)


def _sizes(recipe: Recipe, training: Index, reasons: list[str]) -> Recipe:
    height = statistics.median(training.table["height"].to_list())
    width = statistics.median(training.table["width"].to_list())
    scale = recipe.train.scale or min(1.0, round(math.sqrt(AREA / (height * width)), 4))
    crop = recipe.train.crop or (_round_up(height * scale), _round_up(width * scale))
    largest = 2 * AREA  # a scale that was set by hand: crops stay small
    while recipe.train.crop is None and crop[0] * crop[1] > largest:
        crop = (_round_up(crop[0] / math.sqrt(2)), _round_up(crop[1] / math.sqrt(2)))
    assert crop is not None
    devices = recipe.train.devices
    batch = recipe.train.batch or devices * math.ceil(_batch(crop) / devices)
    reasons.append(
        f"images of {width:.0f}×{height:.0f} are worked on at {scale:g} of their size, "
        f"{batch} crops of {crop[1]}×{crop[0]} a step"
    )
    return _update(recipe, scale=scale, crop=crop, batch=batch)


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


def _precision(recipe: Recipe, reasons: list[str]) -> Recipe:
    """Measure what is left open on a batch of the real size."""
    precisions = ["float32", "bfloat16"] if recipe.train.precision == "auto" else [recipe.train.precision]
    formats = [False, True] if recipe.train.channels_last is None else [recipe.train.channels_last]
    pairs = [(p, f) for p in precisions for f in formats]
    if len(pairs) == 4:  # the two others have not been seen to win anywhere
        pairs = [("float32", False), ("bfloat16", True)]
    if len(pairs) > 1:
        tried = _not_emulated(recipe, pairs)
        trials = [_update(recipe, precision=p, channels_last=f) for p, f in tried]
        times = [measure_step(trial, repeats=2) for trial in trials] if len(tried) > 1 else [0.0]
        best = tried[min(range(len(tried)), key=times.__getitem__)]
        listed = ", ".join(f"{_name(pair)} {seconds:.2f} s" for pair, seconds in zip(tried, times, strict=True))
        without = ", ".join(_name(pair) for pair in pairs if pair not in tried)
        reasons.append(
            f"{_name(best)}: "
            + (f"of {listed} a step" if len(tried) > 1 else f"{without} would take many times longer on this machine")
        )
        pairs = [best]
    return _update(recipe, precision=pairs[0][0], channels_last=pairs[0][1])


def _name(pair: tuple[str, bool]) -> str:
    return pair[0] + (" channels-last" if pair[1] else "")


def _not_emulated(recipe: Recipe, pairs: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Leave out what is hopeless on a tiny batch: a processor without bfloat16 emulates it, ten times slower."""
    tiny = _update(recipe, batch=2 * recipe.train.devices, crop=(3 * STRIDE, 3 * STRIDE))
    times = [measure_step(_update(tiny, precision=p, channels_last=f)) for p, f in pairs]
    return [pair for pair, seconds in zip(pairs, times, strict=True) if seconds < 3 * min(times)]


def _fit_budget(
    asked: Recipe, recipe: Recipe, seconds: float, started: float, reasons: list[str]
) -> tuple[Recipe, float]:
    """Take the steps that the budget holds; change the batch or the network where that is few or very many."""
    steps = _steps(recipe, seconds, started)
    other = None
    half = (recipe.train.batch or 0) // 2
    if steps < FEW and asked.train.batch is None and half >= 4 and half % recipe.train.devices == 0:
        other = _update(recipe, batch=half)
        reasons.append(f"half the batch: the budget holds only {steps} steps of the whole one")
    elif steps > MANY and isinstance(asked.model, UNetSpec) and asked.model.encoder is None:
        other = _weights(_network(recipe.model_copy(update={"model": asked.model}), _LARGE), reasons)
        reasons.append(f"the larger network: the budget holds {steps} steps of the small one")
    if other is not None:
        recipe, seconds = other, measure_step(other)
        steps = _steps(recipe, seconds, started)
    assert recipe.train.minutes is not None
    reasons.append(
        f"{steps} steps of {seconds:.2f} s fit into {recipe.train.minutes:g} min for {recipe.split.folds} fold(s)"
    )
    return _update(recipe, steps=steps), seconds


def _steps(recipe: Recipe, seconds: float, started: float) -> int:
    assert recipe.train.minutes is not None
    left = recipe.train.minutes * 60 - (time.perf_counter() - started) - recipe.split.folds * _STARTUP_SECONDS
    steps = max(_VALIDATIONS, int(left / (recipe.split.folds * seconds * (1 + _OVERHEAD))))
    every = recipe.train.validate_every or _VALIDATIONS
    return max(every, steps // every * every)  # the last step is validated


def _update(recipe: Recipe, **fields: object) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=fields)})


def _round_up(side: float) -> int:
    return max(STRIDE, math.ceil(round(side) / STRIDE) * STRIDE)

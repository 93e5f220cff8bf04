"""What a training step costs on this machine, measured on random data in no more time than is allowed for it.

A step can't be cut short, so what it will cost is known roughly before it is made: two small crops are timed first,
and a whole step is tried only where twice their cost per pixel leaves room for it. Where it doesn't, fewer crops of
the real size are timed and the rest is multiplied; where not even one fits, the small crops' cost per pixel stands.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from maskwright.inference import STRIDE, free_memory
from maskwright.losses.embedding import IGNORED, UNLABELLED
from maskwright.losses.truth import shares
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.mixing import blends_labels
from maskwright.train.batch import Batch
from maskwright.train.class_weights import with_class_weights
from maskwright.train.device import training_device
from maskwright.train.fit import build_module
from maskwright.train.memory import Parts
from maskwright.train.targets import INSTANCES, LabelTargets
from maskwright.types import IGNORE

SHARE, SHORT_SHARE, SHORT_SECONDS, UNBUDGETED_SECONDS = 0.1, 1 / 3, 20.0, 60.0
"""The probe may take a tenth of the budget; a third of a short one, to 20 s at most; 60 s where there is none."""

_SQUARE = 24
"""Side in pixels of the objects on which a step that learns instances is timed."""
_TINY = 2
_TINY_SIDE = 3 * STRIDE


@dataclass(frozen=True)
class Allowance:
    """Until when may be measured.

    Attributes:
        started: reading of the clock at the start of the probe.
        seconds: that the probe may take.
    """

    started: float
    seconds: float

    @classmethod
    def of(cls, recipe: Recipe) -> Allowance:
        """Return what a recipe allows, from now on."""
        minutes = recipe.train.minutes
        if minutes is None:
            return cls(time.perf_counter(), UNBUDGETED_SECONDS)
        return cls(time.perf_counter(), max(SHARE * 60 * minutes, min(SHORT_SHARE * 60 * minutes, SHORT_SECONDS)))

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self.seconds - self.spent)


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Attributes:
        seconds: of a step of the whole batch.
        crops: of the real size that were timed; 0: none, the figure is that of small ones, by their pixels.
    """

    seconds: float
    crops: int


def cost_of_step(recipe: Recipe, expected: float, seconds: float) -> Cost:
    """Return what a step costs, timed on as many of its crops as there is time for.

    Args:
        recipe: resolved but for `steps`.
        expected: seconds of a step, roughly.
        seconds: for this measurement.
    """
    batch = (recipe.train.batch or 1) // recipe.train.devices
    most = batch // recipe.train.accumulate  # more never pass through the network at once
    crops = next((n for n in range(most, 0, -1) if batch % n == 0 and 2 * expected * n / batch <= seconds), 0)
    if not crops:
        return Cost(expected, 0)
    return Cost(measure_step(recipe, seconds=seconds, parts=batch // crops), crops * recipe.train.devices)


def tiny_step(recipe: Recipe, seconds: float) -> float:
    """Return the seconds of a step on two small crops: a processor that emulates a precision shows it there."""
    return measure_step(_tiny(recipe), seconds=seconds)


def scaled(recipe: Recipe, tiny: float) -> float:
    """Return the seconds of a step of the whole batch, by its pixels, from those of a step on two small crops."""
    assert recipe.train.crop is not None and recipe.train.batch is not None
    return tiny * (recipe.train.batch * math.prod(recipe.train.crop)) / (_TINY * recipe.train.devices * _TINY_SIDE**2)


def measure_step(recipe: Recipe, *, repeats: int = 3, seconds: float = math.inf, parts: int = 1) -> float:
    """Return the median seconds of a training step on random data, the first one left out; never a compiled one.

    A batch that is trained in parts, or doesn't fit into the device's memory, is measured in parts, too.

    Args:
        recipe: resolved but for `steps`.
        repeats: steps that count.
        seconds: no further step is begun that would end after these; two are always made.
        parts: measure one of so many parts of the batch, and multiply.
    """
    cut = Parts(max(parts, recipe.train.accumulate))
    while True:
        batch = (recipe.train.batch or 1) // recipe.train.devices // cut.step
        with contextlib.suppress(torch.OutOfMemoryError):
            return cut.step * _measure_batch(recipe, batch, repeats, seconds)
        cut = cut.smaller(recipe, validating=False)
        free_memory()


def _measure_batch(recipe: Recipe, batch: int, repeats: int, seconds: float) -> float:
    assert recipe.train.crop is not None
    height, width = recipe.train.crop
    what = f"a step of {batch} crops of {width}×{height} in {recipe.train.precision}"
    report("probe", 0, repeats + 1, what)
    times: list[float] = []
    started, steps = time.perf_counter(), _timed_steps(recipe, batch)
    while len(times) <= repeats and (len(times) < 2 or time.perf_counter() - started + times[-1] <= seconds):
        times.append(next(steps))
        report("probe", len(times), repeats + 1, what)
    return statistics.median(times[1:])


def _timed_steps(recipe: Recipe, batch: int) -> Iterator[float]:
    """Make training steps on random data and yield the seconds of each."""
    spec = recipe.train
    device = training_device(spec.accelerator)
    random = _random_batch(recipe, batch)
    recipe = with_class_weights(recipe, random.labels.to(torch.uint8).numpy())
    module = build_module(_with(recipe, steps=spec.steps or 1, compile=False), fold=0).to(device)
    targets = {name: target.to(device) for name, target in random.targets.items()}
    labels = random.labels.to(device)
    if blends_labels(recipe.mix):
        labels = shares(labels, len(recipe.data.to_categories()), torch.float32)
    random = Batch(random.images.to(device), labels, targets)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True)
    module.train()
    while True:
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bfloat16"):
            terms = module.step.losses(random, 0.0)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        if spec.clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), spec.clip)
        optimizer.step()
        module.step.after_update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - start


def _random_batch(recipe: Recipe, batch: int) -> Batch:
    assert recipe.train.crop is not None
    generator, make = torch.Generator().manual_seed(0), LabelTargets(recipe)
    images = torch.randn(batch, recipe.data.channels or 1, *recipe.train.crop, generator=generator)
    categories = len(recipe.data.to_categories())
    labels = torch.randint(0, categories, (batch, *recipe.train.crop), generator=generator)
    labels[:, :2] = IGNORE
    batch_of = Batch.of([Batch(i, k, make(k.to(torch.uint8).numpy())) for i, k in zip(images, labels, strict=True)])
    return (
        batch_of._replace(targets=batch_of.targets | {INSTANCES: _squares(labels, recipe)})
        if recipe.tells_instances
        else batch_of
    )


def _squares(labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Return (N, H, W) ids of squares all over the image, as many as an image full of small objects has.

    Where objects are missing from the maps, nobody knows of some pixels: a step then has the momentum network's pass.
    """
    rows, columns = (torch.arange(size) // _SQUARE for size in labels.shape[1:])
    ids = 1 + rows[:, None] * len(columns) + columns
    ids = torch.where(labels == IGNORE, IGNORED, ids.expand(labels.shape))
    if recipe.data.drawn < 1:
        ids[:, -2:] = UNLABELLED
    return ids


def _tiny(recipe: Recipe) -> Recipe:
    if hasattr(recipe.model, "allow_empty_rates"):  # they are those of the real crop, which is measured next
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"allow_empty_rates": True})})
    return _with(recipe, batch=_TINY * recipe.train.devices, crop=(_TINY_SIDE, _TINY_SIDE), accumulate=1)


def _with(recipe: Recipe, **fields: object) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=fields)})

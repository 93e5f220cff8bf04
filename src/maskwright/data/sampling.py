"""Which image comes next: an endless, seeded stream that can be entered at any point, and what a turn of it holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from maskwright.data.index import Index
from maskwright.data.intensity import Scale, resize_label, working_size
from maskwright.progress import track
from maskwright.recipe.sampling import (
    BalancedSpec,
    OversampleSpec,
    RareClassSpec,
    RepeatFactorSpec,
    SamplingSpec,
    UniformSpec,
)
from maskwright.types import IGNORE, Categories, LabelMap

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BLOCK = 64
"""Label files that a thread reads before it takes the next."""


class StreamSampler(Sampler[tuple[int, int]]):
    """Yields (draw number, entry); draw n is the same in every run of the same seed.

    All entries come once before any comes twice; with weights each comes as often in a turn as its weight says, the
    next whole number above or below. One epoch is `length` draws, not one pass over the entries, so that a resumed run
    enters the stream where it left it (`set_epoch`).

    Args:
        entries: how many there are.
        length: draws in an epoch.
        seed: seed of the order.
        weights: (entries,) mean number of times in a turn, which has as many draws as they sum up to, rounded; None:
            once each.
    """

    def __init__(self, entries: int, length: int, seed: int, *, weights: Floats | None = None) -> None:
        self.entries, self.length, self.seed, self.weights = entries, length, seed, weights
        self.turn = entries if weights is None else max(1, round(float(weights.sum())))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Enter the stream at the beginning of an epoch (called by the loop)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order, current = np.empty(0, int), -1
        for draw in range(self.epoch * self.length, (self.epoch + 1) * self.length):
            turn, place = divmod(draw, self.turn)
            if turn != current:
                order, current = self._order(turn), turn
            yield draw, int(order[place])

    def _order(self, turn: int) -> Integers:
        rng = np.random.default_rng((self.seed, turn))
        order = rng.permutation(self.entries)
        return order if self.weights is None else rng.permutation(_systematic(order, self.weights, self.turn, rng))


@dataclass(frozen=True)
class Turn:
    """What a turn of the stream holds; E entries.

    Attributes:
        rows: (E,) the image of each.
        category: (E,) the category that it is drawn for, −1 for none in particular.
        copy: (E,) whether it is a copy of a rare image.
        weights: (E,) mean number of times in a turn; None: once each.
    """

    rows: Integers
    category: Integers
    copy: npt.NDArray[np.bool_]
    weights: Floats | None

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, rows: Integers, weights: Floats | None = None, *, category: Integers | None = None) -> Turn:
        """Return entries none of which is a copy."""
        category = np.full(len(rows), -1) if category is None else category
        return cls(rows, category, np.zeros(len(rows), bool), weights)


def plan_turn(spec: SamplingSpec, pixels: Integers, categories: Categories) -> Turn:
    """Return what a turn of the stream holds.

    Args:
        spec: the recipe's section.
        pixels: (images, C) pixels of each category at working size, see `count_pixels`; `uniform` reads only how many
            images there are.
        categories: what the columns mean.

    Raises:
        RecipeError: the section names a category that isn't there.
    """
    return SAMPLINGS[type(spec)](spec, pixels, categories)


def weighted(turn: Turn, weights: Floats) -> Turn:
    """Return a turn in which each image comes as often as before, times its weight.

    Args:
        turn: E entries.
        weights: (images,).
    """
    before = np.ones(len(turn)) if turn.weights is None else turn.weights
    return replace(turn, weights=before * weights[turn.rows])


def isolation(spec: SamplingSpec, categories: Categories) -> LabelMap:
    """Return (256,) uint8, by which the label of a copy is looked up: what `isolate` makes of each position."""
    table = np.arange(IGNORE + 1, dtype=np.uint8)
    if not isinstance(spec, OversampleSpec) or spec.isolate == "no":
        return table
    rest = np.ones(len(table), bool)
    rest[[*categories.positions(spec.classes, where="sampling.classes"), IGNORE]] = False
    table[rest] = IGNORE if spec.isolate == "ignore" else _background(spec, categories)
    return table


@dataclass(frozen=True)
class Centring:
    """Draws the category on a pixel of which a crop is centred.

    Attributes:
        share: of the crops that are centred; the others lie anywhere.
        pixels: (images, C) pixels of each category.
        inverse: (C,) weights of the categories among those that an image holds.
        rare: (C,) whether a copy of a rare image may be centred on the category.
    """

    share: float
    pixels: Integers
    inverse: Floats
    rare: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, spec: SamplingSpec, pixels: Integers, categories: Categories) -> Centring:
        """Return the centring of a recipe."""
        names = spec.classes if isinstance(spec, OversampleSpec) else ()
        rare = np.isin(np.arange(len(categories)), categories.positions(names, where="sampling.classes"))
        return cls(spec.centred, pixels, inverse_frequency(pixels), rare)

    def draw(self, turn: Turn, entry: int, rng: np.random.Generator) -> int | None:
        """Return the category for an entry; None: the crop lies anywhere, as where everything is ignored."""
        if self.share == 0 or rng.random() >= self.share:
            return None
        if turn.category[entry] >= 0:
            return int(turn.category[entry])
        held = self.pixels[turn.rows[entry]] > 0
        weights = np.where(held & self.rare if turn.copy[entry] else held, self.inverse, 0)
        return int(rng.choice(len(weights), p=weights / weights.sum())) if weights.any() else None


def count_pixels(index: Index, categories: int, *, scale: Scale = 1.0) -> Integers:
    """Return how many pixels of each category each image has; reads every label file once and keeps none.

    Args:
        index: its labelled rows.
        categories: C.
        scale: from the images' size to working size.

    Returns:
        (images, C).
    """
    pixels = np.zeros((len(index), categories), np.int64)

    def count(start: int) -> None:
        for row in range(start, min(start + _BLOCK, len(index))):
            label = index.read_label(row)
            assert label is not None
            label = resize_label(label, working_size((label.shape[0], label.shape[1]), scale))
            pixels[row] = np.bincount(label.ravel(), minlength=IGNORE + 1)[:categories]

    starts = range(0, len(index), _BLOCK)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in track(pool.map(count, starts), "count pixels", len(starts)):
            pass
    return pixels


def repeat_factors(pixels: Integers, threshold: float) -> Floats:
    """Return how often each image comes in a turn: max over its categories of max(1, √(t / f)) (Gupta et al. 2019).

    Args:
        pixels: (images, C).
        threshold: t; f is the share of images that hold the category.

    Returns:
        (images,) at least 1; 1 for an image without categories.
    """
    held = pixels > 0
    share = np.maximum(held.mean(axis=0), 1 / max(len(pixels), 1))
    return np.asarray(np.where(held, np.maximum(1, np.sqrt(threshold / share)), 1).max(axis=1, initial=1))


def rare_class_probabilities(shares: Floats, temperature: float) -> Floats:
    """Return P(c) ∝ exp((1 − f_c) / T) (Hoyer et al. 2022).

    Args:
        shares: (C,) f, share of each category of all pixels.
        temperature: T.

    Example:
        >>> rare_class_probabilities(np.array([0.4, 0.3, 0.2, 0.1]), 0.1).round(4)
        array([0.0321, 0.0871, 0.2369, 0.6439])
    """
    exponents = (1 - shares) / temperature
    scaled = np.exp(exponents - exponents.max(initial=-np.inf))
    return np.asarray(scaled / scaled.sum())


def inverse_frequency(pixels: Integers) -> Floats:
    """Return (C,) one over each category's share of all (images, C) pixels; 0 for those that don't occur."""
    total = pixels.sum(axis=0).astype(np.float64)
    return np.asarray(np.divide(total.sum(), total, out=np.zeros_like(total), where=total > 0))


def _uniform(spec: UniformSpec, pixels: Integers, categories: Categories) -> Turn:
    return Turn.of(np.arange(len(pixels)))


def _oversample(spec: OversampleSpec, pixels: Integers, categories: Categories) -> Turn:
    rare = categories.positions(spec.classes, where="sampling.classes")
    again = np.flatnonzero((pixels[:, rare] > 0).any(axis=1))
    rows = np.concatenate([np.arange(len(pixels)), again])
    copy = np.arange(len(rows)) >= len(pixels)
    return Turn(rows, np.full(len(rows), -1), copy, np.where(copy, float(spec.copies), 1.0))


def _repeat_factor(spec: RepeatFactorSpec, pixels: Integers, categories: Categories) -> Turn:
    return Turn.of(np.arange(len(pixels)), repeat_factors(pixels, spec.threshold))


def _balanced(spec: BalancedSpec, pixels: Integers, categories: Categories) -> Turn:
    held = pixels[:, _drawn(spec.classes, pixels, categories)] > 0
    return _by_category(held, np.ones(held.shape[1]), _drawn(spec.classes, pixels, categories))


def _rare_class(spec: RareClassSpec, pixels: Integers, categories: Categories) -> Turn:
    drawn = _drawn(spec.classes, pixels, categories)
    shares = pixels.sum(axis=0) / max(int(pixels.sum()), 1)
    enough = pixels[:, drawn] >= spec.min_pixels
    held = np.where(enough.any(axis=0), enough, pixels[:, drawn] > 0)
    return _by_category(held, rare_class_probabilities(shares[drawn], spec.temperature), drawn)


SAMPLINGS: dict[type, Callable[[Any, Integers, Categories], Turn]] = {
    UniformSpec: _uniform,
    OversampleSpec: _oversample,
    RepeatFactorSpec: _repeat_factor,
    BalancedSpec: _balanced,
    RareClassSpec: _rare_class,
}


def _background(spec: OversampleSpec, categories: Categories) -> int:
    if spec.background is not None:
        return categories.positions([spec.background], where="sampling.background")[0]
    return categories.names.index("background") if "background" in categories.names else 0


def _drawn(names: Sequence[str] | None, pixels: Integers, categories: Categories) -> list[int]:
    """Return the positions of the named categories, or all, that occur."""
    wanted = range(len(categories)) if names is None else categories.positions(names, where="sampling.classes")
    return [p for p in wanted if pixels[:, p].any()]


def _by_category(held: npt.NDArray[np.bool_], probabilities: Floats, positions: Sequence[int]) -> Turn:
    """Return one entry for each category of an image; a turn has as many draws as there are images.

    Args:
        held: (images, K) which image holds which category; each is held by at least one.
        probabilities: (K,) of drawing a category, up to a factor; its images share it evenly.
        positions: (K,) of the categories. None: every image once.
    """
    if not positions:
        return Turn.of(np.arange(len(held)))
    rows, column = np.nonzero(held)
    weights = len(held) * (probabilities / probabilities.sum() / held.sum(axis=0))[column]
    return Turn.of(rows, weights, category=np.asarray(positions)[column])


def _systematic(order: Integers, weights: Floats, count: int, rng: np.random.Generator) -> Integers:
    """Draw `count` entries, each as often as its share of the weights says, rounded up or down without bias."""
    ends = np.cumsum(weights[order])
    points = (np.arange(count) + rng.random()) * (ends[-1] / count)
    places = np.searchsorted(ends, np.minimum(points, np.nextafter(ends[-1], 0)), side="right")
    return np.asarray(order[places])

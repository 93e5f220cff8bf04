"""Weights of models that are mixed: the best by log loss, or by adding one after the other, on drawn pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from maskwright.metrics import Counts
from maskwright.types import IGNORE, Array, LabelMap, Probabilities

Weights = tuple[float, ...]
_LEAST = 1e-3
"""A smaller weight is none: the member would cost its time and change nothing."""
_FLOOR = 1e-4
"""Least probability in a logarithm: stores hold float16."""
_ROUNDS = 20


@dataclass(frozen=True)
class Pixels:
    """What members say of the pixels that were drawn from one image.

    Attributes:
        probabilities: (M, C, n) float32, of M members.
        truth: (n,) uint8 category positions.
        stands_for: (n,) float64, pixels of the image that each stands for.
    """

    probabilities: Array
    truth: LabelMap
    stands_for: Array


def draw_pixels(members: Sequence[Probabilities], truth: LabelMap, count: int, rng: np.random.Generator) -> Pixels:
    """Draw pixels of an image, as many of each category that its truth has; all of a category that has fewer.

    Args:
        members: M maps (C, H, W) of the image.
        truth: (H, W); ignored pixels are never drawn.
        count: pixels to draw at most.
        rng: generator.
    """
    flat = truth.ravel()
    present = [int(c) for c in np.unique(flat) if c != IGNORE]
    chosen, stands_for = [np.empty(0, np.intp)], [np.empty(0)]
    for category in present:
        places = np.flatnonzero(flat == category)
        some = min(len(places), max(1, count // len(present)))
        chosen.append(np.sort(rng.choice(places, some, replace=False)))
        stands_for.append(np.full(some, len(places) / some))
    at = np.concatenate(chosen)
    values = np.stack([np.stack([plane.ravel()[at] for plane in member]) for member in members])
    return Pixels(values.astype(np.float32), flat[at], np.concatenate(stands_for))


def fit_simplex(images: Sequence[Pixels], members: Sequence[int]) -> Weights:
    """Return the weights ≥ 0 that sum to one and minimise the log loss of the mixture.

    The loss −log Σ wₘ pₘ(true category) is convex in w, so there is one best value, and no search order decides. In it
    each image counts the same, and in an image each category that its truth has: what metrics do that are taken per
    image and category. The metric itself is a step function of the weights, with as many optima as luck gives it; it
    is what the gain is judged by afterwards. Solved by sequential quadratic programming.

    Args:
        images: drawn pixels; those of images without any are passed over, and without all the weights are equal.
        members: which may have a weight.

    Returns:
        A weight for every member; below 0.001 it is 0.
    """
    total = images[0].probabilities.shape[0]
    known = [image for image in images if len(image.truth)]
    if len(members) == 1 or not known:
        return _spread([1 / len(members)] * len(members), members, total)
    right = [image.probabilities[members][:, image.truth, np.arange(len(image.truth))] for image in known]
    q = np.maximum(np.concatenate(right, axis=1).astype(np.float64), _FLOOR)
    share = np.concatenate([_balanced(image.truth) for image in known]) / len(known)

    def loss(w: Array) -> tuple[float, Array]:
        mixed = np.maximum(w @ q, _FLOOR / 2)
        return float(-(share @ np.log(mixed))), -(q @ (share / mixed))

    start = np.full(len(members), 1 / len(members))
    simplex: Any = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    options: Any = {"maxiter": 200, "ftol": 1e-9}
    bounds = [(0.0, 1.0)] * len(members)
    found = minimize(loss, start, jac=True, method="SLSQP", bounds=bounds, constraints=simplex, options=options)
    best = found.x if found.fun <= loss(start)[0] else start
    kept = np.where(best < _LEAST, 0, best)
    return _spread((kept / kept.sum()).tolist(), members, total)


def fit_greedy(
    score: Callable[[Weights], float], members: Sequence[int], cost: Weights, budget: float | None = None
) -> Weights:
    """Return the weights that forward selection with replacement gives (Caruana et al. 2004).

    Beginning with nothing, the member whose addition makes the mean's score highest is added, again and again, also
    one that is in already; the best mean on the way is kept, of equal ones the first. A member that isn't in yet is
    only added while the seconds of all that are in stay within the budget.

    Args:
        score: of a mixture with weights that sum to one; higher is better.
        members: which may be added; at least one of them within the budget.
        cost: seconds an image of each member, also of those that may not be added.
        budget: seconds an image; None for any.
    """
    bag = [0] * len(cost)
    best, found = -np.inf, bag
    for size in range(1, _ROUNDS + 1):
        options = [m for m in members if _affordable([*np.flatnonzero(bag).tolist(), m], cost, budget)]
        grown = [[n + (k == m) for k, n in enumerate(bag)] for m in options]
        scores = np.nan_to_num([score(tuple(n / size for n in option)) for option in grown], nan=-1.0)
        bag = grown[int(np.argmax(scores))]
        if scores.max() > best:
            best, found = float(scores.max()), bag
    return tuple(n / sum(found) for n in found)


def counts_of(images: Sequence[Pixels], weights: Sequence[float]) -> Counts:
    """Return the (images, C) counts of a mixture, estimated from the pixels that were drawn."""
    used = np.flatnonzero(weights)
    factors = np.asarray(weights, np.float32)[used]
    tables = []
    for image in images:
        categories = image.probabilities.shape[1]
        mixed = np.tensordot(factors, image.probabilities[used], 1)
        pairs = image.truth.astype(np.intp) * categories + mixed.argmax(0)
        table = np.zeros((categories, categories + 1))
        table[:, :-1] = np.bincount(pairs, image.stands_for, categories**2).reshape(categories, categories)
        tables.append(table)
    return Counts.from_table(np.stack(tables))


def _balanced(truth: LabelMap) -> Array:
    """Return weights of an image's pixels, summing to one, by which each category counts the same."""
    counts = np.bincount(truth)
    share: Array = 1 / (counts[truth] * np.count_nonzero(counts))
    return share


def _affordable(members: Sequence[int], cost: Weights, budget: float | None) -> bool:
    return budget is None or sum(cost[m] for m in {*members}) <= budget


def _spread(values: Sequence[float], members: Sequence[int], total: int) -> Weights:
    found = [0.0] * total
    for member, value in zip(members, values, strict=True):
        found[member] = float(value)
    return tuple(found)

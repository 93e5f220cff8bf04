"""Placing groups so that every part gets its share of everything: greedy starts, then moves and swaps until no gain.

The objective, for parts p with wanted shares t_p of the images, groups g and features j: let
v_gj = x_gj − n_g·X_j/N be what group g has of feature j beyond what n_g of all N images have on average, and
r_pj the sum of v_gj over the groups of a part; for the number of images, v_g = n_g and r_p = Σ n_g − t_p·N. Then

    J = Σ_j w_j · mean_p [ r_pj² / (t_p (1 − t_p) Σ_g v_gj²) ]

The bracket is the squared deviation over its expectation when groups are placed at random, so features of any scale
are alike, and one that a single group decides asks for nothing that can't be had. The weights w_j of a family sum to
its entry in `_FAMILIES`, that of the number of images is `_IMAGES`: random placement has J = the sum of them all, a
perfect one 0. Sizes come first, then pixel shares: with these weights no family is less even than by the greedy
placement by images, pixels and presence that was here before (`benchmarks/folds.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from maskwright.split.features import FAMILIES, Features, Matrix

Places = npt.NDArray[np.int64]
"""(G,) the part that each group is in; -1: in none yet."""

_IMAGES = 32.0
_FAMILIES = np.array([2.0, 1.0, 1.0, 1.0])
_STARTS = 8
_WORK = 10_000_000
"""Pairs of groups that are looked at; bounds the time for any number of images."""
_PARTNERS = 64, 512
_NO_GAIN = 1e-9


@dataclass(frozen=True)
class Problem:
    """What is placed.

    Attributes:
        vectors: (G, 1 + J) float64: v_g, scaled so that J is a weighted sum of squares; the number of images is first.
        goal: (P, 1 + J): what a part without groups lacks, in the same scale.
        scale: (P,) 1 / (t_p (1 − t_p)), divided by the number of parts.
    """

    vectors: Matrix
    goal: Matrix
    scale: Matrix

    @cached_property
    def norms(self) -> Matrix:
        """(G,) squared lengths of the vectors."""
        norms: Matrix = np.einsum("ij,ij->i", self.vectors, self.vectors)
        return norms


def to_problem(sizes: npt.NDArray[np.int64], features: Features, group: Places, target: Matrix) -> Problem:
    """Return the problem of placing groups.

    Args:
        sizes: (G,) images of each group.
        features: of the N images.
        group: (N,) the group of each image.
        target: (P,) shares of the images that the parts should get, which sum to 1; P ≥ 2.
    """
    centred = features.values - features.values.mean(0)
    sums = np.zeros((len(sizes), centred.shape[1]))
    np.add.at(sums, group, centred)
    variance = (sums**2).sum(0)
    inside = np.bincount(features.families, minlength=len(FAMILIES))
    weights = (_FAMILIES / np.maximum(inside, 1))[features.families]
    sums *= np.sqrt(weights / np.maximum(variance, 1e-12))
    count = np.sqrt(_IMAGES / (sizes.astype(float) ** 2).sum())
    goal = np.zeros((len(target), 1 + sums.shape[1]))
    goal[:, 0] = -target * sizes.sum() * count
    return Problem(np.column_stack([sizes * count, sums]), goal, 1 / (target * (1 - target)) / len(target))


def objective(problem: Problem, places: Places) -> float:
    """Return J of a placement."""
    return float(((_residuals(problem, places) ** 2).sum(1) * problem.scale).sum())


def place(problem: Problem, rng: np.random.Generator, *, fixed: Places | None = None) -> Places:
    """Return the best placement found; no part is left without a group if there are enough groups.

    Args:
        problem: what is placed.
        rng: of the order in which groups are tried.
        fixed: (G,) places that stay as they are; -1: to be placed. None: all are to be placed.
    """
    fixed = np.full(len(problem.vectors), -1) if fixed is None else fixed
    free = np.flatnonzero(fixed < 0)
    starts = max(1, min(_STARTS, _WORK // max(8 * len(free) ** 2, 1)))
    found = []
    for _ in range(starts):
        places = _greedy(problem, fixed, free, rng)
        _improve(problem, places, free, rng, _WORK // starts)
        found.append((objective(problem, places), places))
    return min(found, key=lambda pair: pair[0])[1]


def _residuals(problem: Problem, places: Places) -> Matrix:
    residuals = problem.goal.copy()
    inside = places >= 0
    np.add.at(residuals, places[inside], problem.vectors[inside])
    return residuals


def _greedy(problem: Problem, fixed: Places, free: Places, rng: np.random.Generator) -> Places:
    """Place the free groups one by one, large ones first in a jittered order, each where J grows least."""
    places, vectors = fixed.copy(), problem.vectors
    residuals = _residuals(problem, places)
    groups = np.bincount(places[places >= 0], minlength=len(residuals))
    order = free[np.argsort(-problem.norms[free] * rng.uniform(0.5, 1.5, len(free)), kind="stable")]
    for done, group in enumerate(order):
        cost = problem.scale * (problem.norms[group] + 2 * residuals @ vectors[group])
        if len(order) - done <= (groups == 0).sum():  # the rest is needed to leave no part empty
            cost = np.where(groups == 0, cost, np.inf)
        best = int(cost.argmin())
        places[group] = best
        residuals[best] += vectors[group]
        groups[best] += 1
    return places


def _improve(problem: Problem, places: Places, free: Places, rng: np.random.Generator, work: int) -> None:
    """Move single groups, or swap two, wherever that lowers J; in place, until a whole round gains nothing."""
    residuals = _residuals(problem, places)
    groups = np.bincount(places, minlength=len(residuals))
    partners = int(np.clip(work // max(len(free), 1), *_PARTNERS))
    while work > 0:
        gained = False
        for group in rng.permutation(free):
            others = free if len(free) <= partners else rng.choice(free, partners, replace=False, shuffle=False)
            gained |= _step(problem, places, residuals, groups, group, others)
        work -= len(free) * min(len(free), partners)
        if not gained:
            return


def _step(problem: Problem, places: Places, residuals: Matrix, groups: Places, group: int, others: Places) -> bool:
    """Take the best move of a group, or its best swap with one of the others, if that gains."""
    here, vector, scale = places[group], problem.vectors[group], problem.scale
    pull = scale * (residuals @ vector)
    own = problem.norms[group]
    moves = (scale[here] + scale) * own + 2 * (pull - pull[here])
    moves[here] = np.inf
    if groups[here] == 1:
        moves[:] = np.inf
    table = problem.vectors[others]
    there = places[others]
    along = table @ vector
    distance = own + problem.norms[others] - 2 * along
    projected = (table @ residuals.T) * scale
    rows = np.arange(len(others))
    swaps = (scale[here] + scale[there]) * distance
    swaps += 2 * (projected[:, here] - pull[here] - projected[rows, there] + pull[there])
    swaps[there == here] = np.inf
    move, swap = int(moves.argmin()), int(swaps.argmin())
    if min(moves[move], swaps[swap]) > -_NO_GAIN:
        return False
    if moves[move] <= swaps[swap]:
        residuals[here] -= vector
        residuals[move] += vector
        groups[here] -= 1
        groups[move] += 1
        places[group] = move
        return True
    other = others[swap]
    change = problem.vectors[other] - vector
    residuals[here] += change
    residuals[there[swap]] -= change
    places[group], places[other] = there[swap], here
    return True

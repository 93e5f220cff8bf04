"""How several models are fused: weights fitted on some folds and scored on the others, and what each model adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.errors import UsageError, problem
from maskwright.fusion import FUSIONS
from maskwright.metrics import SUMMARIES, Counts, EmptyCases, overlap_table
from maskwright.postprocess import most_probable
from maskwright.progress import track
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import Interval, bootstrap, paired_difference
from maskwright.tune.mixing import Pixels, Weights, counts_of, draw_pixels, fit_greedy, fit_simplex
from maskwright.types import Array, Categories, LabelMap, Probabilities

METHODS = ("simplex", "greedy", "mean", "rank")
"""Ways to fuse: weights by log loss, by forward selection, all the same, or ranks with weights all the same."""

ReadMembers = Callable[[int], tuple[Sequence[Probabilities], LabelMap]]
"""Row number → (each member's out-of-fold probabilities at full size, truth)."""

_PIXELS = 4096
_VALUES = 1 << 26
"""Probabilities of drawn pixels that are held at once: 256 MB."""


@dataclass(frozen=True)
class Mixture:
    """How members are fused.

    Attributes:
        weights: of each member, summing to one; 0 for one that isn't used.
        fusion: name in `FUSIONS`.
    """

    weights: Weights
    fusion: str = "mean"

    def fuse(self, maps: Sequence[Probabilities]) -> Probabilities:
        """Return the fused (C, H, W) map of an image's members."""
        fusion = FUSIONS[self.fusion]()
        for probabilities, weight in zip(maps, self.weights, strict=True):
            if weight > 0:
                fusion.add(probabilities, weight)
        return fusion.result()


@dataclass(frozen=True)
class Fitted:
    """How the members are fused, and the proof.

    Attributes:
        shipped: fused (the weights of the method), mean, or single.
        mixture: what ships, fitted on all folds.
        fold_mixtures: fold → what its images are scored with, fitted without it.
        scores: of the fused, the mean, the best single one (chosen without the fold), and `alone/NAME` of each.
        gain: of the fused over `against`.
        against: mean, or single where the mean is beyond the budget.
        adds: member → what the fused has more than the same without it, fitted in the same way.
    """

    shipped: str
    mixture: Mixture
    fold_mixtures: dict[int, Mixture]
    scores: dict[str, Interval]
    gain: Interval
    against: str
    adds: dict[str, Interval]


def fit_fusion(
    read: ReadMembers,
    folds: Sequence[int],
    groups: Sequence[str],
    members: dict[str, float],
    categories: Categories,
    *,
    method: str = "simplex",
    budget: float | None = None,
    metric: str,
    evaluate: EvaluateSpec,
    seed: int = 0,
) -> Fitted:
    """Fit how members are fused; ship it only if that is better than what is simpler.

    A fold's images are scored with weights that were fitted on the other folds. The method's mixture ships if the
    interval of its gain over the plain mean lies above 0; else the mean. Neither ships unless it scores higher than the
    best single member (for each fold the best on the others): then that does. Where the mean costs more than the
    budget, the gain is that over the best single member, and the mean never ships.

    Args:
        read: gives the out-of-fold predictions and the truth of a row; an image's are held together.
        folds: of each row; at least two different ones.
        groups: of each row, for the intervals.
        members: name → seconds an image; at least two.
        categories: what is predicted.
        method: one of `METHODS`.
        budget: seconds an image, with greedy.
        metric: name in `SUMMARIES`, by which it is judged, and greedy selects.
        evaluate: resamples and level of the intervals, empty cases.
        seed: of the drawn pixels and the bootstrap.

    Raises:
        UsageError: no member is within the budget.
    """
    fitting = _Fitting(read, np.asarray(folds), groups, members, categories, metric, evaluate, seed, budget)
    fitting.check_budget()
    if method in ("simplex", "greedy"):
        fitting.draw()
    everyone = list(range(len(members)))
    plans = {"fused": fitting.plan(method, everyone), "mean": fitting.plan("mean", everyone)}
    plans |= {f"alone/{name}": fitting.plan("mean", [m]) for m, name in enumerate(members)}
    for m, name in enumerate(members):
        plans[f"without/{name}"] = fitting.plan(method, [other for other in everyone if other != m])
    return fitting.judge(plans)


@dataclass(frozen=True)
class _Plan:
    """One way to fuse: what is fitted on all folds, and without each."""

    whole: Mixture
    by_fold: dict[int, Mixture]


class _Fitting:
    """The out-of-fold images, and what is best on a subset of them."""

    def __init__(
        self,
        read: ReadMembers,
        folds: Array,
        groups: Sequence[str],
        members: dict[str, float],
        categories: Categories,
        metric: str,
        evaluate: EvaluateSpec,
        seed: int,
        budget: float | None,
    ) -> None:
        self.read, self.folds, self.groups, self.categories = read, folds, groups, categories
        self.names, self.cost = list(members), tuple(members.values())
        self.metric, self.cases = SUMMARIES[metric].function, EmptyCases.of(evaluate)
        self.evaluate, self.seed, self.budget = evaluate, seed, budget
        self.pixels: list[Pixels] = []
        self._known: dict[Weights, Counts] = {}
        self.numbers = sorted({*folds.tolist()})

    def check_budget(self) -> None:
        if self.budget is not None and min(self.cost) > self.budget:
            each = ", ".join(f"{name} {cost:.2f} s" for name, cost in zip(self.names, self.cost, strict=True))
            raise UsageError(
                problem(
                    f"a member within {self.budget} seconds an image",
                    each,
                    where="--seconds-per-image",
                    next_move="give more seconds, or train a smaller network",
                )
            )

    def draw(self) -> None:
        """Keep some pixels of every image: what weights are fitted on."""
        values = len(self.names) * len(self.categories) * len(self.folds)
        count = max(64, min(_PIXELS, _VALUES // max(1, values)))
        for row in track(range(len(self.folds)), "draw pixels", len(self.folds)):
            self.pixels.append(draw_pixels(*self.read(row), count, np.random.default_rng((self.seed, 5, row))))

    def plan(self, method: str, members: Sequence[int]) -> _Plan:
        if method in ("mean", "rank") or len(members) == 1:
            equal = tuple(float(m in members) / len(members) for m in range(len(self.names)))
            mixture = Mixture(equal, "rank" if method == "rank" else "mean")
            return _Plan(mixture, dict.fromkeys(self.numbers, mixture))
        by_fold = {k: Mixture(self._weights(method, members, self.folds != k)) for k in self.numbers}
        return _Plan(Mixture(self._weights(method, members, self.folds >= 0)), by_fold)

    def _weights(self, method: str, members: Sequence[int], inside: Array) -> Weights:
        if method == "simplex":
            return fit_simplex([self.pixels[row] for row in np.flatnonzero(inside)], members)
        if not (within := [m for m in members if self._within(m)]):
            return tuple(float(m == members[0]) for m in range(len(self.names)))  # only compared with, never shipped
        return fit_greedy(lambda w: self._score(self._estimated(w), inside), within, self.cost, self.budget)

    def _estimated(self, weights: Weights) -> Counts:
        """Return the counts of a mixture on the drawn pixels of all images; folds ask for many of the same."""
        if weights not in self._known:
            self._known[weights] = counts_of(self.pixels, weights)
        return self._known[weights]

    def judge(self, plans: dict[str, _Plan]) -> Fitted:
        """Score the plans on all pixels and choose."""
        counts = self._count(plans)
        alone = [counts[f"alone/{name}"] for name in self.names]
        single = _Plan(
            self._best(alone, self.folds >= 0), {k: self._best(alone, self.folds != k) for k in self.numbers}
        )
        rows = [alone[int(np.argmax(single.by_fold[k].weights))] for k in self.folds.tolist()]
        counts["single"] = Counts.stack([_row(each, row) for row, each in enumerate(rows)])
        against = "mean" if self.budget is None or sum(self.cost) <= self.budget else "single"
        gain = self._difference(counts["fused"], counts[against])
        values = {name: self._score(counts[name], np.ones(len(self.folds))) for name in ("fused", "mean", "single")}
        better = {name for name in ("fused", "mean") if values[name] > values["single"]}
        proven = gain.low > 0 and "fused" in better
        shipped = "fused" if proven else "mean" if against == "mean" and "mean" in better else "single"
        plan = plans["fused"] if shipped == "fused" else single if shipped == "single" else plans["mean"]
        named = ("fused", "mean", "single", *(f"alone/{name}" for name in self.names))
        adds = {name: self._difference(counts["fused"], counts[f"without/{name}"]) for name in self.names}
        scores = {name: self._interval(counts[name]) for name in named}
        return Fitted(shipped, plan.whole, plan.by_fold, scores, gain, against, adds)

    def _count(self, plans: dict[str, _Plan]) -> dict[str, Counts]:
        """Return the (images, C) counts of each plan; an image is read once, and equal mixtures are fused once."""
        found: dict[str, list[Counts]] = {name: [] for name in plans}
        for row in track(range(len(self.folds)), "score fusions", len(self.folds)):
            maps, truth = self.read(row)
            known: dict[Mixture, Counts] = {}
            for name, plan in plans.items():
                mixture = plan.by_fold[int(self.folds[row])]
                if mixture not in known:
                    label = most_probable(mixture.fuse(maps))
                    known[mixture] = Counts.from_table(overlap_table(truth, label, len(self.categories)))
                found[name].append(known[mixture])
        return {name: Counts.stack(counts) for name, counts in found.items()}

    def _best(self, alone: Sequence[Counts], inside: Array) -> Mixture:
        """Return the member within the budget that scores highest on some images; of equal ones the first."""
        values = [self._score(counts, inside) if self._within(m) else -np.inf for m, counts in enumerate(alone)]
        best = int(np.argmax(np.nan_to_num(values, nan=-1.0)))
        return Mixture(tuple(float(m == best) for m in range(len(alone))))

    def _within(self, member: int) -> bool:
        return self.budget is None or self.cost[member] <= self.budget

    def _score(self, counts: Counts, inside: Array) -> float:
        return float(self._values(counts, np.asarray(inside, float)[None])[0])

    def _values(self, counts: Counts, weights: Array) -> Array:
        return self.metric(counts, self.categories.evaluated, weights, self.cases)

    def _interval(self, counts: Counts) -> Interval:
        return bootstrap(lambda w: self._values(counts, w), len(self.folds), **self._resampling())

    def _difference(self, one: Counts, two: Counts) -> Interval:
        n = len(self.folds)
        return paired_difference(
            lambda w: self._values(one, w), lambda w: self._values(two, w), n, **self._resampling()
        )

    def _resampling(self) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, 4))
        spec = self.evaluate
        return {"groups": self.groups, "samples": spec.samples, "confidence": spec.confidence, "rng": rng}


def _row(counts: Counts, row: int) -> Counts:
    return Counts(counts.tp[row], counts.fp[row], counts.fn[row])

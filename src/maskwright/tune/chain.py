"""The post-processing chain: chosen on some folds' predictions, scored on the others, shipped where it pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from maskwright.evaluate import statistic_of
from maskwright.metrics import Counts, EmptyCases
from maskwright.progress import track
from maskwright.recipe.predict import EvaluateSpec, PostprocessSpec
from maskwright.statistics import Statistic, paired_difference
from maskwright.tune.counting import Chain, ChainCounts, Read, ReadImage
from maskwright.tune.search import Search, Slot, run_searches, slots_of
from maskwright.types import Array, Categories

T = TypeVar("T")

FEWEST = 10
"""Images of each fold that a search sees at least, where there are so many."""

_FITTED_ON = "out-of-fold predictions; each fold's gain is measured with a chain fitted on the others"


@dataclass(frozen=True)
class FoldChoice:
    """What the search for one fold came to.

    Attributes:
        fold: the fold that it did not see.
        chain: what it chose.
        inside: its gain on the images that it saw.
        outside: its gain on the fold.
    """

    fold: int
    chain: Chain
    inside: float
    outside: float


@dataclass(frozen=True)
class Tuned:
    """The chosen post-processing.

    Attributes:
        adopted: False if the cross-fitted gain is not clearly above 0, if no chain is best, or if objects lose by it;
            the chain is then empty.
        chain: fitted on all folds; what ships.
        fold_chains: fold → the chain fitted without it; what its own images are scored with. Empty if not adopted.
        gain: of each fold under the chain fitted without it over no chain, with the interval.
        tried: number of chains compared.
        metric: name of what was raised.
        best: the chain fitted on all folds, adopted or not.
        naive_gain: of `best` on the images that it was fitted on: optimistic.
        folds: what each fold's search chose.
        trail: (chain, naive gain) after each step of the search on all folds.
        candidates: the steps that were tried for each place of the chain.
        searched: images that the searches saw; the gains are of all.
        held_out_gain: of `best` on images that are in no fold; None without such.
        pq_gain: of each fold under its chain over no chain, where objects are told apart; None elsewhere.
    """

    adopted: bool
    chain: Chain
    fold_chains: dict[int, Chain]
    gain: dict[str, float]
    tried: int
    metric: str
    best: Chain
    naive_gain: dict[str, float]
    folds: tuple[FoldChoice, ...]
    trail: tuple[tuple[Chain, float], ...]
    candidates: tuple[Slot, ...]
    searched: int
    held_out_gain: dict[str, float] | None = None
    pq_gain: dict[str, float] | None = None

    def not_adopted(self) -> Tuned:
        """Return what was found, without any chain that is used."""
        return replace(self, adopted=False, chain=(), fold_chains={})

    @property
    def agreement(self) -> float:
        """Share of the folds whose searches chose the chain that most of them chose."""
        return Counter(choice.chain for choice in self.folds).most_common(1)[0][1] / len(self.folds)

    def to_plain(self) -> dict[str, Any]:
        """Return what tuned.json holds."""
        return {
            "adopted": self.adopted,
            "chain": _plain(self.chain),
            "fold_chains": {str(fold): _plain(chain) for fold, chain in self.fold_chains.items()},
            "gain": self.gain,
            "tried": self.tried,
            "searched": self.searched,
            "fitted_on": _FITTED_ON,
            "metric": self.metric,
            "best": _plain(self.best),
            "naive_gain": self.naive_gain,
            "held_out_gain": self.held_out_gain,
            "pq_gain": self.pq_gain,
            "agreement": self.agreement,
            "folds": [vars(choice) | {"chain": _plain(choice.chain)} for choice in self.folds],
            "trail": [{"chain": _plain(chain), "gain": gain} for chain, gain in self.trail],
            "candidates": [
                {"kind": slot[0].kind, "number": len(slot), "steps": _plain(slot)} for slot in self.candidates
            ],
        }


def tune_chain(
    read: Read,
    folds: Sequence[int],
    groups: Sequence[str],
    areas: Sequence[int],
    spec: PostprocessSpec,
    categories: Categories,
    *,
    metric: str,
    evaluate: EvaluateSpec,
    image: ReadImage | None = None,
    without: Mapping[int, Read] | None = None,
    seed: int = 0,
) -> Tuned:
    """Search the candidates of a recipe, nested: a search for each fold on the images of the others, and one on all.

    The searches share what several of them try, but no decision: the chain of a fold, and how many chains were tried to
    find it, don't depend on the fold's images.

    Args:
        read: gives the out-of-fold prediction and the truth of a row; called from several threads.
        folds: of each row; at least two different ones.
        groups: of each row, for the interval.
        areas: pixels of each row's image.
        spec: candidates and budget.
        categories: what is predicted.
        metric: name in `SUMMARIES` that is raised.
        evaluate: resamples and level of the interval.
        image: reads the image of a row, for steps that look at it.
        without: fold → what `read` would be had the fold not been there, where predictions are made of what was fitted
            on all folds; each once, where several folds have the same. The fold's chain is searched, and its gain
            taken, on these.
        seed: of the bootstrap.
    """
    reads = dict(without or {})
    scoring, numbers = _Scoring(categories, groups, metric, evaluate, seed), sorted(set(folds))
    slots = slots_of(spec.search, float(np.median(areas)), len(categories))
    rows = sampled_rows(folds, np.asarray(areas) * len(categories), spec.values, np.random.default_rng((seed, 5)))
    searches = _begun(np.asarray(folds)[rows], numbers, spec.budget, len(slots))
    all_reads = [*(reads.get(fold, read) for fold in numbers), read]
    counts, tried = _searched(searches, all_reads, slots, scoring, rows, image=image)
    own = dict(zip(numbers, zip(searches[:-1], counts[:-1], strict=True), strict=True))
    everywhere, found = searches[-1], counts[-1].found
    choices = {fold: _choice(fold, own[fold], scoring, np.equal(folds, fold)) for fold in numbers}
    gain = _gain_of(choices, {fold: counts for fold, (_, counts) in own.items()}, folds, scoring)
    adopted, best = bool(gain["low"] > 0) and bool(everywhere.chain), everywhere.chain
    return Tuned(
        adopted=adopted,
        chain=best if adopted else (),
        fold_chains={fold: choice.chain for fold, choice in choices.items()} if adopted else {},
        gain=gain,
        tried=tried,
        metric=metric,
        best=best,
        naive_gain=scoring.gain(found[best], found[()]),
        folds=tuple(choices.values()),
        trail=tuple((chain, value - everywhere.trail[0][1]) for chain, value in everywhere.trail),
        candidates=tuple(slots),
        searched=len(rows),
    )


def _begun(folds: Array, numbers: Sequence[int], budget: int, slots: int) -> list[Search]:
    """Return a search for each fold on the rows of the others, and one on all."""
    seen = [np.not_equal(folds, fold) for fold in numbers] + [np.full(len(folds), True)]
    return [Search(among[None].astype(np.float64), budget, [None] * slots) for among in seen]


def sampled_rows(folds: Sequence[int], sizes: Array, values: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the rows that searches see, ascending: of every fold the same share, drawn at random.

    Args:
        folds: of each row.
        sizes: probabilities (pixels × categories) of each row.
        values: how many probabilities they may have together; `FEWEST` rows of each fold are taken whatever they have.
        rng: draws.
    """
    share = values / max(int(sizes.sum()), 1)
    if share >= 1:
        return np.arange(len(folds))
    taken = []
    for fold in sorted(set(folds)):
        own = np.flatnonzero(np.equal(folds, fold))
        taken.append(rng.permutation(own)[: max(round(share * len(own)), FEWEST)])
    return np.sort(np.concatenate(taken))


def chain_gain(
    chain: Chain,
    read: Read,
    groups: Sequence[str],
    categories: Categories,
    *,
    metric: str,
    evaluate: EvaluateSpec,
    image: ReadImage | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Return value, low and high of what a chain gains over none, on images that had no part in choosing it.

    Args:
        chain: the steps.
        read: gives the prediction and the truth of a row; called from several threads.
        groups: of each row, for the interval.
        categories: what is predicted.
        metric: name in `SUMMARIES`.
        evaluate: resamples and level of the interval.
        image: reads the image of a row, for steps that look at it.
        seed: of the bootstrap.
    """
    counts = ChainCounts(read, len(groups), len(categories), image=image)
    for _ in counts.add(list(dict.fromkeys([(), chain]))):
        pass
    return _Scoring(categories, groups, metric, evaluate, seed).gain(counts.found[chain], counts.found[()])


@dataclass(frozen=True)
class _Scoring:
    """The metric of chains, and of one over another with its interval."""

    categories: Categories
    groups: Sequence[str]
    metric: str
    evaluate: EvaluateSpec
    seed: int

    def value(self, counts: Counts, weights: Array) -> Array:
        return self._statistic(counts)(weights)

    def gain(self, counts: Counts, plain: Counts) -> dict[str, float]:
        found = paired_difference(
            self._statistic(counts),
            self._statistic(plain),
            len(self.groups),
            groups=self.groups,
            samples=self.evaluate.samples,
            confidence=self.evaluate.confidence,
            rng=np.random.default_rng((self.seed, 4)),
        )
        return {"value": found.value, "low": found.low, "high": found.high}

    def _statistic(self, counts: Counts) -> Statistic:
        return statistic_of(counts, self.metric, self.categories.evaluated, EmptyCases.of(self.evaluate))


def _gain_of(
    choices: Mapping[int, FoldChoice], counts: Mapping[int, ChainCounts], folds: Sequence[int], scoring: _Scoring
) -> dict[str, float]:
    """Return what each fold's choice gains over no chain on the fold itself."""
    with_chain = Counts.stack([counts[fold].of_row(row, choices[fold].chain) for row, fold in enumerate(folds)])
    return scoring.gain(with_chain, Counts.stack([counts[fold].of_row(row, ()) for row, fold in enumerate(folds)]))


def _searched(
    searches: Sequence[Search],
    reads: Sequence[Read],
    slots: Sequence[Slot],
    scoring: _Scoring,
    rows: npt.NDArray[np.int64],
    *,
    image: ReadImage | None,
) -> tuple[list[ChainCounts], int]:
    """Carry out searches on some rows, those on the same predictions together.

    Returns:
        for each search the counts of what it chose, and of no chain, on all rows; and how many chains were tried.
    """
    sides = {read: [s for s, own in zip(searches, reads, strict=True) if own == read] for read in reads}
    tables, tried = {}, set[Chain]()
    for number, (read, together) in enumerate(sides.items()):
        table = ChainCounts(_among(read, rows), len(rows), len(scoring.categories), image=image and _among(image, rows))
        run_searches(together, slots, table, scoring.value, part=(number, len(sides)))
        table.forget_images()
        tried |= set(table.found)
        tables[read] = table
        if len(rows) < len(scoring.groups):
            tables[read] = ChainCounts(read, len(scoring.groups), len(scoring.categories), image=image)
            chosen = [(), *(search.chain for search in together)]
            for _ in track(tables[read].add(list(dict.fromkeys(chosen))), "tune on all images", len(scoring.groups)):
                pass
    return [tables[read] for read in reads], len(tried)


def _among(read: Callable[[int], T], rows: npt.NDArray[np.int64]) -> Callable[[int], T]:
    return lambda place: read(int(rows[place]))


def _choice(
    fold: int, own: tuple[Search, ChainCounts], scoring: _Scoring, outside: npt.NDArray[np.bool_]
) -> FoldChoice:
    search, counts = own
    weights = outside[None].astype(np.float64)
    change = scoring.value(counts.found[search.chain], weights) - scoring.value(counts.found[()], weights)
    return FoldChoice(fold, search.chain, search.value - search.trail[0][1], float(change[0]))


def _plain(steps: Sequence[Any]) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json") for step in steps]

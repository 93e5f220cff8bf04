"""What is fitted on predictions: the post-processing chain, chosen on some folds and scored on the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.metrics import SUMMARIES, Counts, EmptyCases, overlap_table
from maskwright.postprocess import apply_chain, apply_steps
from maskwright.progress import track
from maskwright.recipe.predict import (
    EvaluateSpec,
    FillHolesSpec,
    MinimumAreaSpec,
    PostprocessSpec,
    PostprocessStep,
    ThresholdSpec,
)
from maskwright.statistics import paired_difference
from maskwright.types import Array, Categories, LabelMap, Probabilities

Chain = tuple[PostprocessStep, ...]
Read = Callable[[int], tuple[Probabilities, LabelMap]]
"""Row number → (probabilities at full size, truth) of an out-of-fold image."""


@dataclass(frozen=True)
class Tuned:
    """The chosen post-processing.

    Attributes:
        adopted: False if the cross-fitted gain is not clearly above 0; the chain is then empty.
        chain: fitted on all folds; what ships.
        fold_chains: fold → the chain fitted without it; what its own images are scored with.
        gain: value, low, high of the cross-fitted gain.
        tried: number of chains compared.
    """

    adopted: bool
    chain: Chain
    fold_chains: dict[int, Chain]
    gain: dict[str, float]
    tried: int

    def to_plain(self) -> dict[str, Any]:
        """Return what tuned.json holds."""
        return {
            "adopted": self.adopted,
            "chain": [step.model_dump(mode="json") for step in self.chain],
            "fold_chains": {str(k): [s.model_dump(mode="json") for s in c] for k, c in self.fold_chains.items()},
            "gain": self.gain,
            "tried": self.tried,
            "fitted_on": "out-of-fold predictions; each fold's gain is measured with a chain fitted on the others",
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
    seed: int = 0,
) -> Tuned:
    """Search thresholds (binary tasks), minimum areas and hole filling.

    Args:
        read: gives the out-of-fold prediction and the truth of a row.
        folds: of each row.
        groups: of each row, for the interval.
        areas: pixels of each row's image.
        spec: candidates.
        categories: what is predicted.
        metric: name in `SUMMARIES` that is maximised.
        evaluate: resamples and level of the interval.
        seed: of the bootstrap.
    """
    search = _Search(read, len(folds), categories, metric, EmptyCases.of(evaluate))
    fold_array = np.asarray(folds)
    choices: list[Chain] = [()]
    if categories.binary:
        choices += [(ThresholdSpec(value=v),) for v in spec.thresholds if v != 0.5]
    search.score(choices, "tune thresholds")
    numbers = sorted(set(folds))
    heads = {k: search.best(choices, fold_array != k) for k in numbers}
    head = search.best(choices, fold_array >= 0)
    sizes = sorted({max(1, round(share * float(np.median(areas)))) for share in spec.minimum_areas if share > 0})
    cleaned = {h: [(*h, *tail) for tail in _tails(sizes, categories)] for h in {head, *heads.values()}}
    search.score([chain for chains in cleaned.values() for chain in chains], "tune clean-up")
    # a fold's candidates, too, come from the others: clean-up is tried on the threshold that was best without it
    fold_chains = {k: search.best(choices + cleaned[heads[k]], fold_array != k) for k in numbers}
    shipped = search.best(choices + cleaned[head], fold_array >= 0)
    gain = search.gain([fold_chains[k] for k in folds], groups, evaluate, seed)
    adopted = bool(gain["low"] > 0)
    return Tuned(adopted, shipped if adopted else (), fold_chains if adopted else {}, gain, len(search.counts))


class _Search:
    """Counts of every candidate on every image, and what is best on a subset."""

    def __init__(self, read: Read, rows: int, categories: Categories, metric: str, cases: EmptyCases) -> None:
        self.cases = cases
        self.read, self.rows, self.categories = read, rows, categories
        self.metric = SUMMARIES[metric].function
        self.counts: dict[Chain, Counts] = {}

    def score(self, chains: Sequence[Chain], label: str) -> None:
        """Apply each chain to each image and count; an image's probabilities are read once."""
        if not chains:
            return
        found: dict[Chain, list[Counts]] = {chain: [] for chain in chains}
        for row in track(range(self.rows), label, self.rows):
            probabilities, truth = self.read(row)
            starts: dict[Chain, LabelMap] = {}
            for chain in chains:
                head = tuple(step for step in chain if isinstance(step, ThresholdSpec))
                if head not in starts:
                    starts[head] = apply_chain(probabilities, head)
                predicted = apply_steps(starts[head], chain[len(head) :], categories=len(self.categories))
                found[chain].append(Counts.from_table(overlap_table(truth, predicted, len(self.categories))))
        self.counts |= {chain: Counts.stack(items) for chain, items in found.items()}

    def best(self, chains: Iterable[Chain], inside: Array) -> Chain:
        """Return the chain with the highest metric on the rows inside; of equal ones the first, simplest."""
        if not self.counts:
            return ()
        weights = inside.astype(float)[None]
        return max(chains, key=lambda c: float(np.nan_to_num(self._value(self.counts[c], weights)[0], nan=-1.0)))

    def gain(
        self, chains: Sequence[Chain], groups: Sequence[str], evaluate: EvaluateSpec, seed: int
    ) -> dict[str, float]:
        """Return the interval of the gain of each row's own chain over none."""
        mixed = Counts.stack([self._row(self.counts[chain], row) for row, chain in enumerate(chains)])
        plain = self.counts[()]
        interval = paired_difference(
            lambda w: self._value(mixed, w),
            lambda w: self._value(plain, w),
            self.rows,
            groups=groups,
            samples=evaluate.samples,
            confidence=evaluate.confidence,
            rng=np.random.default_rng((seed, 4)),
        )
        return {"value": interval.value, "low": interval.low, "high": interval.high}

    def _value(self, counts: Counts, weights: Array) -> Array:
        return self.metric(counts, self.categories.evaluated, weights, self.cases)

    @staticmethod
    def _row(counts: Counts, row: int) -> Counts:
        return Counts(counts.tp[row], counts.fp[row], counts.fn[row])


def _tails(sizes: Sequence[int], categories: Categories) -> list[Chain]:
    areas: list[Chain] = [(MinimumAreaSpec(pixels=n),) for n in sizes]
    holes: list[Chain] = [(FillHolesSpec(),)] if categories.binary else []
    return areas + holes + [(*a, *h) for a in areas for h in holes]

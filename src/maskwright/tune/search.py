"""The search for a chain: one step after the other, each by the candidate that is best with the rest as it stands.

Several searches go side by side, each on its own images alone: what one finds never depends on the others, and what
several want to try is counted once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from maskwright.metrics import Counts
from maskwright.postprocess.chain import FOREGROUND_STEPS, PROBABILITY_STEPS
from maskwright.progress import report
from maskwright.recipe.predict import PostprocessStep, SearchStep
from maskwright.recipe.steps import FavourSpec
from maskwright.tune.counting import Chain, ChainCounts
from maskwright.types import Array

Slot = tuple[PostprocessStep, ...]
"""Candidates for one place in the chain, which may stay empty."""
Value = Callable[[Counts, Array], Array]
"""(rows, C) counts and (S, rows) weights → (S,) values of the metric."""

PASSES = 4
"""Rounds through all places; a search that a whole round has left as it was ends before."""
_EQUAL = 1e-9


@dataclass
class Search:
    """One search, on some of the images.

    Attributes:
        weights: (1, rows) float64: 1 for the images that it sees.
        budget: chains that it may try.
        tried: chains that it has tried.
        chosen: the step in each slot, or none.
        value: of the metric on its images.
        trail: (chain, value) after each change for the better, from the empty chain on.
        open: False when no single change makes it better, or the budget is spent.
    """

    weights: Array
    budget: int
    chosen: list[PostprocessStep | None]
    value: float = float("nan")
    tried: set[Chain] = field(default_factory=set)
    trail: list[tuple[Chain, float]] = field(default_factory=list)
    open: bool = True

    @property
    def chain(self) -> Chain:
        """The chain as it stands."""
        return _chain(self.chosen)

    def begin(self, value: float) -> None:
        """Start from the empty chain; where that has no value, no chain can be said to be better."""
        self.value, self.tried, self.trail = value, {()}, [((), value)]
        self.open = not math.isnan(value)

    def candidates(self, place: int, slot: Slot) -> list[Chain]:
        """Return the chains to compare: that without a step at this place, and that with each candidate."""
        options = [self._with(place, step) for step in (None, *slot)]
        new = [chain for chain in dict.fromkeys(options) if chain not in self.tried]
        self.tried |= set(new[: self.budget - len(self.tried)])
        return [chain for chain in options if chain in self.tried]

    def choose(self, place: int, slot: Slot, values: dict[Chain, float]) -> bool:
        """Take the best candidate, of equal ones the one with the fewest steps, then the first; tell of a change."""
        best = max(values.values())
        chain = min((c for c, value in values.items() if value >= best - _EQUAL), key=len)
        if chain == self.chain:
            return False
        self.chosen[place] = next(step for step in (None, *slot) if self._with(place, step) == chain)
        self.value = values[chain]
        self.trail.append((chain, self.value))
        return True

    def _with(self, place: int, step: PostprocessStep | None) -> Chain:
        return _chain([*self.chosen[:place], step, *self.chosen[place + 1 :]])


def slots_of(entries: Sequence[SearchStep], area: float, categories: int) -> list[Slot]:
    """Return the candidates for each place of a chain, in the order in which a chain takes its steps.

    What decides on the foreground of two categories is passed over where there are more, unless it names a category;
    where there are two, `favour` is, if what decides is searched, too: it would do the same.

    Args:
        entries: what is searched.
        area: pixels of the median image.
        categories: number of categories.
    """
    early: list[Slot] = []
    deciding: dict[int | None, list[PostprocessStep]] = {}
    late: list[Slot] = []
    decides = any(entry.step in FOREGROUND_STEPS for entry in entries)
    for entry in entries:
        for candidates in entry.combinations(area, categories):
            slot: Slot = tuple(dict.fromkeys(candidates))  # type: ignore[arg-type]
            if entry.step in FOREGROUND_STEPS:
                for step in slot:
                    category = None if categories == 2 else getattr(step, "category", None)
                    deciding.setdefault(category, []).append(step)
            elif entry.step in PROBABILITY_STEPS:
                early += [] if entry.step is FavourSpec and decides and categories == 2 else [slot]
            else:
                late.append(slot)
    if categories != 2:
        deciding.pop(None, None)
    middle = [tuple(dict.fromkeys(steps)) for steps in deciding.values()]
    return [slot for slot in (*early, *middle, *late) if slot]


def run_searches(
    searches: Sequence[Search],
    slots: Sequence[Slot],
    counts: ChainCounts,
    value: Value,
    *,
    part: tuple[int, int] = (0, 1),
) -> None:
    """Carry all searches to their ends.

    The place that decides what is foreground comes first: it matters most, and what cleans up depends on it.

    Args:
        searches: on the predictions that are counted.
        slots: candidates for each place of a chain.
        counts: counts chains on all images.
        value: the metric.
        part: which of how many calls this is, for the progress.
    """
    order = sorted(range(len(slots)), key=lambda place: (type(slots[place][0]) not in FOREGROUND_STEPS, place))
    length = (1 + PASSES * len(order)) * counts.rows
    start, total, rounds = part[0] * length, part[1] * length, 0
    _count(counts, [()], (start, total))
    for search in searches:
        search.begin(float(value(counts.found[()], search.weights)[0]))
    for _ in range(PASSES):
        changed = [False] * len(searches)
        for place in order:
            rounds += 1
            done = (start + rounds * counts.rows, total)
            for number, change in enumerate(_round(searches, place, slots[place], counts, value, done)):
                changed[number] |= change
        for search, change in zip(searches, changed, strict=True):
            search.open &= change and len(search.tried) < search.budget
        if not any(search.open for search in searches):
            break
    report("tune", start + length, total)


def _round(
    searches: Sequence[Search],
    place: int,
    slot: Slot,
    counts: ChainCounts,
    value: Value,
    done: tuple[int, int],
) -> list[bool]:
    """Let every open search choose for one place; return which changed."""
    wanted = [search.candidates(place, slot) if search.open else [] for search in searches]
    _count(counts, [chain for chains in wanted for chain in chains], done)
    changed = []
    for search, chains in zip(searches, wanted, strict=True):
        values = {chain: _known(value(counts.found[chain], search.weights)) for chain in chains}
        changed.append(search.choose(place, slot, values) if chains else False)
    return changed


def _count(counts: ChainCounts, chains: Iterable[Chain], done: tuple[int, int]) -> None:
    if missing := counts.missing(chains):
        for row in counts.add(missing):
            report("tune", done[0] + row, done[1])


def _known(values: Array) -> float:
    return float(np.nan_to_num(values[0], nan=-np.inf))


def _chain(steps: Iterable[PostprocessStep | None]) -> Chain:
    return tuple(step for step in steps if step is not None)

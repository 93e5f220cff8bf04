"""Whether images of different kinds differ more than chance: permutations of whole groups, several tests at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import spatial, stats

Values = npt.NDArray[np.float64]
Kinds = npt.NDArray[np.int64]
Statistic = Callable[[Kinds], Values]
"""From (S, n) kinds, one shuffling a row, to (S,) values; larger is more different."""

_BLOCK = 1 << 22
"""Numbers that are shuffled at once."""


def units(groups: Sequence[Any] | npt.NDArray[Any], kinds: Kinds) -> Kinds:
    """Return the number of the unit that each image belongs to: the images of one group and one kind.

    Args:
        groups: (n,) group of each image; None is a group of its own.
        kinds: (n,) what is compared, such as the number of the label's source.
    """
    numbers: dict[tuple[Any, int], int] = {}
    named = [("alone", i) if group is None else ("group", group) for i, group in enumerate(groups)]
    keys = zip(named, kinds.tolist(), strict=True)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def permutation_p(
    statistic: Statistic, kinds: Kinds, unit: Kinds, *, samples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return a statistic and how often it is as large by chance.

    Units are shuffled, so the images of one group keep together. p counts the data as one of the shufflings: it is
    never 0, and at most the level in that share of data sets without a difference (Phipson and Smyth 2010).

    Args:
        statistic: from kinds to values.
        kinds: (n,) kind of each image.
        unit: (n,) as `units` returns them.
        samples: shufflings.
        rng: generator.
    """
    first = np.unique(unit, return_index=True)[1]
    observed = float(statistic(kinds[None])[0])
    beyond = 0
    for block in _shuffled(kinds[first], samples, len(kinds), rng):
        beyond += int((statistic(block[:, unit]) >= observed - 1e-9 * abs(observed)).sum())
    return observed, (beyond + 1) / (samples + 1)


def _shuffled(kinds: Kinds, samples: int, n: int, rng: np.random.Generator) -> Iterator[Kinds]:
    rows = max(1, _BLOCK // n)
    for start in range(0, samples, rows):
        yield rng.permuted(np.tile(kinds, (min(rows, samples - start), 1)), axis=1)


def rank_difference(values: Values, count: int) -> Statistic:
    """Return Kruskal and Wallis' H without ties' correction as a share of its largest value (ε², 0..1).

    Args:
        values: (n,) what is compared.
        count: number of kinds.
    """
    ranks = stats.rankdata(values) - (len(values) + 1) / 2
    total = max(float((ranks**2).sum()), 1e-12)

    def between(kinds: Kinds) -> Values:
        found = np.zeros(len(kinds))
        for kind in range(count):
            here = kinds == kind
            found += (here @ ranks) ** 2 / np.maximum(here.sum(axis=1), 1)
        return found / total

    return between


def energy_difference(points: Values) -> Statistic:
    """Return the energy coefficient of inhomogeneity of two kinds, 0 (alike) to 1 (Székely and Rizzo 2013).

    It is (2 E|X−Y| − E|X−X'| − E|Y−Y'|) / (2 E|X−Y|), expectations over all pairs, an image with itself included.

    Args:
        points: (n, F) features.
    """
    distances = spatial.distance.squareform(spatial.distance.pdist(points))
    whole = float(distances.sum())

    def coefficient(kinds: Kinds) -> Values:
        one = (kinds == 1).astype(np.float64)
        to_one = one @ distances
        within = (to_one * one).sum(axis=1)
        cross = to_one.sum(axis=1) - within
        other = whole - 2 * cross - within
        n, m = one.sum(axis=1), (1 - one).sum(axis=1)
        apart = 2 * cross / np.maximum(n * m, 1)
        gap = apart - within / np.maximum(n, 1) ** 2 - other / np.maximum(m, 1) ** 2
        return np.asarray(np.where(apart > 0, gap / np.where(apart > 0, apart, 1), 0.0))

    return coefficient


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda k: p[k])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[k]))
        adjusted[k] = largest
    return adjusted

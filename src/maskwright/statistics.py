"""How sure a number is: cluster bootstrap of a statistic, and of the difference of two on the same resamples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.errors import UsageError, problem

Weights = npt.NDArray[np.float64]
Statistic = Callable[[Weights], npt.NDArray[np.float64]]
"""From (S, n) weights, the multiplicity of each image in each of S resamples, to (S,) values."""
Statistics = Callable[[Weights], npt.NDArray[np.float64]]
"""The same for several numbers at once: to (S, k) values."""

_LARGEST_BLOCK = 1 << 18
"""Weights drawn at once (2 MiB, and a few arrays of that size on the way): bounds memory for any number of images."""

_EXPONENTS = np.arange(1, 41) * 0.05
"""Exponents of learning curves that are tried."""


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval.

    Attributes:
        value: the number on all images as they are.
        low: lower end; NaN where no interval can be given.
        high: upper end; NaN where no interval can be given.
        n: number of images that were resampled.
    """

    value: float
    low: float
    high: float
    n: int


def resampling_weights(groups: npt.ArrayLike, samples: int, rng: np.random.Generator) -> Weights:
    """Draw cluster-bootstrap resamples: groups with replacement, all images of a group together.

    Args:
        groups: (n,) group of each image, strings or integers.
        samples: number of resamples.
        rng: generator; drawing k and then m samples gives those of drawing k + m.

    Returns:
        (samples, n) float64: how often each image is in each resample. Each row draws as many groups as there are;
        the number of images in it varies where groups differ in size.
    """
    count, group = _numbered(groups)
    return _drawn(count, samples, rng)[:, group]


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    groups: npt.ArrayLike | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> Interval:
    """Percentile interval of a statistic of images by the cluster bootstrap (Davison and Hinkley 1997, 3.8).

    Args:
        statistic: from (S, n) weights to (S,) values; NaN where a resample has no value.
        n: number of images.
        groups: (n,) group of each image; None: every image is its own group.
        samples: number of resamples.
        confidence: level of the interval, above 0 and below 1.
        rng: generator.

    Returns:
        The value on weights of ones and its interval. Resamples without a value are left out. Fewer than two groups
        say nothing of the spread: the interval is NaN.

    Raises:
        UsageError: `groups` has not n entries, `confidence` is not between 0 and 1, or there is no resample.

    Example:
        >>> x = np.array([1.0, 2.0, 3.0])
        >>> bootstrap(lambda w: w @ x / w.sum(1), 3, rng=np.random.default_rng(0)).value
        2.0
    """
    (found,) = bootstraps(
        lambda weights: np.asarray(statistic(weights))[:, None],
        n,
        groups=groups,
        samples=samples,
        confidence=confidence,
        rng=rng,
    )
    return found


def bootstraps(
    statistics: Statistics,
    n: int,
    *,
    groups: npt.ArrayLike | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> list[Interval]:
    """Intervals of k statistics of the same images, all on the same resamples: each is that of `bootstrap`.

    Args:
        statistics: from (S, n) weights to (S, k) values; NaN where a resample has no value.
        n: as in `bootstrap`.
        groups: as in `bootstrap`.
        samples: as in `bootstrap`.
        confidence: as in `bootstrap`.
        rng: as in `bootstrap`.

    Raises:
        UsageError: as `bootstrap`.
    """
    count, group = _numbered(range(n) if groups is None else groups)
    _check(group, n, samples, confidence)
    values = _values(statistics, np.ones((1, n)))[0].tolist()
    if count < 2:
        return [Interval(value, float("nan"), float("nan"), n) for value in values]
    blocks = [_values(statistics, _drawn(count, size, rng)[:, group]) for size in _block_sizes(samples, n)]
    drawn = np.concatenate(blocks)  # (samples, k)
    return [Interval(value, *_percentiles(drawn[:, k], confidence), n) for k, value in enumerate(values)]


def paired_difference(
    statistic_a: Statistic,
    statistic_b: Statistic,
    n: int,
    *,
    groups: npt.ArrayLike | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> Interval:
    """Interval of the difference a - b, with both statistics on the same resamples of the same images.

    Args:
        statistic_a: from (S, n) weights to (S,) values.
        statistic_b: the one that is subtracted.
        n: number of images.
        groups: as in `bootstrap`.
        samples: as in `bootstrap`.
        confidence: as in `bootstrap`.
        rng: as in `bootstrap`.

    Returns:
        As `bootstrap`, for the difference. A resample where either has no value is left out.

    Raises:
        UsageError: as `bootstrap`.
    """
    return bootstrap(
        lambda weights: statistic_a(weights) - statistic_b(weights),
        n,
        groups=groups,
        samples=samples,
        confidence=confidence,
        rng=rng,
    )


def difference_p_value(
    statistic_a: Statistic,
    statistic_b: Statistic,
    n: int,
    *,
    groups: npt.ArrayLike | None = None,
    samples: int = 1000,
    rng: np.random.Generator,
) -> float:
    """Two-sided p-value of the hypothesis that two statistics are equal, by inverting `paired_difference`'s interval.

    Twice the smaller share of resamples on either side of 0, those at 0 on both sides, with one added to each count
    (Davison and Hinkley 1997, 4.2), so that it is never 0.

    Args:
        statistic_a: as in `paired_difference`.
        statistic_b: as in `paired_difference`.
        n: as in `bootstrap`.
        groups: as in `bootstrap`.
        samples: as in `bootstrap`.
        rng: as in `bootstrap`.

    Returns:
        Above 0 and at most 1; NaN with fewer than two groups, or where no resample has a value.
    """
    count, group = _numbered(range(n) if groups is None else groups)
    _check(group, n, samples, 0.5)
    if count < 2:
        return float("nan")
    drawn = (_drawn(count, size, rng)[:, group] for size in _block_sizes(samples, n))
    values = np.concatenate([statistic_a(weights) - statistic_b(weights) for weights in drawn])
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan")
    smaller = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(known) + 1))


@dataclass(frozen=True)
class PowerLaws:
    """Learning curves score(n) = top - drop · n^-exponent, one for each of S resamples.

    Attributes:
        top: (S,) what the score comes to with labels without end, at most 1.
        drop: (S,) at least 0: 0 is a flat curve.
        exponent: (S,) how fast it gets there.
    """

    top: npt.NDArray[np.float64]
    drop: npt.NDArray[np.float64]
    exponent: npt.NDArray[np.float64]

    def at(self, n: float) -> npt.NDArray[np.float64]:
        """Return the (S,) scores with n labels."""
        return self.top - self.drop * n**-self.exponent

    def doubling(self, n: float) -> npt.NDArray[np.float64]:
        """Return the (S,) gains from n labels to 2 n."""
        return self.at(2 * n) - self.at(n)

    def reaches(self, n: float, gain: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the (S,) numbers of labels at which a curve is a (S,) gain above what it is at n; inf where never."""
        left = self.drop * n**-self.exponent - gain  # what the curve still lacks to its top there
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (left / self.drop) ** (-1 / self.exponent)
        return np.where(gain <= 0, n, np.where(left > 0, found, np.inf))


def fit_power_laws(sizes: npt.ArrayLike, scores: npt.ArrayLike) -> PowerLaws:
    """Fit a learning curve to the scores of each resample by least squares (Viering and Loog 2023, POW3).

    The score never falls with more labels and never passes 1. Exponents are tried from 0.05, which over the sizes that
    are at hand is nearly a logarithm, to 2. Two sizes don't tell a top: where the score rises, it is then 1.

    Args:
        sizes: (K,) numbers of labels, K >= 2, no two the same.
        scores: (S, K) scores of at most 1; a row with NaN gives NaN.

    Example:
        >>> laws = fit_power_laws([10, 20, 40, 80], [[0.9 - n**-0.5 for n in (10, 20, 40, 80)]])
        >>> laws.at(160).round(4).tolist(), round(0.9 - 160**-0.5, 4)
        ([0.8209], 0.8209)
    """
    n, s = np.asarray(sizes, np.float64), np.asarray(scores, np.float64)
    x = n[None, :] ** -_EXPONENTS[:, None]  # (E, K)
    mean_x, mean_s = x.mean(1)[:, None], s.mean(1)[None, :]
    slope = (x - mean_x) @ (s.T - mean_s) / ((x - mean_x) ** 2).sum(1)[:, None]  # (E, S), of the score on n^-exponent
    drop = np.maximum(-slope, 0.0)
    top = mean_s + drop * mean_x
    if len(n) < 3:
        top = np.where(drop > 0, 1.0, top)
    drop = np.where(top < 1, drop, x @ (1 - s.T) / (x**2).sum(1)[:, None])
    top = np.minimum(top, 1.0)
    missed = ((s.T[None] - (top[:, None] - drop[:, None] * x[:, :, None])) ** 2).sum(1)  # (E, S)
    best = np.where(np.isnan(missed), np.inf, missed).argmin(0)
    every = np.arange(len(s))
    return PowerLaws(top[best, every], drop[best, every], _EXPONENTS[best])


def spread(values: npt.ArrayLike, confidence: float = 0.95, *, n: int) -> Interval:
    """Return the first of (1 + S,) values with the percentile interval of the S resamples behind it.

    Args:
        values: the number itself, then its resamples; NaN where one has none.
        confidence: level of the interval.
        n: number of images that were resampled.
    """
    known = np.asarray(values, np.float64)
    return Interval(float(known[0]), *_percentiles(known[1:], confidence), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of m comparisons by Holm's step-down procedure (1979).

    It keeps the chance of any wrong rejection below the level, as Bonferroni does, and rejects whatever that rejects
    and more. Where a p-value is NaN, its comparison counts among the m and stays NaN.

    Example:
        >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = sorted((p, k) for k, p in enumerate(p_values) if p == p)
    adjusted, highest = [float("nan")] * len(p_values), 0.0
    for rank, (p, k) in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[k] = highest
    return adjusted


def _numbered(groups: npt.ArrayLike) -> tuple[int, npt.NDArray[np.intp]]:
    """Number of groups, and the number 0.. of each image's group."""
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    return len(names), group.ravel()


def _check(group: npt.NDArray[np.intp], n: int, samples: int, confidence: float) -> None:
    if len(group) == n and samples >= 1 and 0 < confidence < 1:
        return
    raise UsageError(
        problem(
            f"{n} group names, at least 1 resample and a confidence between 0 and 1",
            f"{len(group)} group names, {samples} resamples and {confidence}",
            where="bootstrap",
            next_move="pass one group for each image, samples >= 1 and a confidence such as 0.95",
        )
    )


def _values(statistics: Statistics, weights: Weights) -> npt.NDArray[np.float64]:
    values = np.asarray(statistics(weights), np.float64)
    assert values.ndim == 2 and len(values) == len(weights), "statistics give one row of values for each of weights"
    return values


def _block_sizes(samples: int, n: int) -> list[int]:
    rows = max(1, _LARGEST_BLOCK // n)
    return [min(rows, samples - start) for start in range(0, samples, rows)]


def _drawn(groups: int, samples: int, rng: np.random.Generator) -> Weights:
    """Multiplicities of groups, (samples, groups) float64."""
    picks = rng.integers(groups, size=(samples, groups))
    picks += groups * np.arange(samples)[:, None]
    return np.bincount(picks.ravel(), minlength=samples * groups).reshape(samples, groups).astype(np.float64)


def _percentiles(values: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)

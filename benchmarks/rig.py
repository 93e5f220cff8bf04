"""The one way to compare speeds: interleaved pairs in one run, the median ratio with its interval."""

import gc
import time
from collections.abc import Callable

import numpy as np

from benchmarks.record import Comparison
from maskwright.statistics import bootstrap

PAIRS = 30
"""Fewest pairs of a comparison."""


def seconds(function: Callable[[], object]) -> float:
    """Return what one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(
    ours: Callable[[], object], rival: Callable[[], object], *, pairs: int = PAIRS, warm: int = 2
) -> tuple[float, float, Comparison]:
    """Time two functions in pairs, the first of a pair in turn; what slows the machine down hits both.

    Args:
        ours: takes no argument; all that it needs is prepared.
        rival: the same work.
        pairs: at least `PAIRS`.
        warm: calls of each that don't count.

    Returns:
        Median seconds of ours and of the rival's, and the median of the pairs' ratios ours / rival with its interval.
    """
    assert pairs >= PAIRS, f"at least {PAIRS} pairs"
    for _ in range(warm):
        ours()
        rival()
    times = np.empty((pairs, 2))
    gc.collect()
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        for who in order:
            times[pair, who] = seconds((ours, rival)[who])
    return float(np.median(times[:, 0])), float(np.median(times[:, 1])), ratio(times[:, 0], times[:, 1])


def ratio(ours: np.ndarray, rival: np.ndarray) -> Comparison:
    """Return the median of paired ratios with its bootstrap interval."""
    ratios = np.asarray(ours, float) / np.asarray(rival, float)

    def median(weights: np.ndarray) -> np.ndarray:
        order = np.argsort(ratios)
        share = np.cumsum(weights[:, order], axis=1) / weights.sum(axis=1, keepdims=True)
        return ratios[order][(share >= 0.5).argmax(axis=1)]

    found = bootstrap(median, len(ratios), samples=2000, rng=np.random.default_rng(0))
    return Comparison(kind="ratio", value=found.value, low=found.low, high=found.high, n=found.n)


def inverse(found: Comparison) -> Comparison:
    """Return the ratio of speeds of a ratio of times."""
    assert found.low is not None and found.high is not None
    return Comparison(kind="ratio", value=1 / found.value, low=1 / found.high, high=1 / found.low, n=found.n)

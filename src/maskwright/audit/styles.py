"""Whether the masks of different label sources were drawn in different styles, more than chance explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.audit.permutation import holm, permutation_p, rank_difference, units
from maskwright.audit.shapes import STYLE_WORDS, STYLES
from maskwright.recipe.outliers import BalanceSpec

SCHEMA = {
    "column": pl.String,
    "statistic": pl.String,
    "source": pl.String,
    "images": pl.Int64,
    "median": pl.Float64,
    "effect": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}
LARGE = 0.14
"""Share of the ranks' variance from which a difference is called large (Cohen 1988)."""


def compare_styles(
    column: str,
    styles: npt.NDArray[np.float64],
    sources: Sequence[str | None],
    groups: Sequence[str | None],
    spec: BalanceSpec,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Compare the styles of the masks of different sources.

    For each statistic the images of one group and source are averaged, and Kruskal and Wallis' test is made by
    shuffling the sources among these units; p is adjusted for the number of statistics (Holm).

    Args:
        column: name of what the sources are told by.
        styles: (n, 5) as `style_of` returns them, NaN where there is nothing.
        sources: (n,) source of each image's mask; images without one are left out.
        groups: (n,) group of each image; None: each is one of its own.
        spec: the recipe's section: permutations.
        rng: generator.

    Returns:
        One row a statistic and source, columns `SCHEMA`; none with fewer than two sources.
    """
    kept = [i for i, source in enumerate(sources) if source not in (None, "")]
    names = sorted({str(sources[i]) for i in kept})
    if len(names) < 2:
        return pl.DataFrame(schema=SCHEMA)
    kinds = np.array([names.index(str(sources[i])) for i in kept], np.int64)
    unit = units([groups[i] for i in kept], kinds)
    found = [_compared(styles[kept][:, s], kinds, unit, len(names), spec.samples, rng) for s in range(len(STYLES))]
    known = [s for s, (_, p) in enumerate(found) if np.isfinite(p)]
    adjusted = dict(zip(known, holm([found[s][1] for s in known]), strict=True))
    rows = []
    for s, (effect, p) in enumerate(found):
        for kind, name in enumerate(names):
            values = styles[kept][kinds == kind, s]
            values = values[np.isfinite(values)]
            middle = float(np.median(values)) if len(values) else None
            known_p = (effect, p, adjusted[s]) if s in adjusted else (None, None, None)
            rows.append((column, STYLES[s], name, len(values), middle, *known_p))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _compared(
    values: npt.NDArray[np.float64],
    kinds: npt.NDArray[np.int64],
    unit: npt.NDArray[np.int64],
    count: int,
    samples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the effect and p of one statistic; NaN where there is nothing to compare."""
    known = np.isfinite(values)
    if len(np.unique(kinds[known])) < 2 or np.ptp(values[known]) == 0:
        return float("nan"), float("nan")
    numbers, first, place = np.unique(unit[known], return_index=True, return_inverse=True)
    means = np.bincount(place, values[known]) / np.bincount(place)
    alone = np.arange(len(numbers))
    statistic = rank_difference(means, count)
    return permutation_p(statistic, kinds[known][first], alone, samples=samples, rng=rng)


def differences(table: pl.DataFrame, level: float) -> list[tuple[str, float, str]]:
    """Return (severity, effect, detail) of each statistic in which sources differ more than chance."""
    found = []
    for (column, statistic), rows in table.group_by("column", "statistic", maintain_order=True):
        effect, p = rows["effect"][0], rows["p_holm"][0]
        if p is None or p > level:
            continue
        known = rows.drop_nulls("median").sort("median")
        low, high = known.row(0, named=True), known.row(-1, named=True)
        detail = (
            f"masks of different {column} differ in {statistic} ({STYLE_WORDS[str(statistic)]}) more than chance: "
            f"{low['source']} {low['median']:.3g}, {high['source']} {high['median']:.3g} (medians of "
            f"{low['images']} and {high['images']} images), {effect:.0%} of the ranks' variance, p = {p:.2g} after Holm"
        )
        found.append(("warning" if effect >= LARGE else "note", float(effect), detail))
    return found

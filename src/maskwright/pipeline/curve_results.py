"""What the points of a learning curve say: scores with intervals, the fit, what the pool gains, and the advice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.artifacts import RunFolder, read_table, write_bytes, write_json, write_table
from maskwright.evaluate import counts_and_groups, statistic_of
from maskwright.metrics import EmptyCases
from maskwright.pictures import points_png
from maskwright.pipeline.curve_advice import advise
from maskwright.pipeline.curve_point import Point
from maskwright.recipe import Recipe
from maskwright.report.curve import drawn_series, write_curve_page
from maskwright.statistics import PowerLaws, fit_power_laws, resampling_weights, spread

Values = npt.NDArray[np.float64]
"""(1 + S,): a number, and what it is in each of S resamples of the held-out images, the same for all numbers."""


def write_results(root: Path, recipe: Recipe, points: Sequence[Point], *, no_pool: str, longer: str) -> None:
    """Write curve.csv, curve.json, curve.png and curve.html of finished points.

    Args:
        root: folder of the curve.
        recipe: resolved, of the points.
        points: all of them.
        no_pool: why none of them learns from the pool; empty where some do.
        longer: how much longer those train that do, as words; empty where they don't.
    """
    found = summarise_points(root, recipe, points) | {"no_pool": no_pool, "longer": longer}
    found["advice"] = advise(found)
    write_json(root / "curve.json", found)
    write_table(root / "curve.csv", pl.DataFrame(found["points"]))
    series, lines = drawn_series(found)
    write_bytes(root / "curve.png", points_png(series, lines, x="labelled images", y=found["metric"]))
    write_curve_page(root)


def summarise_points(root: Path, recipe: Recipe, points: Sequence[Point]) -> dict[str, Any]:
    """Return the plain content of curve.json but for the advice.

    All intervals resample the groups of the held-out images, the same ones for every number. Where there are several
    trainings of a point, they are resampled, too: of each size as many as there are, with and without the pool alike.
    """
    values, images, groups = _values(root, recipe, points)
    confidence, n = recipe.evaluate.confidence, images
    supervised = {point: v for point, v in values.items() if not point.pool}
    taught = {(point.share, point.repeat): v for point, v in values.items() if point.pool}
    samples = recipe.evaluate.samples
    rng = np.random.default_rng((recipe.seed, 9))
    sizes, without = list[dict[str, Any]](), list[Values]()
    for share in sorted({point.share for point in supervised}):
        own = sorted((point for point in supervised if point.share == share), key=lambda point: point.repeat)
        picks = _picks(len(own), samples, rng)
        mean = _mean([supervised[point] for point in own], picks)
        size = {
            "share": share,
            "labels": float(np.mean([point.labels for point in own])),
            "without": vars(spread(mean, confidence, n=n)),
        }
        pooled = [taught[share, point.repeat] for point in own if (share, point.repeat) in taught]
        if len(pooled) == len(own):
            with_pool = _mean(pooled, picks)
            size |= {
                "pool": float(np.mean([point.pool for point in taught_points(points, share)])),
                "with": vars(spread(with_pool, confidence, n=n)),
                "gain": vars(spread(with_pool - mean, confidence, n=n)),
            }
        sizes.append(size)
        without.append(mean)
    laws = fit_power_laws([size["labels"] for size in sizes], np.stack(without, 1))
    return {
        "metric": recipe.metric(),
        "steps": recipe.train.steps,
        "images": images,
        "groups": groups,
        "repeats": len({point.repeat for point in points}),
        "confidence": confidence,
        "sizes": sizes,
        "fit": _told(laws, sizes, confidence, n),
        "points": [_row(point, v, confidence, n) for point, v in values.items()],
    }


def taught_points(points: Sequence[Point], share: float) -> list[Point]:
    """Return the points of a share that learn from the pool."""
    return [point for point in points if point.share == share and point.pool]


def _values(root: Path, recipe: Recipe, points: Sequence[Point]) -> tuple[dict[Point, Values], int, int]:
    """Return the score of each point and of its resamples, and the number of held-out images and of their groups."""
    categories = recipe.data.to_categories()
    cases, found, weights = EmptyCases.of(recipe.evaluate), dict[Point, Values](), None
    groups = list[str]()
    for point in points:
        table = read_table(RunFolder(root / point.folder).predictions / "per_image.parquet")
        counts, groups = counts_and_groups(table.filter(pl.col("part") == "holdout"), len(categories))
        if weights is None:
            rng = np.random.default_rng((recipe.seed, 8))
            drawn = resampling_weights(groups, recipe.evaluate.samples, rng)
            weights = np.concatenate([np.ones((1, len(groups))), drawn])
        found[point] = statistic_of(counts, recipe.metric(), categories.evaluated, cases)(weights)
    return found, len(groups), len({*groups})


def _picks(repeats: int, samples: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return (1 + S, R) which trainings are averaged: all of them first, then as many with replacement."""
    return np.concatenate([np.arange(repeats)[None], rng.integers(repeats, size=(samples, repeats))])


def _mean(values: Sequence[Values], picks: npt.NDArray[np.intp]) -> Values:
    drawn: Values = np.take_along_axis(np.stack(values, 1), picks, 1).mean(1)
    return drawn


def _told(laws: PowerLaws, sizes: Sequence[dict[str, Any]], confidence: float, n: int) -> dict[str, Any]:
    """Return what the curve comes to: its numbers, the scores on the way to twice the labels, and what they gain."""
    most = sizes[-1]["labels"]
    grid = np.geomspace(sizes[0]["labels"], 2 * most, 40)
    ends = [vars(spread(laws.at(size), confidence, n=n)) for size in grid]
    told: dict[str, Any] = {
        "top": float(laws.top[0]),
        "drop": float(laws.drop[0]),
        "exponent": float(laws.exponent[0]),
        "doubling": vars(spread(laws.doubling(most), confidence, n=n)),
        "line": {"labels": grid.tolist(), **{key: [end[key] for end in ends] for key in ("value", "low", "high")}},
    }
    if (pooled := [size for size in sizes if "gain" in size]) and (gain := pooled[-1]["gain"]["value"]) > 0:
        at = pooled[-1]["labels"]
        worth = PowerLaws(laws.top[:1], laws.drop[:1], laws.exponent[:1]).reaches(at, np.array([gain]))[0] - at
        told["worth"] = float(worth) if np.isfinite(worth) else None
    return told


def _row(point: Point, values: Values, confidence: float, n: int) -> dict[str, Any]:
    score = spread(values, confidence, n=n)
    about = {"share": point.share, "labels": point.labels, "groups": point.groups, "pool": point.pool}
    scored = {"score": score.value, "low": score.low, "high": score.high}
    return about | {"repeat": point.repeat, **scored, "run": point.folder}

"""Runs side by side: where their recipes differ, their scores, and paired differences on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_json, read_table
from maskwright.errors import DataError, UsageError, problem
from maskwright.metrics import SUMMARIES, Counts, EmptyCases
from maskwright.recipe import Recipe, flatten, load_recipe
from maskwright.statistics import Interval, bootstrap, paired_difference
from maskwright.types import Array

_UNSAID = ("executor", "report", "train.threads", "train.workers", "train.cache", "train.loggers", "train.minutes")
"""Fields that change no number by themselves: not named among the differences."""


@dataclass(frozen=True)
class Compared:
    """One run beside others.

    Attributes:
        run: its folder.
        fields: value of each recipe field in which the runs differ, or that was asked for.
        score: on the images that all runs have.
        difference: to the first run, its interval widened for the number of comparisons; None for the first.
        folds: (fold, its score out of fold, score of its network alone on the held-out part or NaN).
    """

    run: Path
    fields: dict[str, Any]
    score: Interval
    difference: Interval | None
    folds: list[tuple[int, float, float]]


@dataclass(frozen=True)
class _Run:
    folder: Path
    recipe: Recipe
    table: pl.DataFrame
    members: str | None = None
    """What was fused, and with which weights; None of a run."""

    def fields(self) -> dict[str, Any]:
        """Return the fields of the recipe, of fused runs those of the first one and what was fused."""
        fused = {} if self.members is None else {"members": self.members}
        return flatten(self.recipe.model_dump(mode="json")) | fused

    def counts(self, table: pl.DataFrame) -> Counts:
        categories = len(self.recipe.data.to_categories())
        ordered = table.sort("image", maintain_order=True)
        return Counts(*(ordered[name].to_numpy().reshape(-1, categories) for name in ("tp", "fp", "fn")))

    def groups(self, table: pl.DataFrame) -> list[str]:
        categories = len(self.recipe.data.to_categories())
        return table.sort("image", maintain_order=True)["group"].to_list()[::categories]


def compare_runs(
    folders: Sequence[Path], *, metric: str | None = None, part: str | None = None, by: Sequence[str] = ()
) -> tuple[list[Compared], str, str]:
    """Return the runs side by side, the metric and the part.

    The paired differences resample the groups of the first run, the same ones for both; with m comparisons each
    interval has level 1 − (1 − confidence) / m (Bonferroni), so that all hold together.

    Args:
        folders: run folders, the one to compare with first.
        metric: one of `SUMMARIES`; default: the first run's.
        part: `oof` or `holdout`; default: the held-out part where all runs have one, else out of fold.
        by: recipe fields to show; default: those in which the runs differ.

    Raises:
        UsageError: no run, an unknown metric, part or field.
        DataError: a folder holds no evaluated run, or the runs share no image, category list or truth.
    """
    runs = [_read(folder) for folder in folders]
    if not runs:
        raise UsageError(problem("run folders", "none", where="compare", next_move="maskwright compare RUN RUN"))
    metric = metric or runs[0].recipe.metric()
    if metric not in SUMMARIES:
        next_move = "use one of these"
        raise UsageError(problem(f"a metric of {', '.join(SUMMARIES)}", metric, where="--metric", next_move=next_move))
    part = part or _part(runs)
    tables = _shared(runs, part)
    fields = _fields(runs, by)
    spec, count = runs[0].recipe.evaluate, len(runs) - 1
    options: dict[str, Any] = {"groups": runs[0].groups(tables[0]), "samples": spec.samples}
    statistics = [_statistic(run, run.counts(table), metric) for run, table in zip(runs, tables, strict=True)]
    compared = []
    for run, statistic, own in zip(runs, statistics, fields, strict=True):
        n = len(options["groups"])
        score = bootstrap(statistic, n, confidence=spec.confidence, rng=_rng(), **options)
        difference = None
        if statistic is not statistics[0]:
            level = 1 - (1 - spec.confidence) / count
            difference = paired_difference(statistic, statistics[0], n, confidence=level, rng=_rng(), **options)
        compared.append(Compared(run.folder, own, score, difference, _by_fold(run, metric)))
    return compared, metric, part


def _rng() -> np.random.Generator:
    return np.random.default_rng((0, 3))


def _read(folder: Path) -> _Run:
    paths = RunFolder(folder)
    table, recipe, members = paths.predictions / "per_image.parquet", paths.recipe, None
    if paths.fused.is_file():
        about = read_json(paths.fused)["members"]
        recipe = paths.member_run(about[0]).recipe
        members = " + ".join(f"{m['weight']:.2f} {m['name']}" for m in about if m["weight"] > 0)
    for needed in (recipe, table):
        if not needed.is_file():
            next_move = f"finish the run: maskwright run --recipe RECIPE --out {folder}"
            raise DataError(
                problem(f"an evaluated run with {needed.name}", "none", where=str(folder), next_move=next_move)
            )
    return _Run(folder, load_recipe(recipe), read_table(table), members)


def _part(runs: Sequence[_Run]) -> str:
    held = all((run.table["part"] == "holdout").any() for run in runs)
    return "holdout" if held else "oof"


def _shared(runs: Sequence[_Run], part: str) -> list[pl.DataFrame]:
    """Return the rows of the images that all runs scored in a part, after a look at what must be equal."""
    tables = [run.table.filter(pl.col("part") == part) for run in runs]
    images = set(tables[0]["image"]).intersection(*(table["image"] for table in tables[1:]))
    if not images:
        raise DataError(
            problem(
                f"runs that scored the same images ({part})",
                "none in common",
                where=", ".join(str(run.folder) for run in runs),
                next_move="compare runs of one data folder with the same held-out part: --set split.seed=N",
            )
        )
    tables = [table.filter(pl.col("image").is_in(images)) for table in tables]
    truth = [(t := table.sort("image", maintain_order=True))["tp"] + t["fn"] for table in tables]
    for run, names, own in zip(runs, (table["category"].unique().sort() for table in tables), truth, strict=True):
        if not names.equals(tables[0]["category"].unique().sort()) or not own.equals(truth[0]):
            raise DataError(
                problem(
                    "runs with the same categories and true labels",
                    "other ones",
                    where=f"{run.folder} against {runs[0].folder}",
                    next_move="score the predictions of both against one truth: maskwright evaluate LABELS MASKS",
                )
            )
    return tables


def _fields(runs: Sequence[_Run], by: Sequence[str]) -> list[dict[str, Any]]:
    flat = [run.fields() for run in runs]
    known = list(dict.fromkeys(key for fields in flat for key in fields))
    if unknown := [key for key in by if not any(name == key or name.startswith(f"{key}.") for name in known)]:
        next_move = "name fields as in recipe.yaml, such as model.encoder"
        raise UsageError(problem("recipe fields", ", ".join(unknown), where="--by", next_move=next_move))
    if by:
        shown = [name for key in by for name in known if name == key or name.startswith(f"{key}.")]
    else:
        shown = [
            key
            for key in known
            if not key.startswith(_UNSAID) and any(other.get(key) != flat[0].get(key) for other in flat[1:])
        ]
        shown = [key for key in shown if not _of_another_kind(key, shown, flat)]
    return [{key: fields.get(key) for key in shown} for fields in flat]


def _of_another_kind(key: str, shown: Sequence[str], flat: Sequence[dict[str, Any]]) -> bool:
    """Return whether a field is one that a run lacks because its component is of another kind, which is shown."""
    parts = key.split(".")
    kinds = {".".join([*parts[:depth], "kind"]) for depth in range(1, len(parts))} - {key}
    return any(key not in fields for fields in flat) and not kinds.isdisjoint(shown)


def _statistic(run: _Run, counts: Counts, metric: str) -> Any:
    positions, cases = run.recipe.data.to_categories().evaluated, EmptyCases.of(run.recipe.evaluate)

    def statistic(weights: Array) -> Array:
        return SUMMARIES[metric].function(counts, positions, weights, cases)

    return statistic


def _by_fold(run: _Run, metric: str) -> list[tuple[int, float, float]]:
    path = RunFolder(run.folder).predictions / "members.json"
    members = read_json(path) if path.is_file() else {}
    rows = run.table.filter(pl.col("part") == "oof")
    found = []
    for fold in sorted(rows["fold"].drop_nulls().unique().to_list()):
        counts = run.counts(rows.filter(pl.col("fold") == fold))
        value = float(_statistic(run, counts, metric)(np.ones((1, len(counts.tp))))[0])
        alone = members.get(f"holdout-fold-{fold}", {}).get(metric, {}).get("value")
        found.append((fold, value, float("nan") if alone is None else float(alone)))
    return found

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
from maskwright.evaluate import counts_and_groups, evidence_of, statistics_of
from maskwright.metrics import Evidence
from maskwright.recipe import Recipe, flatten, load_recipe
from maskwright.statistics import Interval, Statistic, bootstrap, difference_p_value, holm, paired_difference

_UNSAID = (
    "executor",
    "report",
    "evaluate.families",
    "train.threads",
    "train.workers",
    "train.cache",
    "train.loggers",
    "train.minutes",
)
"""Fields that change no number by themselves: not named among the differences."""


@dataclass(frozen=True)
class Compared:
    """One run beside others.

    Attributes:
        run: its folder.
        fields: value of each recipe field in which the runs differ, or that was asked for.
        score: on the images that all runs have.
        difference: to the first run, its interval widened for the number of comparisons; None for the first.
        p_value: of no difference to the first run, adjusted for the number of comparisons; None for the first.
        folds: (fold, its score out of fold, score of its network alone on the held-out part or NaN).
    """

    run: Path
    fields: dict[str, Any]
    score: Interval
    difference: Interval | None
    p_value: float | None
    folds: list[tuple[int, float, float]]


@dataclass(frozen=True)
class _Run:
    folder: Path
    recipe: Recipe
    table: pl.DataFrame
    bins: pl.DataFrame | None = None
    members: str | None = None
    """What was fused, and with which weights; None of a run."""

    def fields(self) -> dict[str, Any]:
        """Return the fields of the recipe, of fused runs those of the first one and what was fused."""
        fused = {} if self.members is None else {"members": self.members}
        return flatten(self.recipe.model_dump(mode="json")) | fused

    def evidence(self, table: pl.DataFrame) -> Evidence:
        bins = None if self.bins is None else self.bins.join(table.select("image", "part").unique(), ["image", "part"])
        return evidence_of(table, bins, len(self.recipe.data.to_categories()))

    def statistic(self, table: pl.DataFrame, metric: str) -> tuple[str, Statistic]:
        """Return a metric's definition, and what computes it from image weights."""
        known = statistics_of(self.evidence(table), self.recipe.data.to_categories(), self.recipe.evaluate)
        if metric not in known:
            whole = [name for name in known if "/" not in name]
            of_each = sorted({f"{name.partition('/')[0]}/NAME" for name in known.keys() - set(whole)})
            next_move = "use one of these; what belongs to a family that the run lacks needs evaluate.families"
            raise UsageError(
                problem(
                    f"a metric of {', '.join((*whole, *of_each))}",
                    metric,
                    where=f"--metric, {self.folder}",
                    next_move=next_move,
                )
            )
        return known[metric]


def compare_runs(
    folders: Sequence[Path], *, metric: str | None = None, part: str | None = None, by: Sequence[str] = ()
) -> tuple[list[Compared], str, str]:
    """Return the runs side by side, the metric and the part.

    The paired differences resample the groups of the first run, the same ones for both; with m comparisons each
    interval has level 1 − (1 − confidence) / m (Bonferroni), so that all hold together. The p-values are adjusted by
    Holm's procedure, which keeps the same promise for the question of a difference alone and misses fewer.

    Args:
        folders: run folders, the one to compare with first.
        metric: a key of evaluation.json, such as `mean_dice`, `mean_hd95`, `ece` or `iou/NAME`; default: the one by
            which the first run was chosen.
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
    part = part or _part(runs)
    tables = _shared(runs, part)
    fields = _fields(runs, by)
    statistics = _statistics(runs, tables, metric)
    spec, count = runs[0].recipe.evaluate, len(runs) - 1
    groups = counts_and_groups(tables[0], len(runs[0].recipe.data.to_categories()))[1]
    n, options = len(groups), dict[str, Any](groups=groups, samples=spec.samples)
    scores = [bootstrap(one, n, confidence=spec.confidence, rng=_rng(), **options) for one in statistics]
    level = 1 - (1 - spec.confidence) / max(1, count)
    first, others = statistics[0], statistics[1:]
    differences = [paired_difference(one, first, n, confidence=level, rng=_rng(), **options) for one in others]
    p_values = holm([difference_p_value(one, first, n, rng=_rng(), **options) for one in others])
    compared = [
        Compared(run.folder, own, score, difference, p_value, _by_fold(run, metric))
        for run, own, score, difference, p_value in zip(
            runs, fields, scores, [None, *differences], [None, *p_values], strict=True
        )
    ]
    return compared, metric, part


def _statistics(runs: Sequence[_Run], tables: Sequence[pl.DataFrame], metric: str) -> list[Statistic]:
    """Return the metric of each run, after a look at whether it is the same one."""
    found = [run.statistic(table, metric) for run, table in zip(runs, tables, strict=True)]
    for run, (definition, _) in zip(runs, found, strict=True):
        if definition != found[0][0]:
            raise DataError(
                problem(
                    f"{metric} of one definition: {found[0][0]}",
                    definition,
                    where=f"{run.folder} against {runs[0].folder}",
                    next_move="score one of the runs again with the other's evaluate section: --set evaluate.… --redo",
                )
            )
    return [statistic for _, statistic in found]


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
    bins = paths.predictions / "calibration.parquet"
    found = read_table(bins) if bins.is_file() else None
    return _Run(folder, load_recipe(recipe), read_table(table), found, members)


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


def _by_fold(run: _Run, metric: str) -> list[tuple[int, float, float]]:
    path = RunFolder(run.folder).predictions / "members.json"
    members = read_json(path) if path.is_file() else {}
    rows = run.table.filter(pl.col("part") == "oof")
    found = []
    for fold in sorted(rows["fold"].drop_nulls().unique().to_list()):
        own = rows.filter(pl.col("fold") == fold)
        value = float(run.statistic(own, metric)[1](np.ones((1, own["image"].n_unique())))[0])
        alone = members.get(f"holdout-fold-{fold}", {}).get(metric, {}).get("value")
        found.append((fold, value, float("nan") if alone is None else float(alone)))
    return found

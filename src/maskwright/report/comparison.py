"""One page that puts runs side by side: scores and differences, categories, recipes, curves, the images that differ."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, write_text
from maskwright.pictures import curves
from maskwright.report.anonymous import hidden_value, hide
from maskwright.report.blocks import (
    DASH,
    Chart,
    Group,
    Picture,
    Section,
    Strip,
    Table,
    chart,
    number,
    plural,
    with_interval,
)
from maskwright.report.collect import Artifacts, collect, css, image_scores
from maskwright.report.compare import Compared
from maskwright.report.families import part_word
from maskwright.report.gallery import Gallery
from maskwright.report.page import render_page
from maskwright.report.words import metric_name
from maskwright.types import Array, LabelMap

_CURVES = ("loss", "mean_dice", "pooled_miou")

Readers = tuple[Callable[[Path], Array], Callable[[Path], LabelMap]]
"""What reads an image, and what reads a mask, of one run."""


@dataclass(frozen=True)
class _Beside:
    """A run on the page; `gallery` is None of fused runs, which have no data of their own."""

    name: str
    found: Compared
    gallery: Gallery | None

    @property
    def artifacts(self) -> Artifacts | None:
        return None if self.gallery is None else self.gallery.artifacts


def write_comparison(
    path: Path,
    compared: Sequence[Compared],
    metric: str,
    part: str,
    readers: Callable[[Path], Readers],
    *,
    examples: int = 6,
    anonymous: bool = False,
) -> None:
    """Write a page that opens offline and asks nothing of any network.

    Args:
        path: the HTML file.
        compared: as `compare_runs` returns them, the one to compare with first.
        metric: that they are compared by.
        part: `oof` or `holdout`.
        readers: from a run folder to what reads its images and masks.
        examples: images shown of each run that the first beats, and that beats the first.
        anonymous: no file, folder or command is named; runs and images are numbers, the same image in all runs one.
    """
    found = [collect(one.run) if RunFolder(one.run).recipe.is_file() else None for one in compared]
    names = _names(compared)
    if anonymous:
        every_image = dict.fromkeys(image for one in found if one is not None for image in one.index["image"])
        found = [one and hide(one, list(every_image)) for one in found]
        names = [f"run {number}" for number in range(1, len(compared) + 1)]
        compared = [_without_names(one) for one in compared]
    runs = [
        _Beside(name, one, None if artifacts is None else Gallery(artifacts, *readers(artifacts.folder)))
        for name, one, artifacts in zip(names, compared, found, strict=True)
    ]
    every = [
        Section("summary", "In short", groups=[Group("What the difference is", list(_told(runs, metric, part)))]),
        Section("scores", "Scores", _HOLD, [Group(_headed(metric_name(metric)), tables=[_scores(runs, metric)])]),
        _recipes(runs),
        _by_category(runs, part),
        _training(runs),
        _pictures(runs, part, examples),
        _made(runs),
    ]
    lead = f"{plural(compared[0].score.n, 'image')} that all runs scored, {part_word(part)}."
    title = f"{plural(len(runs), 'run')} side by side"
    folder = ", ".join(str(run.found.run) for run in runs)
    write_text(path, render_page(title, lead, folder, [section for section in every if section is not None]))


_HOLD = ("Differences are to the first run, on the same images, paired; their intervals hold together.",)


def _without_names(compared: Compared) -> Compared:
    fields = {field: hidden_value(field, value) for field, value in compared.fields.items()}
    return replace(compared, run=Path("RUN"), fields=fields)


def _names(compared: Sequence[Compared]) -> list[str]:
    """Return what runs are called: their folders' names, whole where two have one name."""
    names = [one.run.resolve().name for one in compared]
    return [name if names.count(name) == 1 else str(one.run) for name, one in zip(names, compared, strict=True)]


def _told(runs: Sequence[_Beside], metric: str, part: str) -> list[str]:
    """Return in words which run is better, and whether that may be chance."""
    first, name = runs[0], metric_name(metric)
    words = [f"{first.name} has a {name} of {_interval(first.found)}, {part_word(part)}."]
    for run in runs[1:]:
        gap = run.found.difference
        assert gap is not None, "all but the first are compared with it"
        told = f"{run.name} has {_interval(run.found)}: {gap.value:+.4f}"
        if not (math.isfinite(gap.low) and math.isfinite(gap.high)):
            words.append(f"{told}, without an interval: it may be chance.")
        elif gap.low <= 0 <= gap.high:
            words.append(f"{told} ({gap.low:+.4f} to {gap.high:+.4f}): it may be chance.")
        else:
            words.append(f"{told} ({gap.low:+.4f} to {gap.high:+.4f}): more than chance on images like these.")
    return words


def _interval(found: Compared) -> str:
    score = found.score
    known = math.isfinite(score.low) and math.isfinite(score.high)
    return number(score.value, 4) + (f" ({number(score.low, 4)} to {number(score.high, 4)})" if known else "")


def _scores(runs: Sequence[_Beside], metric: str) -> Table:
    rows = []
    for run in runs:
        gap, p = run.found.difference, run.found.p_value
        between = DASH if gap is None else f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})"
        rows.append((run.name, _interval(run.found), between, DASH if p is None else f"{p:.4f}"))
    return Table(
        f"{_headed(metric_name(metric))} of each run", ("run", "score (interval)", "difference to the first", "p"), rows
    )


def _recipes(runs: Sequence[_Beside]) -> Section | None:
    fields = list(runs[0].found.fields)
    if not fields:
        return Section("recipes", "Recipes", ["The recipes differ in nothing that changes a number."])
    rows = [(field, *(_value(run.found.fields[field]) for run in runs)) for field in fields]
    head = ("field", *(run.name for run in runs))
    table = Table("Fields in which the recipes differ", head, rows, frozenset(range(len(head))))
    return Section("recipes", "Recipes", groups=[Group("Where the recipes differ", tables=[table])])


def _value(value: Any) -> str:
    return DASH if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _by_category(runs: Sequence[_Beside], part: str) -> Section | None:
    """Return the Dice and IoU of each category in each run."""
    known = [(run.name, run.artifacts) for run in runs if run.artifacts is not None]
    if not known:
        return None
    categories = known[0][1].categories
    tables = []
    for metric in ("dice", "iou"):
        rows = [
            (name, *(with_interval(artifacts.score(metric, part, name)) for _, artifacts in known))
            for name in categories.names
        ]
        if any(cell != DASH for row in rows for cell in row[1:]):
            colors = [css(category.color) for category in categories.items]
            head = ("category", *(name for name, _ in known))
            tables.append(Table(f"{_headed(metric_name(metric))} of each category", head, rows, colors=colors))
    return Section("categories", "Category by category", groups=[Group("Scores", tables=tables)]) if tables else None


def _training(runs: Sequence[_Beside]) -> Section | None:
    """Return the curves of the first round, the mean of the folds that were measured at a step."""
    charts = list[Chart]()
    for column in _CURVES:
        series = {}
        for run in runs:
            tables = {} if run.artifacts is None else run.artifacts.curves
            own = [
                table.select("step", column) for (r, _), table in tables.items() if not r and column in table.columns
            ]
            if own:
                known = pl.concat(own).with_columns(pl.col(column).fill_nan(None)).drop_nulls()
                mean = known.group_by("step").agg(pl.col(column).mean()).sort("step")
                if mean.height:
                    series[run.name] = mean["step"].to_numpy(), mean[column].to_numpy()
        if series:
            name = _headed("loss" if column == "loss" else metric_name(column))
            alt = f"{name} over training steps, a line for each run, the mean of its folds"
            charts.append(chart(curves(series, x="step", y=name, alt=alt), f"{name}, mean of the folds"))
    return Section("training", "Training", groups=[Group("Curves", charts=charts)]) if charts else None


def _headed(words: str) -> str:
    """Return words as they begin a line."""
    return words[:1].upper() + words[1:]


def _pictures(runs: Sequence[_Beside], part: str, most: int) -> Section | None:
    """Return the images on which the first run and each other differ most, in both directions."""
    first, groups = runs[0], list[Group]()
    categories = None if first.artifacts is None else first.artifacts.categories
    counted = [] if categories is None else [categories.items[position] for position in categories.evaluated]
    legend = [(css(category.color), category.name) for category in counted]
    for other in runs[1:]:
        gaps = _gaps(first, other, part)
        if gaps is None:
            continue
        for title, rows in (
            (
                f"Where {other.name} is better",
                gaps.filter(pl.col("gap") > 0).sort("gap", "image", descending=[True, False]),
            ),
            (f"Where {first.name} is better than {other.name}", gaps.filter(pl.col("gap") < 0).sort("gap", "image")),
        ):
            strips = [_strip(first, other, row) for row in rows.head(most).iter_rows(named=True)]
            groups += [Group(title, strips=strips, legend=legend)] if strips else []
    return Section("images", "Images on which they differ most", groups=groups) if groups else None


def _gaps(first: _Beside, other: _Beside, part: str) -> pl.DataFrame | None:
    """Return the Dice of both on each image of a part, and by how much the second has more."""
    tables = []
    for run in (first, other):
        artifacts = run.artifacts
        if artifacts is None or artifacts.per_image is None:
            return None
        scores = image_scores(artifacts.per_image, artifacts.categories).filter(pl.col("part") == part)
        tables.append(scores.select("image", "dice"))
    return tables[0].join(tables[1], "image", suffix="_other").with_columns(gap=pl.col("dice_other") - pl.col("dice"))


def _strip(first: _Beside, other: _Beside, row: dict[str, Any]) -> Strip:
    assert first.gallery is not None and other.gallery is not None, "only such runs have scores of images"
    name = str(row["image"])
    note = f"Dice {number(row['dice'])} by {first.name}, {number(row['dice_other'])} by {other.name}"
    digest = hashlib.blake2b(f"{other.name} {name}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def pictures() -> list[Picture]:
        assert first.gallery is not None and other.gallery is not None
        return first.gallery.beside(name, {first.name: first.gallery, other.name: other.gallery})

    return first.gallery.strip(name, note, pictures, switch=f"show-{digest}")


def _made(runs: Sequence[_Beside]) -> Section:
    """Return where the runs lie, and what made them."""
    rows = []
    for run in runs:
        note = {} if run.artifacts is None or run.artifacts.run is None else run.artifacts.run
        versions = note.get("versions") or {}
        commands = "; ".join(map(str, (note.get("command") or DASH, *note.get("later", ()))))
        rows.append((run.name, str(run.found.run), commands, str(versions.get("maskwright", DASH))))
    table = Table("What made them", ("run", "folder", "command", "maskwright"), rows, frozenset({0, 1, 2, 3}))
    return Section("again", "Make them again", groups=[Group("Commands", tables=[table])])

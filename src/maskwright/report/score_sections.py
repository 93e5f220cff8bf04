"""How good the model is: over all categories, one by one, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from maskwright.pictures import bars, confusion, histogram
from maskwright.report.blocks import (
    DASH,
    Chart,
    Group,
    Section,
    Table,
    chart,
    count,
    listing,
    number,
    percent,
    plural,
    with_interval,
)
from maskwright.report.collect import PARTS, Artifacts, Score, image_scores, swatches
from maskwright.report.collect import number as to_float
from maskwright.report.families import (
    FIRST,
    by_family,
    calibration,
    family_of,
    family_tables,
    farthest,
    part_word,
    parts_of,
)
from maskwright.report.gallery import Gallery
from maskwright.report.member_sections import ensemble
from maskwright.report.tuned_sections import tuned_group
from maskwright.report.words import category_scores, confusions, metric_name

MOST_BARS = 40
_DIVIDED = ("mean_dice", "pooled_miou")
"""Metrics that are shown for each domain, part and source; evaluation.json has all."""


def scores(artifacts: Artifacts) -> Section | None:
    """Return the scores over all categories, with intervals, and what was tuned."""
    overall = [s for s in artifacts.scores if not s.category]
    if not overall:
        return None
    metrics = list(dict.fromkeys(s.metric for s in overall))
    parts = parts_of(overall)
    words = ["Brackets hold the interval. A dash means that the number is not defined."]
    if same := _headline_is(overall):
        parts.remove("")
        words.append(f"The headline numbers are those of: {PARTS.get(same, same).lower()}.")
    level = (artifacts.recipe.get("evaluate") or {}).get("confidence", 0.95)
    head = ("metric", *(_part_title(artifacts, p, overall) for p in parts))
    tables = [
        Table(
            f"{title} with {100 * float(level):.0f} % intervals",
            head,
            [(metric_name(m), *(with_interval(artifacts.score(m, p)) for p in parts)) for m in own],
        )
        for title, own in by_family(metrics).items()
    ]
    groups = [Group("All categories together", tables=tables)]
    groups += ensemble(artifacts)
    groups += calibration(artifacts)
    groups += _divided(artifacts)
    definitions = {s.metric: s.definition for s in reversed(overall) if s.definition}
    if definitions:
        rows = [(metric_name(m), definitions[m]) for m in metrics if m in definitions]
        groups.append(
            Group(
                "Definitions", tables=[Table("What the metrics are", ("metric", "definition"), rows, frozenset({0, 1}))]
            )
        )
    if artifacts.tuned is not None:
        groups.append(tuned_group(artifacts.tuned))
    if left := sorted(artifacts.categories.left_out):
        words.append(f"Left out of the means: {listing(left)}.")
    return Section("scores", "Scores", words, groups)


def _divided(artifacts: Artifacts) -> list[Group]:
    """Return the scores of each domain, part and source of labels alone."""
    found = {(s.part, s.metric, s.within): s for s in artifacts.divided if s.part}
    columns = list(dict.fromkeys((part, metric) for part, metric, _ in found if metric in _DIVIDED))
    tables = []
    for column in dict.fromkeys(within.partition("=")[0] for *_, within in found):
        rows = []
        for within in dict.fromkeys(w for *_, w in found if w.partition("=")[0] == column):
            numbers = dict.fromkeys((s.part, s.n) for s in found.values() if s.within == within)
            images = ", ".join(f"{count(n or 0)} {part_word(part)}" for part, n in numbers)
            cells = (with_interval(found.get((part, metric, within))) for part, metric in columns)
            rows.append((within.partition("=")[2], images, *cells))
        head = (column.replace("_", " "), "images", *(f"{metric_name(m)}, {part_word(p)}" for p, m in columns))
        tables.append(Table(f"By {column.replace('_', ' ')}", head, rows, frozenset({0, 1})))
    words = ["Intervals that don’t overlap speak for a difference; with few images or groups they are wide."]
    return [Group("Domains, parts and sources of labels", words, tables=tables)] if tables else []


def _headline_is(found: Sequence[Score]) -> str:
    """Return the part that all headline numbers come from, or ""."""
    own = {s.metric: s.value for s in found if not s.part}
    for part in dict.fromkeys(s.part for s in found if s.part):
        there = {s.metric: s.value for s in found if s.part == part}
        if own and all(m in there and (v == there[m] or (v != v and there[m] != there[m])) for m, v in own.items()):
            return part
    return ""


def _part_title(artifacts: Artifacts, part: str, found: Sequence[Score]) -> str:
    n = max((s.n or 0 for s in found if s.part == part), default=0)
    return PARTS.get(part, part) + (f", {plural(n, 'image')}" if n else "")


def categories(artifacts: Artifacts) -> Section | None:
    """Return the scores of each category and what is taken for what."""
    found = (_category_table(artifacts), *family_tables(artifacts), *_confusions(artifacts))
    groups = [g for g in found if g is not None]
    return Section("categories", "Categories one by one", groups=groups) if groups else None


def _category_table(artifacts: Artifacts) -> Group | None:
    single = [s for s in artifacts.scores if s.category and family_of(s.metric) == FIRST]
    single = [s for s in single if s.metric in ("iou", "dice")] or single
    means = _image_means(artifacts)
    if not single and not means:
        return None
    columns = dict.fromkeys((s.metric, s.part) for s in single)
    if any(part for _, part in columns):
        columns = {c: None for c in columns if c[1]}
    shares = {}
    if artifacts.classes is not None:
        shares = {r["category"]: r for r in artifacts.classes.iter_rows(named=True)}
    head = ["category", "images", "share of pixels", *(f"{metric_name(m)}, {part_word(p)}" for m, p in columns)]
    head += [f"{what} per image, {part_word(part)}" for part in means for what in ("precision", "recall")]
    rows = []
    for name in artifacts.categories.names:
        share = shares.get(name, {})
        row = [name, count(to_float(share.get("images"))), percent(to_float(share.get("pixel_share")))]
        row += [with_interval(artifacts.score(m, p, name)) for m, p in columns]
        for mean in means.values():
            row += [number(to_float(v)) for v in mean.get(name, (None, None))]
        rows.append(row)
    table = Table("Scores of each category", head, rows, colors=swatches(artifacts, artifacts.categories.names))
    return Group("Scores", tables=[table], charts=_category_chart(artifacts))


def _category_chart(artifacts: Artifacts) -> list[Chart]:
    found = sorted(category_scores(artifacts), key=lambda s: (math.isnan(s.value), s.value))[:MOST_BARS]
    if len(found) < 2:
        return []
    name = f"{metric_name(found[0].metric)}, {part_word(found[0].part)}"
    svg = bars(
        [s.category for s in found],
        [s.value for s in found],
        [s.low for s in found],
        [s.high for s in found],
        x=name,
        alt=f"{name} of each category with its interval, weakest first",
    )
    return [chart(svg, f"{name}, weakest first")]


def _image_means(artifacts: Artifacts) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    table = artifacts.per_image
    if table is None or not {"part", "precision", "recall"} <= set(table.columns):
        return {}
    values = [pl.col(c).cast(pl.Float64).fill_nan(None).mean() for c in ("precision", "recall")]
    means: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for part, category, precision, recall in table.group_by("part", "category").agg(values).sort("part").iter_rows():
        means.setdefault(str(part), {})[str(category)] = precision, recall
    return {p: means[p] for p in sorted(means, key=lambda p: (list(PARTS).index(p) if p in PARTS else 9, p))}


def _confusions(artifacts: Artifacts) -> list[Group]:
    found = artifacts.confusion
    if found is None:
        return []
    names = [str(n) for n in found["categories"]]
    groups = []
    for part in ("oof", "holdout"):
        if not found.get(part):
            continue
        matrix = np.asarray(found[part], float)
        columns = [*names, "nothing"][: matrix.shape[1]]
        word = part_word(part)
        alt = f"Confusion matrix, {word}: rows are the true category, columns the predicted one, in percent of the row"
        caption = f"Percent of each true category’s pixels, {word}"
        picture = chart(confusion(matrix, names, columns, alt=alt), caption, shrink=0.9)
        rows = [(t, p, percent(share)) for t, p, share in confusions(artifacts, 0.02, part)[:10]]
        head = ("true", "predicted", "share of the true pixels")
        table = Table(f"Largest mix-ups, {word}", head, rows, frozenset({0, 1}))
        groups.append(Group(f"What is taken for what, {word}", tables=[table] if rows else [], charts=[picture]))
    return groups


def examples(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> Section | None:
    """Return single images: how their scores spread, and the worst, median and best ones."""
    if artifacts.per_image is None:
        return None
    table = image_scores(artifacts.per_image, artifacts.categories)
    if not table.height:
        return None
    alt = f"How the Dice of {plural(table.height, 'image')} spreads from 0 to 1"
    spread = chart(
        histogram(table["dice"].to_numpy(), span=(0, 1), x="Dice of an image", alt=alt), "Dice of the images"
    )
    lowest = table.head(50)
    keys = [c for c in ("image", "part", "group", "fold", "dice") if c in lowest.columns]
    rows = [
        [number(r[c]) if c == "dice" else DASH if r[c] is None else str(r[c]) for c in keys]
        for r in lowest.iter_rows(named=True)
    ]
    words = frozenset(n for n, c in enumerate(keys) if c != "dice")
    groups = [Group("How they spread", charts=[spread])]
    groups += gallery.examples(thumbnails)
    groups += farthest(artifacts, gallery, thumbnails)
    groups.append(Group("Lowest scores", tables=[Table("The lowest scores", keys, rows, words)], folded=True))
    groups = [Group(**{**vars(g), "legend": gallery.legend()}) if g.strips else g for g in groups]
    return Section("images", "Worst, median and best images", ["Dice here is the mean over the categories."], groups)

"""Scores beyond those of pixel counts: boundaries, calibration, segments and instances, each with its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from maskwright.pictures import reliability
from maskwright.report.blocks import DASH, Group, Table, chart, number, percent, with_interval
from maskwright.report.collect import PARTS, Artifacts, Score, image_distances, swatches
from maskwright.report.gallery import Gallery
from maskwright.report.words import metric_name

FIRST = "Scores"
"""The family of pixel counts."""

_FAMILIES = {
    "Boundaries": ("boundary_iou", "boundary_f", "nsd", "hausdorff", "hd95", "dental_score"),
    "Calibration": ("ece", "mce"),
    "Panoptic quality": ("pq", "sq", "rq", "pq_dagger", "precision_at_iou_50"),
    "Instances": ("ap", "ap50", "sbd", "count_difference"),
}


def family_of(metric: str) -> str:
    """Return the family of a metric of evaluation.json, as its table is called.

    Example:
        >>> family_of("mean_hd95"), family_of("pq_things"), family_of("pooled_miou")
        ('Boundaries', 'Panoptic quality', 'Scores')
    """
    stem = metric.removeprefix("mean_").removesuffix("_things").removesuffix("_stuff")
    return next((family for family, own in _FAMILIES.items() if stem in own), FIRST)


def by_family(metrics: Iterable[str]) -> dict[str, list[str]]:
    """Return family → its metrics, in the order in which both come up first."""
    found: dict[str, list[str]] = {}
    for metric in metrics:
        found.setdefault(family_of(metric), []).append(metric)
    return found


def parts_of(found: Sequence[Score]) -> list[str]:
    """Return the parts that scores are of, the headline first."""
    have = {s.part for s in found}
    return [*(p for p in PARTS if p in have), *sorted(have - set(PARTS))]


def part_word(part: str) -> str:
    """Return a part in two words."""
    return {"": "headline", "oof": "out of fold", "holdout": "held out"}.get(part, part)


def family_tables(artifacts: Artifacts) -> list[Group]:
    """Return the scores of single categories, a group a family but that of pixel counts."""
    single = [s for s in artifacts.scores if s.category]
    groups = []
    for family, metrics in by_family(dict.fromkeys(s.metric for s in single)).items():
        own = [s for s in single if s.metric in metrics]
        parts = [p for p in parts_of(own) if p] or [""]
        if family == FIRST:
            continue
        columns = [(metric, part) for metric in metrics for part in parts]
        names = [n for n in artifacts.categories.names if any(s.category == n for s in own)]
        rows = [[name, *(with_interval(artifacts.score(m, p, name)) for m, p in columns)] for name in names]
        head = ("category", *(f"{metric_name(m)}, {part_word(p)}" for m, p in columns))
        table = Table(f"{family} of each category", head, rows, colors=swatches(artifacts, names))
        groups.append(Group(family, tables=[table]))
    return groups


def calibration(artifacts: Artifacts) -> list[Group]:
    """Return how far the probabilities can be believed: a reliability diagram of each part, and its bins."""
    table = artifacts.calibration
    if table is None or not table.height:
        return []
    charts, tables = [], []
    for part in (p for p in PARTS if p in table["part"].unique().to_list()):
        sums = (
            table.filter(pl.col("part") == part)
            .group_by("low", "high")
            .agg(pl.col("pixels", "right", "confidence").sum())
        )
        bins = sums.sort("low").with_columns(
            pl.col("right", "confidence") / pl.when(pl.col("pixels") > 0).then(pl.col("pixels"))
        )
        confidence, accuracy = (bins[name].fill_null(np.nan).to_numpy() for name in ("confidence", "right"))
        share = bins["pixels"].to_numpy() / max(1, bins["pixels"].sum())
        word = part_word(part)
        alt = f"Accuracy over confidence, {word}: on the diagonal, probabilities mean what they say"
        charts.append(chart(reliability(confidence, accuracy, share, alt=alt), f"Reliability, {word}"))
        rows = [
            (f"{low:.3g} to {high:.3g}", percent(own), number(sure), number(right))
            for low, high, own, sure, right in zip(bins["low"], bins["high"], share, confidence, accuracy, strict=True)
        ]
        head = ("confidence", "share of the pixels", "mean confidence", "accuracy")
        tables.append(Table(f"Bins of confidence, {word}", head, rows))
    words = ["Below the diagonal the network is surer than it is right; above it, it could be surer."]
    return [Group("Calibration", words, charts=charts), Group("Bins of confidence", tables=tables, folded=True)]


def farthest(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> list[Group]:
    """Return the images whose boundaries are farthest off, where distances were measured."""
    if artifacts.per_image is None:
        return []
    table = image_distances(artifacts.per_image, artifacts.categories)
    if not table.height:
        return []
    keys = [c for c in table.columns if c != "hd95"]
    rows = [
        [*(DASH if r[c] is None else str(r[c]) for c in keys), number(r["hd95"], 1)]
        for r in table.head(50).iter_rows(named=True)
    ]
    listed = Table("The farthest boundaries", (*keys, "HD95, pixels"), rows, frozenset(range(len(keys))))
    groups = gallery.farthest(table, thumbnails)
    return [*groups, Group("Farthest boundaries, listed", tables=[listed], folded=True)]

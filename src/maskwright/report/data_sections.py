"""What the data is, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import DECIDED, RunFolder, read_table
from maskwright.decisions import LOG, read_decisions, settled
from maskwright.errors import DataError
from maskwright.pictures import bars
from maskwright.report.blocks import DASH, Chart, Group, Section, Table, chart, count, listing, number, percent, plural
from maskwright.report.collect import Artifacts, swatches
from maskwright.report.collect import number as to_float
from maskwright.report.gallery import Gallery, audit_pictures
from maskwright.report.overview import overview_groups

FIRST_ROWS = 20
"""Rows of each kind of finding that are shown."""
MOST_BARS = 40
SEVERITIES = ("error", "warning", "note")


def data(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> Section:
    """Return what the data is and what is wrong with it."""
    index = artifacts.index
    facts = [
        f"{plural(index.height, 'image')}, {count(artifacts.labelled)} of them with labels"
        + ("." if artifacts.hidden else f", from {artifacts.root}.")
    ]
    for column, noun in (("group", "group"), ("domain", "domain"), ("part", "part")):
        if column in index.columns and (n := index[column].drop_nulls().n_unique()) > 1:
            facts.append(f"They come from {plural(n, noun)}.")
    if index.height and {"width", "height"} <= set(index.columns):
        sizes = index.group_by("width", "height").len().sort("len", descending=True)
        width, height, many = sizes.row(0)
        size = f"{width} × {height} pixels"
        several = f"They have {count(sizes.height)} sizes; the most common, in {plural(many, 'image')}, is {size}."
        facts.append(f"All are {size}." if sizes.height == 1 else several)
    if begun := _begun_with_predictions(artifacts):
        told = f"{plural(begun, 'mask')} began with a prediction that people corrected"
        facts.append(f"{told}: scores by them favour networks like the one that made it.")
    every = (class_shares(artifacts), *overview_groups(artifacts), *finding_groups(artifacts, gallery, thumbnails))
    groups = [g for g in every if g is not None]
    if strips := audit_pictures(artifacts):
        groups.append(Group("Pictures of the audit", strips=strips, folded=True))
    return Section("data", "The data, and what is wrong with it", facts, groups)


def _begun_with_predictions(artifacts: Artifacts) -> int:
    """Return how many masks that the run learned from began with a prediction, as far as its log says."""
    decided = RunFolder(artifacts.folder).decided / "images.parquet"
    try:
        answers = settled(read_decisions(artifacts.folder / LOG)).values()
        masks = dict(read_table(decided).select("image", "mask").iter_rows()) if decided.is_file() else {}
    except (DataError, pl.exceptions.PolarsError):  # that the next command says; this page shows what there is
        return 0
    return len({d.image for d in answers if d.begun_with and str(masks.get(d.image)).startswith(DECIDED)})


def class_shares(artifacts: Artifacts) -> Group | None:
    """Return how often and how large the categories are."""
    if artifacts.classes is None:
        return None
    rows = artifacts.classes.to_dicts()
    table = Table(
        "Categories in the labelled images",
        ("category", "images", "share of images", "share of pixels", "objects", "median area (pixels)"),
        [
            (
                str(r["category"]),
                count(to_float(r.get("images"))),
                percent(to_float(r.get("image_share"))),
                percent(to_float(r.get("pixel_share"))),
                count(to_float(r.get("objects"))),
                count(to_float(r.get("median_area"))),
            )
            for r in rows
        ],
        colors=swatches(artifacts, [str(r["category"]) for r in rows]),
    )
    return Group("Categories", tables=[table], charts=[_shares(rows, "pixel"), _shares(rows, "image")])


def _shares(rows: list[dict[str, Any]], kind: str) -> Chart:
    """Return the shares of pixels, or of images that a category occurs in, the largest first."""
    top = sorted(rows, key=lambda r: -np.nan_to_num(to_float(r.get(f"{kind}_share"))))[:MOST_BARS]
    names, shares = [str(r["category"]) for r in top], [100 * to_float(r.get(f"{kind}_share")) for r in top]
    alt = f"Percent of the {kind}s of each category"
    return chart(bars(names, shares, x=f"percent of the {kind}s", digits=1, alt=alt), f"Share of {kind}s")


def finding_groups(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> list[Group]:
    """Return the findings of the audit: an overview, then each kind with its first rows and pairs."""
    found = artifacts.findings
    if found is None:
        return []
    if not found.height:
        return [Group("Findings", words=["The audit, which trains nothing, found nothing wrong."])]
    kinds = found.group_by("severity", "kind").agg(
        pl.len(),
        pl.col("image").n_unique().alias("images"),
        (pl.col("decision").fill_null("") == "").sum().alias("open"),
    )
    rows = sorted(kinds.rows(named=True), key=lambda r: (_rank(r["severity"]), -r["len"], r["kind"]))
    table = Table(
        "Findings by kind",
        ("kind", "severity", "findings", "images", "without decision"),
        [(_words(r["kind"]), r["severity"], count(r["len"]), count(r["images"]), count(r["open"])) for r in rows],
        frozenset({0, 1}),
    )
    words = [
        f"The audit has {plural(found.height, 'finding')}: "
        + listing(
            [plural(int((found["severity"] == s).sum()), s) for s in SEVERITIES if (found["severity"] == s).any()]
        )
        + "."
    ]
    return [
        Group("Findings", words=words, tables=[table]),
        *(_finding_group(found, r["severity"], r["kind"], gallery, thumbnails) for r in rows),
    ]


def _finding_group(found: pl.DataFrame, severity: str, kind: str, gallery: Gallery, thumbnails: int) -> Group:
    rows = found.filter((pl.col("kind") == kind) & (pl.col("severity") == severity))
    title = f"{_words(kind).capitalize()}: {plural(rows.height, severity)}"
    first = rows.head(FIRST_ROWS)
    shown = f", the first {FIRST_ROWS}" if rows.height > FIRST_ROWS else ""
    table = Table(
        f"{_words(kind).capitalize()}{shown}",
        ("image", "other image", "value", "detail", "decision"),
        [
            (
                r["image"],
                r["other_image"] or DASH,
                number(to_float(r["value"])),
                r["detail"] or "",
                r["decision"] or DASH,
            )
            for r in first.iter_rows(named=True)
        ],
        frozenset({0, 1, 3, 4}),
    )
    words = [f"All rows are in {gallery.artifacts.told}/audit/findings.parquet."] if shown else []
    return Group(title, words, [table], strips=gallery.pairs(rows, thumbnails), folded=severity != "error")


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _words(kind: str) -> str:
    return kind.replace("_", " ")

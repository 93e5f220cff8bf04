"""What the audit says of all images together: outliers, objects, parts and domains, styles of label sources."""

from __future__ import annotations

import numpy as np
import polars as pl

from maskwright.pictures import boxes, histogram, quantiles
from maskwright.report.blocks import Group, Table, chart, count, number, percent, plural
from maskwright.report.collect import Artifacts, swatches
from maskwright.report.collect import number as to_float

_CATEGORIES = 40
"""Categories that a chart shows."""


def overview_groups(artifacts: Artifacts) -> list[Group]:
    """Return the groups that the audit's tables allow."""
    found = (_outliers(artifacts), _objects(artifacts), _ratios(artifacts), _parts(artifacts), _styles(artifacts))
    return [group for group in found if group is not None]


def distance_plot(outliers: pl.DataFrame) -> str | None:
    """Return the Mahalanobis distances against the quantiles of the χ² that the cut was taken from, as SVG text."""
    from scipy.stats import chi2

    known = outliers["mahalanobis"].drop_nulls().sort().to_numpy()
    if not len(known):
        return None
    freedom, scale, cut = (float(outliers[name].drop_nulls()[0]) for name in ("freedom", "scale", "mahalanobis_cut"))
    expected = scale * chi2.ppf((np.arange(len(known)) + 0.5) / len(known), freedom)
    beyond = int((known > cut).sum())
    return quantiles(
        expected,
        known,
        cut=cut,
        x=f"quantile of {scale:.2f} · χ²({freedom:.1f})",
        y="Mahalanobis distance²",
        alt=f"Distances of {len(known)} images against what is expected; {beyond} lie above the cut of {cut:.3g}",
    )


def objects_plot(objects: pl.DataFrame, skip: frozenset[str] = frozenset({"background"})) -> str | None:
    """Return how many objects images have, all categories but background together, as SVG text."""
    counted = objects.filter(~pl.col("category").is_in(list(skip)))
    if not counted.height:
        return None
    empty = objects["image"].n_unique() - counted["image"].n_unique()
    numbers = np.append(counted.group_by("image").agg(pl.col("objects").sum())["objects"].to_numpy(), [0] * empty)
    top = int(numbers.max())
    bins = min(top + 1, 40)
    alt = f"Objects an image: median {np.median(numbers):.0f}, at most {top}"
    return histogram(numbers, bins=bins, span=(-0.5, top + 0.5), x="objects in an image", alt=alt)


def sizes_plot(sizes: pl.DataFrame) -> str | None:
    """Return box plots of the objects' areas by category, as SVG text."""
    top = sizes.sort("objects", descending=True).head(_CATEGORIES)
    if not top.height:
        return None
    alt = "Areas of objects by category: median, quartiles, and the range within 1.5 interquartile ranges"
    return boxes(top["category"].to_list(), top.to_dicts(), x="area of an object (pixels)", alt=alt)


def _outliers(artifacts: Artifacts) -> Group | None:
    table = artifacts.overview.get("outliers")
    if table is None or not table.height:
        return None
    words = []
    for kind, name in (("mahalanobis", "Mahalanobis distance"), ("one_class_svm", "one-class support vector machine")):
        known = table.drop_nulls(kind)
        if known.height:
            beyond = known.filter(pl.col(kind) > pl.col(f"{kind}_cut")).height
            words.append(f"By {name} {plural(beyond, 'image')} of {count(known.height)} lie beyond the cut.")
    if not words:
        return None
    words.append("They are flagged, and only left out where the recipe says so (audit.outliers.decision).")
    drawn = distance_plot(table)
    charts = (
        [] if drawn is None else [chart(drawn, "Distance of each image against what is expected; crosses: flagged")]
    )
    return Group("Images unlike the others", words, charts=charts)


def _objects(artifacts: Artifacts) -> Group | None:
    objects, sizes = artifacts.overview.get("objects"), artifacts.overview.get("sizes")
    if objects is None or sizes is None or not sizes.height:
        return None
    names = sizes["category"].to_list()
    table = Table(
        "Areas of objects in pixels, and how many the border cuts off",
        ("category", "objects", "smallest", "quarter", "median", "three quarters", "largest", "touch the border"),
        [
            (
                str(r["category"]),
                count(to_float(r["objects"])),
                *(count(to_float(r[key])) for key in ("smallest", "q1", "median", "q3", "largest")),
                percent(to_float(r["touching_share"])),
            )
            for r in sizes.iter_rows(named=True)
        ],
        colors=swatches(artifacts, names),
    )
    drawn = (
        (objects_plot(objects), "Objects an image, without background"),
        (sizes_plot(sizes), "Areas of objects"),
    )
    return Group("Objects", tables=[table], charts=[chart(svg, words) for svg, words in drawn if svg is not None])


def _ratios(artifacts: Artifacts) -> Group | None:
    ratios = artifacts.overview.get("ratios")
    if ratios is None or not ratios.height:
        return None
    bins = ratios.filter(pl.col("high") > 0).select("low", "high").unique(maintain_order=True).rows()
    rows = []
    for (name,), part in ratios.group_by("category", maintain_order=True):
        counts = {(r["low"], r["high"]): r["images"] for r in part.iter_rows(named=True)}
        rows.append((str(name), *(count(to_float(counts.get(b))) for b in ((0.0, 0.0), *bins))))
    head = ("category", "none", *(f"{100 * low:g}–{100 * high:g} %" for low, high in bins))
    table = Table("Images by the share of their pixels that a category covers", head, rows)
    return Group("Area ratios", tables=[table], folded=True)


def _parts(artifacts: Artifacts) -> Group | None:
    parts = artifacts.overview.get("parts")
    if parts is None or parts.height < 2:
        return None
    looks = ("brightness", "contrast", "redness", "yellowness", "colour")
    table = Table(
        "Parts of the data: medians of their images, and how far they are from the others",
        ("part", "images", "labelled", "width", "height", *looks, "shift", "p"),
        [
            (
                "all" if r["column"] == "all" else f"{r['column']}: {r['name']}",
                *(count(to_float(r[key])) for key in ("images", "labelled", "width", "height")),
                *(number(to_float(r[key])) for key in (*looks, "shift", "p")),
            )
            for r in parts.iter_rows(named=True)
        ],
    )
    words = [
        "Shift is the energy coefficient between a part's images and the others: 0 if they look alike, 1 if they have "
        "nothing in common; p says how often shuffled images are as far apart."
    ]
    return Group("Parts and domains", words, [table])


def _styles(artifacts: Artifacts) -> Group | None:
    styles = artifacts.overview.get("styles")
    if styles is None or not styles.height:
        return None
    tables = []
    for (column,), part in styles.group_by("column", maintain_order=True):
        rows = [
            (
                str(r["statistic"]),
                str(r["source"]),
                count(to_float(r["images"])),
                *(number(to_float(r[key])) for key in ("median", "effect", "p_holm")),
            )
            for r in part.iter_rows(named=True)
        ]
        head = ("statistic", "source", "images", "median", "share of variance", "p after Holm")
        tables.append(Table(f"How masks were drawn, by {str(column).replace('_', ' ')}", head, rows, frozenset({0, 1})))
    words = ["A small p says that sources differ more than chance, not why: they may show other things."]
    return Group("Styles of label sources", words, tables)

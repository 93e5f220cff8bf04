"""Masks that the predictions contradict: what to look at first."""

from __future__ import annotations

import polars as pl

from maskwright.report.blocks import DASH, Group, Section, Table, count, number, percent, plural
from maskwright.report.collect import Artifacts
from maskwright.report.collect import number as to_float
from maskwright.report.data_sections import FIRST_ROWS
from maskwright.report.gallery import Gallery


def suspects(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> Section | None:
    """Return the masks and regions that are probably wrong, None where there are no out-of-fold predictions."""
    images, regions = artifacts.suspect_images, artifacts.suspects
    if images is None or regions is None:
        return None
    words = [
        "Where networks that never saw a mask surely say something else: first the masks that fit better when they are "
        "moved, then by what is contradicted. A sure network can be wrong, too: look before you mend."
    ]
    doubted = images.filter(pl.col("shifted") | (pl.col("score") > 0))
    if not doubted.height:
        return Section("suspects", "Suspect masks", [*words, "Nothing is suspect."])
    return Section(
        "suspects",
        "Suspect masks",
        [*words, f"All rows are in {artifacts.told}/suspects."],
        [
            Group(
                f"Masks: {plural(images.filter('shifted').height, 'seems', 'seem')} shifted",
                tables=[_image_table(doubted.head(FIRST_ROWS))],
                strips=gallery.suspects(doubted, regions, thumbnails),
            ),
            Group(f"Regions: {count(regions.height)}", tables=[_region_table(regions.head(FIRST_ROWS))], folded=True),
        ],
    )


def _image_table(images: pl.DataFrame) -> Table:
    rows = [
        (
            r["image"],
            f"{r['shift_down']:+d} down, {r['shift_right']:+d} right" if r["shifted"] else DASH,
            percent(to_float(r["shift_gain"])) if r["shifted"] else DASH,
            number(to_float(r["score"])),
            percent(to_float(r["share"])),
            count(to_float(r["regions"])),
        )
        for r in images.iter_rows(named=True)
    ]
    head = ("image", "fits best moved by (pixels)", "log loss less", "score", "suspect pixels", "regions")
    return Table("The most suspect masks", head, rows, frozenset({0, 1}))


def _region_table(regions: pl.DataFrame) -> Table:
    rows = [
        (
            r["image"],
            f"{r['top']}–{r['top'] + r['height'] - 1}",
            f"{r['left']}–{r['left'] + r['width'] - 1}",
            r["given"],
            r["suggested"],
            count(r["area"]),
            number(r["score"], 0),
        )
        for r in regions.iter_rows(named=True)
    ]
    head = ("image", "rows", "columns", "drawn as", "predicted as", "pixels", "nats")
    return Table("The most suspect regions", head, rows, frozenset({0, 1, 2, 3, 4}))

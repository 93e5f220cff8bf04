"""The audit's pictures: class shares, and the pairs that it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from maskwright.artifacts import write_bytes, write_text
from maskwright.audit import Audit
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.pictures import bars, encode, fit, overlay, side_by_side, to_rgb8
from maskwright.pipeline.overview_pictures import write_overview_pictures
from maskwright.types import Array

_PAIRS = 8


def write_audit_pictures(folder: Path, index: Index, found: Audit) -> None:
    """Write pixel_shares.svg and image_shares.svg, duplicates.png and conflicts.png where there are any, and the rest.

    The rest is what `write_overview_pictures` draws.
    """
    write_overview_pictures(folder, index, found.tables)
    names = found.classes["category"].to_list()
    for kind in ("pixel", "image"):
        shares = [100 * share for share in found.classes[f"{kind}_share"].to_list()]
        text = f"percent of the {kind}s"
        write_text(folder / f"{kind}_shares.svg", bars(names, shares, x=text, digits=1, alt=f"Categories: {text}"))
    for kind, name in (("duplicate", "duplicates"), ("conflict", "conflicts")):
        rows = found.findings.filter(pl.col("kind").str.starts_with(kind)).head(_PAIRS)
        pairs = [_pair(index, found, row["image"], row["other_image"]) for row in rows.iter_rows(named=True)]
        if pairs:
            write_bytes(folder / f"{name}.png", encode(column(pairs), "png"))


def _pair(index: Index, found: Audit, first: str, second: str) -> Array:
    """Return both images beside each other, labels drawn where there are any that can be used."""
    views = []
    for image in (first, second):
        one = index.only([image])
        pixels, label = to_rgb8(read_image(index.path(image))), one.read_label(0) if image in found.shares else None
        views.append(fit(pixels if label is None else overlay(pixels, label, index.categories.palette()), 240))
    return side_by_side(views, gap=6)


def column(pictures: list[Array]) -> Array:
    """Return pictures below each other, aligned at the left on white."""
    width = max(p.shape[1] for p in pictures)
    padded = [np.pad(p, ((0, 8), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded)

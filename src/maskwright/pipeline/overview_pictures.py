"""The audit's pictures of all images together: maps in which they are seen, distances, objects, sizes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from maskwright.artifacts import write_bytes, write_text
from maskwright.data.images import read_preview, upright
from maskwright.data.index import Index
from maskwright.pictures import encode, fit, thumbnail_map, to_rgb8
from maskwright.report.overview import distance_plot, objects_plot, sizes_plot
from maskwright.types import Array

_DRAWN = 400
"""Images on a map; all that are flagged, as far as they go, and others evenly."""
_SIDE = 56
"""Longer side of an image on a map, in pixels."""


def write_overview_pictures(folder: Path, index: Index, tables: dict[str, pl.DataFrame]) -> None:
    """Write outliers_pca.png, outliers_tsne.png, mahalanobis.svg, objects_per_image.svg and object_sizes.svg.

    Args:
        folder: the audit's folder.
        index: all images.
        tables: as `Overview` has them.
    """
    for name in ("pca", "tsne"):
        _write_map(folder / f"outliers_{name}.png", index, tables["outliers"], name)
    charts = {
        "mahalanobis": distance_plot(tables["outliers"]),
        "objects_per_image": objects_plot(tables["objects"]),
        "object_sizes": sizes_plot(tables["sizes"]),
    }
    for name, drawn in charts.items():
        if drawn is not None:
            write_text(folder / f"{name}.svg", drawn)


def _write_map(path: Path, index: Index, outliers: pl.DataFrame, name: str) -> None:
    known = outliers.drop_nulls([f"{name}_1", f"{name}_2"])
    if known.height < 2:
        return
    flagged = known.filter("flagged").head(_DRAWN // 2)
    others = known.filter(~pl.col("flagged"))
    rows = np.unique(np.linspace(0, others.height - 1, min(others.height, _DRAWN - flagged.height)).astype(int))
    shown = pl.concat([others[rows.tolist()], flagged])
    with ThreadPoolExecutor(4) as pool:
        thumbnails = list(pool.map(lambda image: _thumbnail(index.path(image)), shown["image"].to_list()))
    places = shown.select(f"{name}_1", f"{name}_2").to_numpy()
    write_bytes(path, encode(thumbnail_map(places, thumbnails, shown["flagged"].to_numpy()), "png"))


def _thumbnail(path: Path) -> Array:
    preview = read_preview(path, _SIDE, color=True)
    return fit(to_rgb8(upright(preview.pixels, preview.orientation)), _SIDE)

"""Masks against out-of-fold predictions, as a stage: suspects/ with its tables, findings and picture."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from maskwright.artifacts import RunFolder, read_folds, write_bytes, write_json, write_table
from maskwright.audit.suspects import Suspects, find_suspects, suspect_findings
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.data.store import ProbabilityStore
from maskwright.pictures import encode, fit, framed, overlay, side_by_side, to_rgb8
from maskwright.pipeline.pictures import column
from maskwright.predict import to_full_size
from maskwright.progress import track
from maskwright.recipe.suspects import SuspectSpec
from maskwright.split import HELD_OUT
from maskwright.types import Array, LabelMap, Probabilities

_SHOWN, _LONGEST, _FRAMED = 12, 400, 3


def suspect_run(folder: RunFolder, whole: Index, spec: SuspectSpec) -> None:
    """Write suspects/: suspects.parquet, images.parquet, thresholds.json, findings.parquet and suspects.jpg."""
    folds = read_folds(folder.folds).filter(pl.col("fold") != HELD_OUT)
    images = whole.where(pl.col("image").is_in(folds["image"].to_list()))
    found = find_suspects(_predicted(images, ProbabilityStore(folder.store("oof"))), whole.categories.names, spec)
    write_table(folder.suspects / "suspects.parquet", found.regions)
    write_table(folder.suspects / "images.parquet", found.images)
    write_table(folder.suspects / "findings.parquet", suspect_findings(found, spec))
    thresholds = dict(zip(whole.categories.names, found.thresholds.tolist(), strict=True))
    write_json(folder.suspects / "thresholds.json", thresholds)
    if pictures := _pictures(whole, found):
        write_bytes(folder.suspects / "suspects.jpg", encode(column(pictures), "jpeg", 85))


def _predicted(images: Index, store: ProbabilityStore) -> Iterator[tuple[str, LabelMap, Probabilities]]:
    """Yield image, mask and out-of-fold probabilities at the mask's size; each map is read once."""
    for row, image in enumerate(track(images.images, "suspects", len(images))):
        label = images.read_label(row)
        assert label is not None
        yield image, label, to_full_size(store.read(name_of(image)), (label.shape[0], label.shape[1]))


def _pictures(whole: Index, found: Suspects) -> list[Array]:
    """Return the first images, beside each the mask with its first regions framed."""
    pictures = []
    for image in found.images.filter(pl.col("shifted") | (pl.col("score") > 0))["image"].to_list()[:_SHOWN]:
        one = whole.only([image])
        pixels, label = to_rgb8(read_image(whole.path(image))), one.read_label(0)
        assert label is not None
        boxes = found.regions.filter(pl.col("image") == image).select("top", "left", "height", "width").head(_FRAMED)
        drawn = framed(overlay(pixels, label, whole.categories.palette()), boxes.rows())
        pictures.append(side_by_side([fit(pixels, _LONGEST), fit(drawn, _LONGEST)], gap=6))
    return pictures

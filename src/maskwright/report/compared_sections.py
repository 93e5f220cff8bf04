"""Objects of the pool that rounds learned from, beside the true ones: counts over the rounds, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import polars as pl

from maskwright.pictures import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE, curves
from maskwright.report.blocks import DASH, Chart, Group, Strip, Table, chart, count, percent
from maskwright.report.collect import Artifacts, css
from maskwright.report.gallery import Gallery

_MADE_WITH = {"guide": "clustered inside of true categories", "votes": "voted on by true objects"}
_WORDS = {"true": "true objects an image", "false": "false objects an image", "missed": "missed objects an image"}


def compared(artifacts: Artifacts, gallery: Gallery, most: int) -> list[Group]:
    """Return how many of the objects that each round learned from are true, and pictures; nothing else."""
    tables = {number: table for number, table in artifacts.compared.items() if table.height}
    if not tables:
        return []
    sums = {
        number: table.select(pl.col(*_WORDS, "unknown").sum()).row(0, named=True) for number, table in tables.items()
    }
    images = {number: table.select("fold", "image").n_unique() for number, table in tables.items()}
    rows = [
        (
            str(round_number),
            count(images[round_number]),
            *(count(own[name]) for name in (*_WORDS, "unknown")),
            percent(own["true"] / judged) if (judged := own["true"] + own["false"]) else DASH,
        )
        for round_number, own in sums.items()
    ]
    head = ("round", "images", "true", "false", "missed", "not known", "true of those known")
    table = Table("Objects of the pool that were learned from, of all folds together", head, rows)
    means = {words: (list(sums), [own[name] / images[k] for k, own in sums.items()]) for name, words in _WORDS.items()}
    used = "" if made_with_truth(artifacts) else "; nothing was learned from or chosen by them"
    words = [
        f"The pool of this study has true maps{used}. An image counts once for each fold that learned from it. In the "
        "pictures, from left to right: the image, what was learned from, the true objects.",
    ]
    legend = [
        (css(TRUE_POSITIVE), "a true one overlaps it by more than half"),
        (css(FALSE_POSITIVE), "none does"),
        (css(FALSE_NEGATIVE), "true and not learned from"),
    ]
    charts = [number_chart(means, "Objects that were learned from")]
    return [
        Group("Learned objects beside the true ones", words, [table], charts, _strips(artifacts, gallery, most), legend)
    ]


def made_with_truth(artifacts: Artifacts) -> list[str]:
    """Return what is said where rounds learned from the pool's true maps, as a study may; nothing elsewhere."""
    method = artifacts.recipe.get("selftrain", {}).get("method") or {}
    told = artifacts.recipe.get("data", {}).get("task") in ("instances", "panoptic")
    stated = (method.get("objects") or {}) if told else {}
    found = [words for field, words in _MADE_WITH.items() if stated.get(field) == "true"]
    if not found:
        return []
    return [
        f"What rounds learned from was made with the pool's true maps: objects were {' and '.join(found)} "
        "(selftrain.method.objects). The scores are a ceiling, and no measure of learning without masks."
    ]


def number_chart(series: Mapping[str, tuple[Sequence[int], Sequence[float]]], what: str) -> Chart:
    """Return numbers over the rounds as a chart.

    Args:
        series: what is counted → rounds and numbers.
        what: the objects, for the caption.
    """
    caption = f"{what}: numbers over the rounds"
    return chart(curves(series, x="round", y="objects an image", alt=caption), caption)


def _strips(artifacts: Artifacts, gallery: Gallery, most: int) -> list[Strip]:
    """Return the pictures of the first images, each in all rounds, up to `most` pictures."""
    strips = list[Strip]()
    drawn = [
        own.filter("drawn")
        .group_by("image", maintain_order=True)
        .agg(pl.col(*_WORDS).sum())
        .with_columns(round=pl.lit(k))
        for k, own in artifacts.compared.items()
    ]
    for row in pl.concat(drawn).sort("image", "round").head(most).iter_rows(named=True):
        name, place = row["image"], artifacts.folder / f"round-{row['round']}" / "pseudo" / "compared"
        label = artifacts.label_file(name).relative_to(artifacts.folder / "predictions" / "labels")
        note = f"round {row['round']}: {row['true']} true, {row['false']} false, {row['missed']} missed"
        strips.append(gallery.drawn(place / PurePosixPath(label).with_suffix(".jpg"), name, note))
    return strips

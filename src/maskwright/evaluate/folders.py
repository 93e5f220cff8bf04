"""Any two folders of label files or segments, without torch: matched by name, streamed, scored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from maskwright.evaluate.label_files import LabelPair, label_categories, label_pairs, measured_labels, or_ids
from maskwright.evaluate.measure import Measured
from maskwright.evaluate.scores import Overlaps, per_image_table, summarise
from maskwright.evaluate.segment_files import (
    SegmentPair,
    has_panoptic_file,
    instance_pairs,
    measured_pair,
    panoptic_files,
)
from maskwright.evaluate.spread import spread
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories

Kind = Literal["semantic", "instances", "panoptic"]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one comparison.

    Attributes:
        scores: {metric: {value, low, high, n, definition}}.
        per_image: one row an image and category.
        confusion: (C, C + 1) pixels; rows truth, columns prediction, the last column: predicted as nothing.
        categories: their names, in that order.
    """

    scores: dict[str, dict[str, Any]]
    per_image: pl.DataFrame
    confusion: list[list[int]]
    categories: list[str]


def evaluate_folders(
    prediction: str | Path,
    truth: str | Path,
    *,
    categories: Categories | None = None,
    classes: str = "all",
    ignore: Iterable[int] = (),
    leave_out: Iterable[str] = (),
    images: str | Path | None = None,
    partial: bool = False,
    spec: EvaluateSpec | None = None,
    seed: int = 0,
    workers: int = 0,
    kind: Kind | None = None,
    groups: Mapping[str, str] | None = None,
) -> Evaluation:
    """Score predicted label files against true ones.

    Files are matched by relative path without suffix. Categories come from the argument, from a classes.json in or
    beside the truth folder, or from the values in the truth. Segments of COCO panoptic files are matched by image id,
    and their categories are those of the truth's file.

    Args:
        prediction: folder, a single file, or a COCO panoptic JSON file (or a folder that holds one) with its PNGs.
        truth: the same.
        categories: how values are read.
        classes: `all`, or `binary`: everything but 0 is foreground.
        ignore: values in the truth that don't count.
        leave_out: categories left out of means.
        images: folder of the images; a truth is turned like its image where that has an EXIF orientation.
        partial: score the truths that have a prediction instead of refusing.
        spec: families, definitions, empty cases, resamples, level.
        seed: of the bootstrap.
        workers: processes that read and measure; 0: threads of this one.
        kind: what the files hold: `semantic`, values of categories; `instances`, ids of objects, 0 the background;
            `panoptic`, COCO's PNGs and JSON file. None: panoptic where the truth is that, else semantic, as ids and
            categories can't be told apart.
        groups: image's name → what is resampled together; None: each image is its own group.

    Raises:
        DataError: no pairs, a truth without prediction, sizes that differ, or values that no category claims.
    """
    prediction, truth, spec = Path(prediction), Path(truth), spec or EvaluateSpec()
    kind = kind or ("panoptic" if has_panoptic_file(truth) else "semantic")
    ignored, left_out = tuple(ignore), frozenset(leave_out)
    rows: Sequence[LabelPair] | Sequence[SegmentPair]
    if kind == "panoptic":
        items, rows = panoptic_files(prediction, truth, partial=partial)
    else:
        pairs = label_pairs(prediction, truth, None if images is None else Path(images), partial=partial)
        items, rows = (), pairs
        if kind == "instances":
            items, rows = instance_pairs(pairs, prediction, truth, ignore=ignored)
            left_out = left_out or frozenset({items[0].name})
        elif categories is None:
            categories = label_categories(truth, pairs, classes, ignored, left_out)
    categories = categories or Categories(items, left_out)
    one: Callable[..., Measured] = measured_pair
    if kind == "semantic":
        one = functools.partial(measured_labels, predicted_as=or_ids(categories))
    overlaps = Overlaps(categories, spec)
    names = [row.name for row in rows]
    work = spread(functools.partial(one, categories=categories, spec=spec), list(rows), "score", workers=workers)
    for name, found in zip(names, work, strict=True):
        overlaps.put(name, found, group=(groups or {}).get(name))
    return Evaluation(
        summarise(overlaps, spec, seed=seed),
        per_image_table(overlaps, spec, "all"),
        [] if overlaps.table is None else overlaps.table.tolist(),
        categories.names,
    )

"""Any two folders of label files or segments, without torch: matched by name, streamed, scored."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from maskwright.data.formats.sidecars import meta_of, named_group, read_meta
from maskwright.errors import DataError, UsageError, problem
from maskwright.evaluate.label_files import LabelPair, label_categories, label_pairs, measured_labels, or_ids
from maskwright.evaluate.layer_files import INSTANCES, MASKS, LayerPair, has_layers, layer_pairs, measured_layers
from maskwright.evaluate.measure import Measured
from maskwright.evaluate.scores import Overlaps, per_image_table, summarise
from maskwright.evaluate.segment_files import (
    SIDECAR,
    SegmentPair,
    has_panoptic_file,
    instance_pairs,
    measured_pair,
    panoptic_files,
)
from maskwright.evaluate.spread import spread
from maskwright.recipe.predict import EvaluateSpec, Family
from maskwright.types import Categories

Kind = Literal["semantic", "instances", "panoptic"]


_Pairs = tuple[Categories, Sequence[LabelPair] | Sequence[LayerPair] | Sequence[SegmentPair], Callable[..., Measured]]
_OF_LABELS: tuple[Family, ...] = ("boundary", "dental", "keras")
_FAMILIES: dict[Kind, tuple[Family, ...]] = {
    "semantic": _OF_LABELS,
    "instances": ("instances", "panoptic", *_OF_LABELS),
    "panoptic": ("instances", "panoptic", *_OF_LABELS),
}
"""What files of a kind can be scored by."""


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
    group: str | None = None,
    group_regex: str | None = None,
) -> Evaluation:
    """Score predicted label files against true ones.

    Files are matched by relative path without suffix, segments of COCO panoptic files by image id.

    Args:
        prediction: folder, a single file, or a COCO panoptic JSON file (or a folder that holds one) with its PNGs.
        truth: the same.
        categories: how values are read; None: from a classes.json in or beside the truth's folder, or from its values.
        classes: `all`, or `binary`: everything but 0 is foreground.
        ignore: values in the truth that don't count.
        leave_out: categories left out of means.
        images: folder of the images; a truth is turned like its image where that has an EXIF orientation.
        partial: score the truths that have a prediction instead of refusing.
        spec: families, definitions, empty cases, resamples, level.
        seed: of the bootstrap.
        workers: processes that read and measure; 0: threads of this one.
        kind: what the files hold: `semantic`, values of categories; `instances`, ids of objects, 0 the background;
            `panoptic`, COCO's PNGs and JSON file, or masks/ and instances/ in both folders. None: panoptic where the
            truth is that, instances where a segments.csv lies beside the predictions or the truth's folder is called so
            and nothing here or in it says what values mean, else semantic.
        group: column of a meta.csv in or beside the truth's folder whose images are resampled together; None, without
            `group_regex` as well: each image is its own group.
        group_regex: the same from the images' names: what its first group, or all of it, matches.

    Raises:
        DataError: no pairs, a truth without prediction, sizes that differ, values that no category claims, segments
            that disagree with their list, or images without group.
        UsageError: both `group` and `group_regex`, an expression that is none, options that say nothing of files of
            segments, or families that the files can't give.
    """
    prediction, truth, spec = Path(prediction), Path(truth), spec or EvaluateSpec()
    layered = has_layers(truth) and has_layers(prediction)
    bare = classes == "all" and categories is None and images is None
    ids = (prediction / SIDECAR).is_file() or (bare and _of_ids(truth))
    kind = kind or ("panoptic" if layered or has_panoptic_file(truth) else "instances" if ids else "semantic")
    of_images = None if images is None else Path(images)
    ask = _Ask(kind, layered, classes, tuple(ignore), frozenset(leave_out), of_images, partial)
    ask.check(spec)
    categories, rows, one = ask.pairs(prediction, truth, categories)
    overlaps, names = Overlaps(categories, spec), [row.name for row in rows]
    work = spread(functools.partial(one, categories=categories, spec=spec), list(rows), "score", workers=workers)
    for name, own, found in zip(names, groups_of(names, truth, group, group_regex), work, strict=True):
        overlaps.put(name, found, group=own)
    return _evaluation(overlaps, spec, seed)


def _evaluation(overlaps: Overlaps, spec: EvaluateSpec, seed: int) -> Evaluation:
    return Evaluation(
        summarise(overlaps, spec, seed=seed),
        per_image_table(overlaps, spec, "all"),
        [] if overlaps.table is None else overlaps.table.tolist(),
        overlaps.categories.names,
    )


@dataclass(frozen=True)
class _Ask:
    """How the files of two folders are read; see `evaluate_folders`."""

    kind: Kind
    layered: bool
    classes: str
    ignore: tuple[int, ...]
    leave_out: frozenset[str]
    images: Path | None
    partial: bool

    def check(self, spec: EvaluateSpec) -> None:
        """Raise UsageError if something is asked for that these files can't give."""
        given = {"--classes": self.classes != "all", "--images": self.images is not None, "--ignore": bool(self.ignore)}
        _refuse(self.kind, [name for name, there in given.items() if there], layered=self.layered)
        known = _FAMILIES[self.kind]
        stated = "families" in spec.model_fields_set and spec.families != EvaluateSpec().families
        if stated and (lost := [family for family in spec.families if family not in known]):
            raise UsageError(
                problem(
                    f"families that {self.kind} files give: {', '.join(known)}",
                    ", ".join(lost),
                    where="--families",
                    next_move="leave them out, or say with --kind what the files hold; calibration is in the scores of "
                    "runs, which have probabilities",
                )
            )

    def pairs(self, prediction: Path, truth: Path, categories: Categories | None) -> _Pairs:
        """Return the categories, the pairs of files, and what measures one."""
        if self.kind == "panoptic" and not self.layered:
            items, segments = panoptic_files(prediction, truth, partial=self.partial)
            return categories or Categories(items, self.leave_out), segments, measured_pair
        if self.kind == "instances":
            _check_ids(prediction)
            _check_ids(truth)
            labels = label_pairs(prediction, truth, None, partial=self.partial)
            items, segments = instance_pairs(labels, prediction, truth, ignore=self.ignore)
            return (
                categories or Categories(items, self.leave_out or frozenset({items[0].name})),
                segments,
                measured_pair,
            )
        layers = layer_pairs(prediction, truth, partial=self.partial) if self.layered else []
        labels = [one.labels for one in layers] or label_pairs(prediction, truth, self.images, partial=self.partial)
        place = truth / MASKS if layers else truth
        known = categories or label_categories(place, labels, self.classes, self.ignore, self.leave_out)
        measured = functools.partial(measured_layers if layers else measured_labels, predicted_as=or_ids(known))
        return known, layers or labels, measured


def _of_ids(truth: Path) -> bool:
    """Tell whether a truth lies in a folder that is called after object ids, and no list there says otherwise."""
    folder = (truth.parent if truth.is_file() else truth).resolve()
    return folder.name == INSTANCES and not (folder / "classes.json").is_file()


def _check_ids(place: Path) -> None:
    """Raise DataError for a folder whose ids lie in its instances/: what lies in it itself are no ids."""
    inner = place / INSTANCES
    if inner.is_dir() and not (place / SIDECAR).is_file():
        raise DataError(
            problem(
                "a folder of object ids",
                f"one that holds {INSTANCES}/",
                where=str(place),
                next_move=f"give {inner}, or --kind panoptic where masks/ lies beside it",
            )
        )


def _refuse(kind: Kind, options: Sequence[str], *, layered: bool) -> None:
    """Raise UsageError if options are given that change nothing for files of a kind."""
    known = {
        "semantic": ("--classes", "--images", "--ignore"),
        "instances": ("--ignore",),
        "panoptic": ("--classes", "--ignore") if layered else (),
    }
    if idle := [option for option in options if option not in known[kind]]:
        raise UsageError(
            problem(
                f"options for {kind} files ({', '.join(known[kind]) or 'none of those for label files'})",
                " and ".join(idle),
                where="evaluate",
                next_move="leave them out, or say --kind semantic if the files hold categories; what files of segments "
                "mean is said by the JSON file or segments.csv",
            )
        )


def groups_of(names: Sequence[str], truth: Path, column: str | None, pattern: str | None) -> list[str | None]:
    """Return the group of each image, None where none is asked for.

    Args:
        names: of the images.
        truth: folder or file in or beside which the meta.csv lies.
        column: of that table.
        pattern: regular expression on the names.

    Raises:
        UsageError: both are given, or the pattern is no regular expression.
        DataError: no such column, or images without a group.
    """
    if column is None and pattern is None:
        return [None] * len(names)
    found: list[str | None]
    if pattern is None:
        tables = (read_meta(place / "meta.csv") for place in (truth, *truth.parents[:2]))
        meta = next((table for table in tables if table), {})
        found = [meta_of(meta, name).get(column or "") for name in names]
    else:
        _check_pattern(column, pattern)
        found = [named_group(name, pattern) for name in names]
    if lost := [name for name, own in zip(names, found, strict=True) if not own]:
        raise DataError(
            problem(
                "a group for every image",
                f"none for {len(lost)} of {len(names)}: {', '.join(lost[:5])}",
                where=f"--group-regex {pattern}" if pattern else f"--group {column}, meta.csv in or beside {truth}",
                next_move="complete meta.csv (columns name and this one), or make the expression match every name",
            )
        )
    return found


def _check_pattern(column: str | None, pattern: str) -> None:
    fault = "both" if column is not None else None
    try:
        re.compile(pattern)
    except re.error as error:
        fault = f"{pattern!r}: {error}"
    if fault:
        raise UsageError(
            problem(
                "--group COLUMN, or --group-regex with a regular expression",
                fault,
                where="evaluate",
                next_move="give one of the two",
            )
        )

"""Any two folders of label files, without torch: matched by name, streamed, scored."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.data.categories import (
    default_left_out,
    distinct_values,
    from_values,
    read_label,
    without_ignored,
)
from maskwright.data.formats.files import find_images, match_name
from maskwright.data.formats.sidecars import read_classes
from maskwright.data.void import check_void
from maskwright.errors import DataError, problem
from maskwright.evaluate.measure import Measured, measure
from maskwright.evaluate.scores import Overlaps, per_image_table, summarise
from maskwright.evaluate.spread import spread
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category, LabelMap

_UNKNOWN = (
    "list the values in a classes.json beside the truth folder, --ignore them if they are in the truth, "
    "or use --classes binary"
)


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
) -> Evaluation:
    """Score a folder of predicted label files against a folder of true ones.

    Files are matched by relative path without suffix. Categories come from the argument, from a classes.json in or
    beside the truth folder, or from the values in the truth.

    Args:
        prediction: folder.
        truth: folder.
        categories: how values are read.
        classes: `all`, or `binary`: everything but 0 is foreground.
        ignore: values in the truth that don't count.
        leave_out: categories left out of means.
        images: folder of the images; a truth is turned like its image where that has an EXIF orientation.
        partial: score the truths that have a prediction instead of refusing.
        spec: families, definitions, empty cases, resamples, level.
        seed: of the bootstrap.
        workers: processes that read and measure; 0: threads of this one.

    Raises:
        DataError: no pairs, a truth without prediction, sizes that differ, or values that no category claims.
    """
    pairs = _pairs(Path(prediction), Path(truth), None if images is None else Path(images), partial=partial)
    spec = spec or EvaluateSpec()
    if categories is None:
        categories = _categories(Path(truth), pairs, classes, tuple(ignore), frozenset(leave_out))
    overlaps = _compare(pairs, categories, spec, workers)
    assert overlaps.table is not None
    return Evaluation(
        summarise(overlaps, spec, seed=seed),
        per_image_table(overlaps, spec, "all"),
        overlaps.table.tolist(),
        categories.names,
    )


@dataclass(frozen=True)
class _Pair:
    """The two files of an image, and the image that the truth is turned like."""

    name: str
    prediction: Path
    truth: Path
    image: Path | None = None


def _compare(pairs: list[_Pair], categories: Categories, spec: EvaluateSpec, workers: int) -> Overlaps:
    overlaps = Overlaps(categories, spec)
    one = functools.partial(_measured, categories=categories, predicted_as=_or_ids(categories), spec=spec)
    for pair, found in zip(pairs, spread(one, pairs, "score", workers=workers), strict=True):
        overlaps.put(pair.name, found)
    return overlaps


def _measured(pair: _Pair, *, categories: Categories, predicted_as: Categories, spec: EvaluateSpec) -> Measured:
    """Read a pair and measure it."""
    true = read_label(pair.truth, categories, like=pair.image, next_move=_UNKNOWN)
    predicted = read_label(pair.prediction, predicted_as, next_move=_UNKNOWN)
    _check_sizes(true, predicted, pair)
    return measure(true, predicted, categories, spec, where=pair.name)


def _check_sizes(true: LabelMap, predicted: LabelMap, pair: _Pair) -> None:
    if true.shape != predicted.shape:
        raise DataError(
            problem(
                f"a prediction of the truth's size {true.shape[1]}×{true.shape[0]}",
                f"{predicted.shape[1]}×{predicted.shape[0]}",
                where=f"{pair.prediction} against {pair.truth}",
                next_move="scale the prediction back to the image's own size (nearest neighbour); "
                "if photos are turned by their EXIF orientation, name their folder with --images",
            )
        )


def _or_ids(categories: Categories) -> Categories:
    """Return the categories as predictions may hold them: also by id; foreground also as 1 or 255."""
    claimed = {value for c in categories.items if c.values != "rest" for value in c.values} | set(categories.ignore)

    def widened(category: Category) -> Category:
        if category.values == "rest":
            return category
        others = (category.id, 1, 255) if categories.binary and category.name == "foreground" else (category.id,)
        return replace(category, values=(*category.values, *(v for v in others if v not in claimed)))

    return replace(categories, items=tuple(map(widened, categories.items)))


def _pairs(prediction: Path, truth: Path, images: Path | None, *, partial: bool) -> list[_Pair]:
    predicted, true = _by_name(prediction), _by_name(truth)
    missing = sorted(true.keys() - predicted.keys())
    if partial and len(missing) < len(true):
        true = {name: path for name, path in true.items() if name in predicted}
    elif missing or not true:
        raise DataError(
            problem(
                f"a prediction for each of the {len(true)} label files in {truth}" if true else "label files",
                f"none for {len(missing)}: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}"
                if true
                else "none",
                where=str(prediction if true else truth),
                next_move="names must be equal but for the suffix; --partial scores those that have one"
                if true
                else "give the folder that holds the label files",
            )
        )
    turned_like = {} if images is None else _by_name(images)
    return [_Pair(name, predicted[name], true[name], turned_like.get(name)) for name in sorted(true)]


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(problem("a folder", "nothing", where=str(folder), next_move="check the path"))
    table: dict[str, Path] = {}
    for path in find_images(folder):
        name = match_name(path.relative_to(folder))
        if name in table:
            raise DataError(
                problem(
                    "one file a name", f"{table[name].name} and {path.name}", where=str(folder), next_move="remove one"
                )
            )
        table[name] = path
    return table


def _categories(
    truth: Path,
    pairs: list[_Pair],
    classes: str,
    ignore: tuple[int | str, ...],
    leave_out: frozenset[str],
) -> Categories:
    beside = (read_classes(folder / "classes.json") for folder in (truth, truth.parent, truth.parent.parent))
    listed, declared = next((found for found in beside if found[0] is not None), (None, ()))
    if listed is not None:
        items, ignored = without_ignored(listed, ignore or declared)
        if classes == "all":
            return Categories(items, leave_out or default_left_out(items), ignored)
        if not ignore:
            check_void(listed, ignored, otherwise="without the name in classes.json they are foreground")
        ignore = ignored  # what classes.json ignores is no foreground either
    if classes == "binary":
        two = (Category(0, "background", values=(0,)), Category(1, "foreground", values="rest"))
        return Categories(two, leave_out or frozenset({"background"}), ignore)
    items = from_values(distinct_values([pair.truth for pair in pairs], ignore) or {0})
    if not default_left_out(items):  # a category that is only predicted counts, too
        items = from_values(
            distinct_values([path for pair in pairs for path in (pair.prediction, pair.truth)], ignore) or {0}
        )
    items, ignored = without_ignored(items, ignore)
    return Categories(items, leave_out or default_left_out(items), ignored)

"""Folders of label files as pairs to be measured: matched by name, categories from a class list or the values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from maskwright.artifacts import RunFolder, is_run
from maskwright.data.categories import (
    default_left_out,
    distinct_values,
    from_values,
    read_label,
    without_ignored,
)
from maskwright.data.formats.files import find_images, match_name
from maskwright.data.formats.sidecars import read_classes
from maskwright.data.images import SUFFIXES
from maskwright.data.void import check_void
from maskwright.errors import DataError, problem
from maskwright.evaluate.measure import Measured, measure
from maskwright.progress import report
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category, LabelMap

UNKNOWN = (
    "list the values in a classes.json beside the truth folder, --ignore them if they are in the truth, "
    "or use --classes binary; if they number objects, --kind instances"
)
"""What to do about values that no category claims."""


@dataclass(frozen=True)
class LabelPair:
    """The two files of an image, and the image that the truth is turned like."""

    name: str
    prediction: Path
    truth: Path
    image: Path | None = None


def measured_labels(
    pair: LabelPair, *, categories: Categories, predicted_as: Categories, spec: EvaluateSpec
) -> Measured:
    """Read a pair and measure it.

    Raises:
        DataError: files that can't be read, sizes that differ, or values that no category claims.
    """
    true = read_label(pair.truth, categories, like=pair.image, next_move=UNKNOWN)
    predicted = read_label(pair.prediction, predicted_as, next_move=UNKNOWN)
    check_sizes(true, predicted, pair)
    return measure(true, predicted, categories, spec, where=pair.name)


def check_sizes(true: LabelMap, predicted: LabelMap, pair: LabelPair) -> None:
    """Raise DataError if a prediction has another size than its truth."""
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


def or_ids(categories: Categories) -> Categories:
    """Return the categories as predictions may hold them: also by id; foreground also as 1 or 255."""
    claimed = {value for c in categories.items if c.values != "rest" for value in c.values} | set(categories.ignore)

    def widened(category: Category) -> Category:
        if category.values == "rest":
            return category
        others = (category.id, 1, 255) if categories.binary and category.name == "foreground" else (category.id,)
        return replace(category, values=(*category.values, *(v for v in others if v not in claimed)))

    return replace(categories, items=tuple(map(widened, categories.items)))


def label_pairs(prediction: Path, truth: Path, images: Path | None, *, partial: bool) -> list[LabelPair]:
    """Return the pairs of two folders, or of two files, in the order of their names.

    Args:
        prediction: folder or file of predicted labels.
        truth: folder or file of true labels.
        images: folder of the images that truths are turned like, or None.
        partial: leave out truths without prediction instead of refusing.

    Raises:
        DataError: nothing to pair, a truth without prediction, or two files of one name.
    """
    predicted, true = _by_name(prediction), _by_name(truth)
    if prediction.is_file() and truth.is_file():  # whatever they are called
        predicted = dict(zip(true, predicted.values(), strict=True))
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
    if unasked := len(predicted.keys() - true.keys()):
        report(
            "left out", unasked, unasked, f"{unasked} of {len(predicted)} predictions, which have no truth in {truth}"
        )
    turned_like = {} if images is None else _by_name(images)
    return [LabelPair(name, predicted[name], true[name], turned_like.get(name)) for name in sorted(true)]


def _by_name(folder: Path) -> dict[str, Path]:
    if folder.is_file() and folder.suffix.lower() in SUFFIXES:
        return {match_name(Path(folder.name)): folder}
    if not folder.is_dir() or is_run(folder):
        raise _no_labels(folder)
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


def label_categories(
    truth: Path,
    pairs: list[LabelPair],
    classes: str,
    ignore: tuple[int | str, ...],
    leave_out: frozenset[str],
) -> Categories:
    """Return the categories of label files: from a classes.json in or beside the truth's folder, or from the values.

    Args:
        truth: folder or file of true labels.
        pairs: of files.
        classes: `all`, or `binary`: everything but 0 is foreground.
        ignore: values in the truth that don't count.
        leave_out: names left out of means.

    Raises:
        DataError: a class list that can't be read, or values that can't be categories.
    """
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


def _no_labels(place: Path) -> DataError:
    """Return what is to be said of a place that is neither a folder of label files nor one."""
    got, next_move = "nothing", "check the path"
    if place.is_file():
        got = f"a {place.suffix} file"
        next_move = "a JSON file of segments is scored against another one; a data folder with masks/ and instances/ "
        next_move += "becomes one by `maskwright convert FOLDER OUT --to coco_panoptic`"
    elif place.is_dir():
        got = "a run folder"
        inside = RunFolder(place).predictions
        next_move = f"give {inside / 'labels'}, of objects {inside / 'instances'}, or the run alone"
    return DataError(problem("a folder of label files, or one", got, where=str(place), next_move=next_move))

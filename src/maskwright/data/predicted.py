"""Folders of label files, as `predict` writes them: which files are labels, and what their values mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maskwright.artifacts import RunFolder, is_run
from maskwright.data.categories import as_written, distinct_values, from_values, read_label
from maskwright.data.formats.files import find_images, match_name
from maskwright.data.formats.sidecars import read_classes
from maskwright.data.images import read_values
from maskwright.errors import DataError, problem
from maskwright.recipe import load_recipe
from maskwright.recipe.data import DataSpec
from maskwright.types import IGNORE, Array, Categories, LabelMap

BESIDE = ("overlays", "probabilities", "entropy", "disagreement", "instances", "panoptic")
"""Folders that `predict` writes beside the labels."""


def label_files(place: Path) -> list[tuple[str, Path]]:
    """Return (name, path) of the label files of a folder, or of a run's predictions, in the order of the names.

    Raises:
        DataError: there are none, or two of one name.
    """
    folder = RunFolder(place).predictions / "labels" if is_run(place) else place
    known: dict[str, Path] = {}
    for path in find_images(folder):
        inner = path.relative_to(folder)
        if inner.parts[0] in BESIDE:
            continue
        if (other := known.setdefault(match_name(inner), path)) != path:
            next_move = "rename or remove one of the two"
            raise DataError(
                problem("one file a name", f"{other.name} and {path.name}", where=str(folder), next_move=next_move)
            )
    if not known:
        next_move = "give the folder that `maskwright predict` wrote, or a finished run"
        raise DataError(problem("label files", "none", where=str(folder), next_move=next_move))
    return sorted(known.items())


def data_of(place: Path) -> DataSpec | None:
    """Return the data section of a run's recipe, None if the folder is none of a run."""
    return load_recipe(RunFolder(place).recipe).data if is_run(place) else None


def label_categories(place: Path, files: list[tuple[str, Path]], named_by: Path | None = None) -> Categories:
    """Return what the values of label files mean.

    Args:
        place: their folder, or a run.
        files: as `label_files` returns them.
        named_by: the run that predicted them, or a classes.json; None: the run itself, a classes.json in or beside the
            folder, or the values that occur, of which 0 is the background.

    Raises:
        DataError: `named_by` is neither.
    """
    data = data_of(place if named_by is None else named_by)
    if data is not None:
        return as_written(data.to_categories())
    if named_by is not None and not named_by.is_file():
        next_move = "give the run folder that predicted the labels, or a classes.json"
        raise DataError(problem("a run folder or a classes.json", "neither", where=str(named_by), next_move=next_move))
    beside = [named_by] if named_by is not None else [place / "classes.json", place.parent / "classes.json"]
    for path in beside:
        items, ignore = read_classes(path)
        if items is not None:
            return Categories(items, ignore=tuple(ignore) or (IGNORE,))
    items = from_values(distinct_values([path for _, path in files], (IGNORE,)) or {0})
    named = tuple(replace(c, name="background") if c.values == (0,) else c for c in items)
    return Categories(named, ignore=(IGNORE,))


def read_labels(path: Path, categories: Categories) -> LabelMap:
    """Return the (H, W) uint8 category positions of a label file.

    Raises:
        DataError: it can't be read, or holds values without a name.
    """
    next_move = "say what the values mean: --names with the run that predicted them, or with a classes.json"
    return read_label(path, categories, next_move=next_move)


def read_ids(folder: dict[str, Path] | None, name: str, label: LabelMap) -> Array | None:
    """Return the (H, W) id map of a label file, None where there is no folder of them.

    Args:
        folder: name → id map.
        name: of the label file.
        label: what it holds.

    Raises:
        DataError: there is none of this name, or it has another size.
    """
    if folder is None:
        return None
    if name not in folder:
        next_move = "give a folder with an id map of the same name for each label file"
        raise DataError(problem("an id map", "none", where=f"--instances: {name}", next_move=next_move))
    ids = read_values(folder[name])
    if ids.shape != label.shape:
        got = f"{ids.shape[1]}×{ids.shape[0]}"
        expected = f"an id map of the labels' size {label.shape[1]}×{label.shape[0]}"
        raise DataError(problem(expected, got, where=str(folder[name]), next_move="give maps of one size"))
    return ids

"""The index: a table with one row an image, and the data section of the recipe filled in from what the folder holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import DECIDED, MADE, RunFolder, locate, read_table, turned_like
from maskwright.data.categories import as_written, read_label, recognise_categories
from maskwright.data.formats import Row, Source, read_source
from maskwright.data.formats.files import name_of
from maskwright.data.formats.sidecars import named_group
from maskwright.data.further import first_labelled, further_rows
from maskwright.data.images import read_image, read_objects, size_of
from maskwright.data.imported import write_rows
from maskwright.data.intensity import measure
from maskwright.data.kind import LOOKED_INTO, UNUSED, with_objects, with_task, with_things, without_label
from maskwright.data.mislaid import move_them, names_of
from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap, apart_by_category, relabel_consecutive
from maskwright.recipe.data import DataSpec
from maskwright.types import IGNORE, Array, Categories, Sample

SCHEMA = {
    "image": pl.String,
    "mask": pl.String,
    "instances": pl.String,
    "group": pl.String,
    "domain": pl.String,
    "part": pl.String,
    "label_source": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "channels": pl.Int64,
}
PSEUDO, WEIGHT, SOFT = "pseudo", "weight", "soft"
"""Columns that an index for training may have, too: whether the label is a pseudo-label, the mean number of times that
the image comes in a turn, and the file of the probabilities that a soft label is, null for none."""
_MEASURED = 48


@dataclass(frozen=True)
class Index:
    """A table of images below one root; columns as `SCHEMA`. Never edited in place.

    Attributes:
        root: the data folder.
        table: one row an image; `mask` or `instances` null where there is none.
        categories: what the label files mean.
        target: which label files are learned from: `masks` or `instances`.
        imported: where files lie that were rendered from other formats.
        partial: 0 in an instance map says nothing: as a label it is ignored.
        both: instance maps are looked at beside masks.
    """

    root: Path
    table: pl.DataFrame
    categories: Categories
    target: str = "masks"
    imported: Path = Path()
    partial: bool = False
    both: bool = False

    def __len__(self) -> int:
        return self.table.height

    @property
    def label_column(self) -> str:
        """Column with the label files."""
        return "mask" if self.target == "masks" else "instances"

    @property
    def labelled(self) -> Index:
        """The rows that have a label file."""
        return self.where(pl.col(self.label_column).is_not_null())

    @property
    def unlabelled(self) -> Index:
        """The rows that have none."""
        return self.where(pl.col(self.label_column).is_null())

    @cached_property
    def images(self) -> list[str]:
        """Relative image paths."""
        return self.table["image"].to_list()

    def where(self, condition: pl.Expr) -> Index:
        """Return the index of the rows that meet a condition."""
        return replace(self, table=self.table.filter(condition))

    def only(self, images: list[str]) -> Index:
        """Return the index of the given images, in the given order."""
        order = pl.DataFrame({"image": images}, schema={"image": pl.String})
        table = order.join(self.table, on="image", how="left", maintain_order="left")
        return replace(self, table=table)

    def path(self, file: str) -> Path:
        """Return where an image or label file of the table lies."""
        return locate(self.root, self.imported, file)

    def read(self, row: int) -> Sample:
        """Return image and label of a row at their own size.

        Raises:
            DataError: a file can't be read, or the mask's size isn't the image's.
        """
        image, label = self.table["image"][row], self._label_file(row)
        return Sample(name_of(image), read_image(self.path(image)), self._label(image, label))

    def read_image(self, row: int) -> Array:
        """Return the (H, W, 1 or 3) image of a row alone, at its own size.

        Raises:
            DataError: the file can't be read.
        """
        return read_image(self.path(self.table["image"][row]))

    def read_label(self, row: int) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Return the label of a row alone."""
        return self._label(self.table["image"][row], self._label_file(row))

    def read_instances(self, row: int) -> InstanceMap | None:
        """Return the (H, W) int32 objects of a row, numbered from 1 on, 0 for none; None where there is no map.

        Beside a mask, a number that lies on several things is an object of each.

        Raises:
            DataError: the file can't be read.
        """
        image, file = self.table["image"][row], self.table["instances"][row]
        if file is None:
            return None
        found = relabel_consecutive(read_objects(self.path(file), like=turned_like(file, self.path(image))))
        if not self.both or file.startswith(MADE):  # objects that a round made may be of several things
            return found
        label = self.read_label(row)
        if label is None or label.shape != found.shape:
            return found
        return apart_by_category(found, label, self.categories.things)

    def _label_file(self, row: int) -> str | None:
        """Return the label file of a row; one that a round of self-training made is a mask, whatever the others are."""
        mask: str | None = self.table["mask"][row]
        label: str | None = self.table[self.label_column][row]
        return mask if mask is not None and mask.startswith(MADE) else label

    def _label(self, image: str, label: str | None) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        if label is None:
            return None
        if label.startswith(MADE):  # as a round of self-training wrote it: upright, with category ids
            return read_label(self.path(label), as_written(self.categories))
        if label.startswith(DECIDED):  # as the decisions wrote it: upright, masks with category ids
            categories = as_written(self.categories) if self.target == "masks" else self.categories
            found = read_label(self.path(label), categories)
        else:
            found = read_label(self.path(label), self.categories, like=turned_like(label, self.path(image)))
        return np.where(found == 0, np.uint8(IGNORE), found) if self.partial else found


def build_index(spec: DataSpec, imported: Path | None = None) -> tuple[Index, DataSpec, Source]:
    """Read a data folder.

    Args:
        spec: the recipe's data section.
        imported: folder that is written into what the layout doesn't hold as image files (polygons, arrays, …).

    Returns:
        the index, the data section with every field filled in, and the source (with its leftover label files).

    Raises:
        DataError: the folder can't be read as any layout, nothing is labelled, or a group column is missing.
    """
    root = Path(spec.root).expanduser().resolve()
    source = read_source(root, spec.format)
    source = replace(source, categories=source.categories or first_labelled(spec, source))
    stated = spec.task != "auto"
    spec = with_task(source, spec, root)
    target = spec.target
    categories = with_objects(recognise_categories(source, root, spec), spec)
    rows, notes = further_rows(spec, categories)
    whole = replace(source, rows=[*source.rows, *rows], notes=(*source.notes, *notes))
    source = _with_files(whole, imported)
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda row: _size(locate(root, imported or root, row.image)), source.rows))
    groups = [_group(row, spec) for row in source.rows]
    table = [
        (r.image, r.mask, r.instances, group, *_named(r, spec), width, height, channels)
        for r, group, (height, width, channels, _) in zip(source.rows, groups, sizes, strict=True)
    ]
    frame = pl.DataFrame(table, schema=SCHEMA, orient="row")
    index = Index(root, frame, categories, target, imported or root, **_kind_of(spec))
    _check_columns(source, spec, groups, root)
    told: list[str | None] = []
    if spec.task == "panoptic":
        known, note = with_things(index, asked=stated)
        there = bool(known.things)
        spec = spec if there else spec.model_copy(update={"task": "semantic"})
        index = replace(index, categories=known, both=there)
        told = [note, LOOKED_INTO if there and not stated else None]
    elif spec.task == "semantic" and not stated and target == "masks" and any(row.instances for row in source.rows):
        told = [UNUSED]
    told.append(without_label(index, spec.task))
    source = replace(source, notes=(*source.notes, *filter(None, told)))
    deep = [r.image for r, (*_, depth) in zip(source.rows, sizes, strict=True) if depth not in (None, "uint8")]
    return index, _resolve(index, spec, source, deep), source


def meta_table(source: Source) -> pl.DataFrame:
    """Return image and every column of meta.csv as text, null where an image has no value, in the index' order."""
    columns = {key: None for row in source.rows for key in row.meta if key != "image"}
    table = {key: [row.meta.get(key) or None for row in source.rows] for key in columns}
    names = {"image": [row.image for row in source.rows]}
    return pl.DataFrame(names | table, schema=dict.fromkeys(("image", *columns), pl.String))


def load_index(path: Path, spec: DataSpec) -> Index:
    """Return the index of a run folder's table and its resolved data section."""
    target = "instances" if spec.target == "instances" else "masks"
    imported = RunFolder(path.parent).imported
    return Index(Path(spec.root), pl.read_parquet(path), spec.to_categories(), target, imported, **_kind_of(spec))


def decided_index(run: RunFolder, spec: DataSpec) -> Index:
    """Return a run's index as its decisions leave it.

    Runs of earlier versions hold no decisions: theirs is the whole index.
    """
    whole = load_index(run.index, spec)
    if (decided := run.decided / "images.parquet").is_file():
        return replace(whole, table=read_table(decided))
    return replace(whole, table=whole.table.with_columns(twin_of=pl.lit(None, pl.String)))


def _kind_of(spec: DataSpec) -> dict[str, bool]:
    return {"partial": spec.target == "instances" and spec.drawn < 1, "both": spec.task == "panoptic"}


def scored(index: Index, folds: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of folds.csv that scores are taken of: unlabelled copies with a twin's mask are only learned."""
    copies = index.table.filter(pl.col("twin_of").is_not_null())["image"].to_list()
    return folds.filter(~pl.col("image").is_in(copies))


def _with_files(source: Source, imported: Path | None) -> Source:
    if imported is None and any(row.render is not None for row in source.rows):
        raise DataError(
            problem(
                "a folder to write label files into",
                "none",
                where=f"build_index of a {source.format} folder",
                next_move="pass one as `imported`, or convert the folder with maskwright convert",
            )
        )
    return source if imported is None else replace(source, rows=write_rows(source.rows, imported))


def _resolve(index: Index, spec: DataSpec, source: Source, deep: list[str]) -> DataSpec:
    readable = index.labelled.where(pl.col("width").is_not_null())
    step = max(1, len(readable) // _MEASURED)
    images = []
    sample = readable.images[::step] + deep[:: max(1, len(deep) // _MEASURED)]  # the range is that of deep images
    for name in dict.fromkeys(sample):
        try:
            images.append(read_image(index.path(name)))
        except DataError:  # the audit names it
            continue
    if not images:
        raise DataError(
            problem(
                "labelled images that can be read",
                "none",
                where=str(index.root),
                next_move=move_them(index.root, names_of(source)),
            )
        )
    found = measure(images, channels=spec.channels, value_range=spec.value_range)
    return spec.model_copy(
        update={
            "root": str(index.root),
            "format": source.format,
            "categories": index.categories.items,
            "ignore": index.categories.ignore,
            "leave_out": tuple(sorted(index.categories.left_out)),
            "classes": "all",
            "channels": found.channels,
            "value_range": found.value_range,
            "mean": spec.mean or found.mean,
            "std": spec.std or found.std,
        }
    )


def _size(path: Path) -> tuple[int | None, int | None, int | None, str | None]:
    try:
        return size_of(path)
    except DataError:  # the audit names it
        return None, None, None, None


def _group(row: Row, spec: DataSpec) -> str | None:
    if spec.group is not None:
        return row.meta.get(spec.group)
    if spec.group_regex is not None:
        return named_group(name_of(row.image), spec.group_regex)
    return None


def _named(row: Row, spec: DataSpec) -> tuple[str | None, str | None, str | None]:
    """Return domain, part and source of the label; an empty cell names none."""
    return row.meta.get(spec.domain or "domain") or None, row.part, row.meta.get(spec.label_source or "") or None


def _check_columns(source: Source, spec: DataSpec, groups: list[str | None], root: Path) -> None:
    columns = sorted({key for row in source.rows for key in row.meta})
    fields = ((spec.group, "--group"), (spec.domain, "data.domain"), (spec.label_source, "data.label_source"))
    for name, field in fields:
        if name is not None and name not in columns:
            raise DataError(
                problem(
                    f"a column of meta.csv ({', '.join(columns) or 'there is none'})",
                    name,
                    where=f"{root}/meta.csv, {field}",
                    next_move="use one of these columns",
                )
            )
    labelled = [i for i, row in enumerate(source.rows) if row.mask or row.instances]
    missing = [source.rows[i].image for i in labelled if groups[i] in (None, "")]
    if (spec.group or spec.group_regex) and missing:
        raise DataError(
            problem(
                "a group for every labelled image",
                f"none for {len(missing)} of {len(labelled)}: {', '.join(missing[:5])}",
                where="--group or --group-regex",
                next_move="complete meta.csv, or make the expression match every name",
            )
        )

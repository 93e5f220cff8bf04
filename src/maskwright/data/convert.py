"""From one format to another: what a data folder holds, handed image by image to the format that is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from maskwright.artifacts import locate, turned_like, write_table
from maskwright.data.categories import read_label, recognise_categories
from maskwright.data.formats import FORMATS, Record, Records, Row, Source, read_source
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_values, size_of
from maskwright.data.imported import write_rows
from maskwright.data.index import Index
from maskwright.errors import DataError, UsageError, problem
from maskwright.progress import track
from maskwright.recipe.data import DataSpec
from maskwright.types import Categories


def writable() -> list[str]:
    """Return the names of the formats that are written."""
    return [name for name, layout in FORMATS.items() if layout.write is not None]


def convert(spec: DataSpec, target: Path, to: str) -> int:
    """Write a data folder in another format; return the number of images.

    Args:
        spec: what is read: folder, format, categories and how they are mapped.
        target: a folder that doesn't exist or is empty; it appears when all of it is written.
        to: name of a format that is written.

    Raises:
        UsageError: the format isn't written, or the target holds something.
        DataError: the folder can't be read.
    """
    _check_target(target, to)
    root = Path(spec.root).expanduser().resolve()
    source = read_source(root, spec.format)
    categories = recognise_categories(source, root, spec)
    with _growing(target) as growing:
        records = Records(categories, len(source.rows), lambda: _records(source, root, categories, growing))
        _write(growing, records, to)
    return len(source.rows)


def write_index(index: Index, meta: pl.DataFrame, target: Path, to: str, removed: pl.DataFrame) -> int:
    """Write the images of an index in a format, and removed.csv beside them; return the number of images.

    Args:
        index: as the decisions of an audit leave it; of a `target` instances, the object numbers are written.
        meta: what is known of each image besides, as `index.meta_table` returns it, further folders included.
        target: a folder that doesn't exist or is empty; it appears when all of it is written.
        to: name of a format that is written.
        removed: what the index lacks of the data folder, and why.

    Raises:
        UsageError: the format isn't written, or the target holds something.
        DataError: a file can't be read.
    """
    _check_target(target, to)
    known = {row["image"]: {key: value for key, value in row.items() if value is not None} for row in meta.to_dicts()}
    columns = {image: {key: row[key] for key in row if key != "image"} for image, row in known.items()}
    with _growing(target) as growing:
        _write(growing, Records(index.categories, len(index), lambda: _indexed(index, columns)), to)
        write_table(growing / "removed.csv", removed)
    return len(index)


def _check_target(target: Path, to: str) -> None:
    if to not in writable():
        raise UsageError(
            problem(f"one of {', '.join(writable())}", to, where="--to", next_move="choose a format that is written")
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        next_move = "give a folder that doesn't exist yet"
        raise UsageError(
            problem("a new or empty folder", "one that holds files", where=str(target), next_move=next_move)
        )


def _write(folder: Path, records: Records, to: str) -> None:
    write = FORMATS[to].write
    assert write is not None, "checked before"
    write(folder, records)


@contextmanager
def _growing(target: Path) -> Iterator[Path]:
    """Yield a folder beside the target that takes its place when all of it is written, and goes if it isn't."""
    growing = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        growing.mkdir(parents=True)
        yield growing
        if target.is_dir():
            target.rmdir()
        growing.rename(target)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _indexed(index: Index, meta: Mapping[str, dict[str, str]]) -> Iterator[Record]:
    for row, entry in enumerate(track(index.table.to_dicts(), "write", len(index))):
        image, name, ids = index.path(entry["image"]), name_of(entry["image"]), None
        if entry["instances"] is not None:
            like = turned_like(entry["instances"], image)
            ids = read_values(index.path(entry["instances"]), like=like).astype(np.int32)
        label = index.read_label(row) if index.target == "masks" else None
        size = (entry["height"], entry["width"])
        yield Record(name, image, size, label, ids, entry["part"], meta.get(entry["image"], {}))


def _records(source: Source, root: Path, categories: Categories, growing: Path) -> Iterator[Record]:
    scratch = growing / ".rendered"
    for row in track(source.rows, "convert", len(source.rows)):
        yield _record(write_rows([row], scratch)[0], root, scratch, categories)
        shutil.rmtree(scratch, ignore_errors=True)


def _record(row: Row, root: Path, scratch: Path, categories: Categories) -> Record:
    image = locate(root, scratch, row.image)
    label, ids = None, None
    if row.mask is not None:
        label = read_label(locate(root, scratch, row.mask), categories, like=turned_like(row.mask, image))
    if row.instances is not None:
        ids = read_values(locate(root, scratch, row.instances), like=turned_like(row.instances, image))
    height, width = size_of(image)[:2]
    for what, array in (("mask", label), ("id map", ids)):
        if array is not None and array.shape != (height, width):
            raise DataError(
                problem(
                    f"a {what} of the image's size, {width}×{height}",
                    f"{array.shape[1]}×{array.shape[0]}",
                    where=row.image,
                    next_move="mend or remove it",
                )
            )
    return Record(
        name_of(row.image),
        image,
        (height, width),
        label,
        None if ids is None else ids.astype(np.int32),
        row.part,
        row.meta,
    )

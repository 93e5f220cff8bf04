"""From one format to another: what a data folder holds, handed image by image to the format that is written."""

from __future__ import annotations

import difflib
import glob
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from maskwright.artifacts import locate, turned_like, write_table
from maskwright.data.categories import read_label, recognise_categories
from maskwright.data.formats import FORMATS, Record, Records, Row, Source, read_source
from maskwright.data.formats.files import name_of
from maskwright.data.formats.imagescope import draw_file
from maskwright.data.formats.pieces import BACKGROUND_NAMES
from maskwright.data.formats.sidecars import write_classes
from maskwright.data.images import LARGEST_PIXELS, read_values, size_of
from maskwright.data.imported import write_rows
from maskwright.data.index import Index
from maskwright.data.kind import LOOKED_AT, as_things, count_numbered, things_among
from maskwright.data.written import write_array
from maskwright.errors import DataError, UsageError, problem
from maskwright.processes import is_running
from maskwright.progress import track
from maskwright.recipe.data import DataSpec
from maskwright.types import IGNORE, Categories


def writable() -> list[str]:
    """Return the names of the formats that are written."""
    return [name for name, layout in FORMATS.items() if layout.write is not None]


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        images: all of them.
        labelled: those with a mask or objects.
        unlabelled: those of which the source says nothing.
        empty: labelled ones that hold nothing but background, such as images that annotations list without a shape.
        objects: in all id maps.
        pixels: category → pixels in all masks.
        ignored: pixels that count as nothing.
        notes: what was taken for granted when the source was read.
    """

    images: int = 0
    labelled: int = 0
    unlabelled: int = 0
    empty: int = 0
    objects: int = 0
    pixels: dict[str, int] = field(default_factory=dict)
    ignored: int = 0
    notes: tuple[str, ...] = ()


def convert(spec: DataSpec, target: Path, to: str) -> Converted:
    """Write a data folder in another format; return what was written.

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
    if not root.is_dir():
        got, next_move = "a file" if root.exists() else "nothing", "check the path: give the folder, not a file in it"
        raise DataError(problem("a data folder", got, where=str(root), next_move=next_move))
    source = read_source(root, spec.format)
    known = recognise_categories(source, root, spec)
    counted: dict[str, Converted] = {}
    with _growing(target) as growing:
        categories, note = _with_things(source, root, known, growing)
        records = Records(
            categories,
            len(source.rows),
            lambda: _tallied(_records(source, root, categories, growing), categories, counted),
        )
        _write(growing, records, to)
    return replace(counted.get("whole", Converted()), notes=(*source.notes, *note))


def convert_alone(file: Path, size: tuple[int, int], target: Path) -> Converted:
    """Write the masks and id maps of one of ImageScope's XML files, whose image isn't at hand, as a folder.

    Args:
        file: the XML; its name without suffix is the image's.
        size: (H, W) of the image that was annotated, which the file doesn't state.
        target: as in `convert`; images/ is missing there until the image is put into it.

    Raises:
        UsageError: the target holds something, or the size is that of no image.
        DataError: the file can't be read, or a region lies outside.
    """
    _check_target(target, "folder")
    if not 0 < size[0] * size[1] <= LARGEST_PIXELS or min(size) < 1:
        next_move = "give the size of the image that was annotated"
        expected, got = f"a size of 1 to {LARGEST_PIXELS:,} pixels", f"{size[1]}x{size[0]}"
        raise UsageError(problem(expected, got, where="--size", next_move=next_move))
    content, items = draw_file(file, size)
    assert content.mask is not None and content.instances is not None
    categories = Categories(items)
    with _growing(target) as growing:
        write_array(growing / "masks" / f"{file.stem}.png", content.mask)
        write_array(growing / "instances" / f"{file.stem}.png", content.instances)
        write_classes(growing / "classes.json", categories, IGNORE)
    note = f"put the image into {target / 'images'} as {file.stem}.tif, .png or the like"
    label, ids = content.mask.astype(np.uint8), content.instances.astype(np.int32)
    return _added(Converted(notes=(note,)), Record(file.stem, file, size, label, ids), categories)


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
        near = difflib.get_close_matches(to, writable(), 1, 0.5)
        next_move = f"did you mean {near[0]}?" if near else "choose a format that is written"
        raise UsageError(problem(f"one of {', '.join(writable())}", to, where="--to", next_move=next_move))
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
    _sweep(target)
    try:
        growing.mkdir(parents=True)
        yield growing
        if target.is_dir():
            target.rmdir()
        growing.rename(target)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove what killed processes left beside the target; those that still run are writing there."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        pid = left.name.removesuffix(".tmp").rpartition(".")[2]
        if pid.isdecimal() and (int(pid) == os.getpid() or not is_running(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def _indexed(index: Index, meta: Mapping[str, dict[str, str]]) -> Iterator[Record]:
    for row, entry in enumerate(track(index.table.to_dicts(), "write", len(index))):
        image, name, ids = index.path(entry["image"]), name_of(entry["image"]), None
        if entry["instances"] is not None:
            like = turned_like(entry["instances"], image)
            ids = read_values(index.path(entry["instances"]), like=like).astype(np.int32)
        label = index.read_label(row) if index.target == "masks" else None
        size = (entry["height"], entry["width"])
        yield Record(name, image, size, label, ids, entry["part"], meta.get(entry["image"], {}))


def _with_things(
    source: Source, root: Path, categories: Categories, growing: Path
) -> tuple[Categories, tuple[str, ...]]:
    """Return the categories as a run takes them, where there are instance maps, and what is to be said of it."""
    both = [row for row in source.rows if row.mask is not None and row.instances is not None]
    if any(category.isthing for category in categories.items) or not both:
        return categories, ()
    some = replace(source, rows=both[:: max(1, len(both) // LOOKED_AT)])
    records = _records(some, root, categories, growing, "look for things")
    things = things_among(categories, *count_numbered((record.label, record.instances) for record in records))
    if not things:
        return categories, ()
    found, note = as_things(categories, things)
    return found, (note,)


def _records(
    source: Source, root: Path, categories: Categories, growing: Path, doing: str = "convert"
) -> Iterator[Record]:
    scratch = growing / ".rendered"
    for row in track(source.rows, doing, len(source.rows)):
        yield _record(write_rows([row], scratch)[0], root, scratch, categories)
        shutil.rmtree(scratch, ignore_errors=True)


def _tallied(records: Iterator[Record], categories: Categories, counted: dict[str, Converted]) -> Iterator[Record]:
    """Yield the records; when all are through, `counted["whole"]` says what they hold."""
    whole = Converted(pixels=dict.fromkeys(categories.names, 0))
    for record in records:
        yield record
        whole = _added(whole, record, categories)
        counted["whole"] = whole


def _added(whole: Converted, record: Record, categories: Categories) -> Converted:
    """Return the sum with one more record."""
    labelled = record.label is not None or record.instances is not None
    objects = 0 if record.instances is None else int(np.count_nonzero(np.unique(record.instances)))
    counts = [0] * 256 if record.label is None else np.bincount(record.label.ravel(), minlength=256).tolist()
    pixels = dict(zip(categories.names, counts, strict=False))
    shown = objects + sum(n for name, n in pixels.items() if name.lower() not in BACKGROUND_NAMES)
    return replace(
        whole,
        images=whole.images + 1,
        labelled=whole.labelled + labelled,
        unlabelled=whole.unlabelled + (not labelled),
        empty=whole.empty + (labelled and not shown and not 0 < counts[IGNORE] == sum(counts)),
        objects=whole.objects + objects,
        pixels={name: whole.pixels.get(name, 0) + pixels[name] for name in pixels},
        ignored=whole.ignored + counts[IGNORE],
    )


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

"""Label files as what challenges take: run lengths in a CSV, a stack in an .npz, PNGs in a ZIP."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
import polars as pl

from maskwright.artifacts import atomic, write_table
from maskwright.data.categories import id_type, to_ids
from maskwright.data.formats.pieces import BACKGROUND_NAMES, objects_of
from maskwright.data.formats.runlength import counts_to_pairs, mask_to_pairs
from maskwright.data.formats.shapes import to_counts
from maskwright.data.predicted import label_categories, label_files, read_ids, read_labels
from maskwright.errors import DataError, UsageError, problem
from maskwright.labels import objects_by_category
from maskwright.progress import track
from maskwright.types import Categories, LabelMap

Rows = Literal["object", "class"]
Pixels = Literal["index", "color"]

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the files in an archive: the same labels make the same bytes."""


@dataclass(frozen=True)
class Predicted:
    """Label files that are handed in.

    Attributes:
        files: (name, path).
        categories: what their values mean.
        instances: name → id map, where there are any.
    """

    files: list[tuple[str, Path]]
    categories: Categories
    instances: dict[str, Path] | None = None

    def __iter__(self) -> Iterator[tuple[str, LabelMap]]:
        for name, path in track(self.files, "submit", len(self.files)):
            yield name, read_labels(path, self.categories)


def write_submission(
    labels: Path,
    out: Path,
    to: str,
    *,
    rows: Rows = "object",
    pixels: Pixels = "index",
    instances: Path | None = None,
    named_by: Path | None = None,
) -> int:
    """Write label files in a form of `SUBMISSIONS`; return the number of images.

    Args:
        labels: folder of label files, or a run.
        out: the file, which must not exist yet.
        to: rle_csv, npz or png_zip.
        rows: of rle_csv: a row an object, or a row an image and category.
        pixels: of png_zip: category ids, or the categories' colours.
        instances: folder of id maps that say what is one object (`labels.objects_by_category`); without, 8-connected
            components.
        named_by: as of `data.predicted.label_categories`.

    Raises:
        UsageError: another form, or a file that stands already.
        DataError: labels can't be read, or can't be said in this form.
    """
    if to not in SUBMISSIONS:
        next_move = "choose one of them"
        raise UsageError(problem(f"one of {', '.join(SUBMISSIONS)}, cityscapes", to, where="--to", next_move=next_move))
    if out.exists():
        next_move = "give another name; nothing is overwritten"
        raise UsageError(problem("a new file", "one that stands already", where=str(out), next_move=next_move))
    files = label_files(labels)
    found = Predicted(
        files, label_categories(labels, files, named_by), None if instances is None else dict(label_files(instances))
    )
    SUBMISSIONS[to](found, out, rows, pixels)
    return len(files)


def write_rle_csv(found: Predicted, out: Path, rows: Rows = "object", pixels: Pixels = "index") -> None:
    """Write Kaggle's CSV: ImageId, EncodedPixels, a row an object, or an image and class.

    EncodedPixels are start and length of runs, column by column, the first pixel 1. With several categories besides the
    background there is a column ClassId between, which holds ids. An image without objects has one row without pixels;
    a row an image and class is there for each category, also without pixels.

    Raises:
        DataError: two images of one name, or an id map that is missing.
    """
    _check_suffix(out, ".csv")
    shown = [p for p, name in enumerate(found.categories.names) if name.lower() not in BACKGROUND_NAMES]
    names = _last_parts(found)
    lines: list[tuple[str, str | None, str]] = []
    for name, label in found:
        if rows == "class":
            entries = [(position, mask_to_pairs(label == position)) for position in shown]
        else:
            entries = list(_objects(found, name, label, shown)) or [(-1, "")]
        for position, pairs in entries:
            lines.append((names[name], None if position < 0 else str(found.categories.ids[position]), pairs))
    table = pl.DataFrame(lines, {"ImageId": pl.String, "ClassId": pl.String, "EncodedPixels": pl.String}, orient="row")
    write_table(out, table if len(shown) > 1 else table.drop("ClassId"))


def write_npz(found: Predicted, out: Path, rows: Rows = "object", pixels: Pixels = "index") -> None:
    """Write `masks` (N, H, W) of category ids and `names` (N,) as .npz, one image in memory at a time.

    Raises:
        DataError: images of several sizes.
    """
    _check_suffix(out, ".npz")
    size: tuple[int, ...] | None = None
    dtype = np.dtype(id_type(found.categories))
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open(_entry("masks.npy"), "w", force_zip64=True) as member:
            for name, label in found:
                if size is None:
                    size = label.shape
                    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
                    np.lib.format.write_array_header_1_0(member, {**header, "shape": (len(found.files), *size)})
                if label.shape != size:
                    next_move = "hand in PNGs with --to png_zip, or resize the labels as the challenge says"
                    raise DataError(
                        problem(f"labels of one size, {size}", f"{label.shape}", where=name, next_move=next_move)
                    )
                member.write(to_ids(label, found.categories).tobytes())
        with file.open(_entry("names.npy"), "w") as member:
            np.lib.format.write_array(member, np.array([name for name, _ in found.files]), allow_pickle=False)


def write_png_zip(found: Predicted, out: Path, rows: Rows = "object", pixels: Pixels = "index") -> None:
    """Write NAME.png of each image into a ZIP: gray category ids, of 16 bits where one needs them, or RGB colours."""
    _check_suffix(out, ".zip")
    palette = found.categories.palette()
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, label in found:
            shown = to_ids(label, found.categories) if pixels == "index" else palette[label][..., ::-1]
            done, data = cv2.imencode(".png", np.ascontiguousarray(shown))
            assert done
            file.writestr(_entry(f"{name}.png"), data.tobytes())


SUBMISSIONS: dict[str, Callable[[Predicted, Path, Rows, Pixels], None]] = {
    "rle_csv": write_rle_csv,
    "npz": write_npz,
    "png_zip": write_png_zip,
}
"""Form → what writes it."""


def _objects(found: Predicted, name: str, label: LabelMap, shown: list[int]) -> Iterator[tuple[int, str]]:
    """Yield category position and pairs of each object, category by category, in the order of their numbers."""
    for position, own in objects_by_category(label, shown, read_ids(found.instances, name, label)):
        for _, drawn in objects_of(own):
            yield position, counts_to_pairs(to_counts(drawn, (label.shape[0], label.shape[1])))


def _last_parts(found: Predicted) -> dict[str, str]:
    """Return what images are called in a CSV: their names without folders."""
    known: dict[str, str] = {}
    for name, _ in found.files:
        if (other := known.setdefault(PurePosixPath(name).name, name)) != name:
            next_move = "rename one of them: a CSV has no folders"
            raise DataError(problem("one image a name", f"{other} and {name}", where="rle_csv", next_move=next_move))
    return {name: last for last, name in known.items()}


def _check_suffix(out: Path, suffix: str) -> None:
    if out.suffix != suffix:
        raise UsageError(problem(f"a file NAME{suffix}", out.name, where="--out", next_move="give it this suffix"))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry

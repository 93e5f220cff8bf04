"""A folder of label files in, tables out: a row an image and category, a row an object."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.data.formats.files import find_files, match_name
from maskwright.data.formats.pieces import BACKGROUND_NAMES
from maskwright.data.images import SUFFIXES, size_of
from maskwright.data.predicted import data_of, label_categories, label_files, read_ids, read_labels
from maskwright.data.spacing import DICOM, TIFF, read_spacing
from maskwright.errors import DataError, problem
from maskwright.labels import objects_by_category
from maskwright.measure.shapes import Shape, measure_objects
from maskwright.progress import track
from maskwright.types import Array, Categories, LabelMap, Spacing

PER_IMAGE: dict[str, Any] = {
    "image": pl.String,
    "category": pl.String,
    "unit": pl.String,
    "area": pl.Float64,
    "share": pl.Float64,
    "count": pl.Int64,
    "mean_area": pl.Float64,
    "perimeter": pl.Float64,
    "mean_equivalent_diameter": pl.Float64,
    "mean_feret_max": pl.Float64,
    "largest_feret_max": pl.Float64,
    "sum_feret_max": pl.Float64,
}
PER_OBJECT: dict[str, Any] = {
    "image": pl.String,
    "category": pl.String,
    "object": pl.Int64,
    "unit": pl.String,
    "area": pl.Float64,
    "perimeter": pl.Float64,
    "equivalent_diameter": pl.Float64,
    "feret_max": pl.Float64,
    "feret_min": pl.Float64,
    "row": pl.Float64,
    "column": pl.Float64,
    "top": pl.Int64,
    "left": pl.Int64,
    "height": pl.Int64,
    "width": pl.Int64,
}


@dataclass(frozen=True)
class Measured:
    """What a folder of label files measures.

    Attributes:
        per_image: a row an image and category, `PER_IMAGE`. Lengths are in `unit`, areas in its square, px or mm. What
            there is none of has the count 0, the area 0, and no mean.
        per_object: a row an object, `PER_OBJECT`; position and box are in pixels.
        without_spacing: names of images that are measured in pixels.
    """

    per_image: pl.DataFrame
    per_object: pl.DataFrame
    without_spacing: list[str]


def measure_folder(
    labels: Path,
    *,
    instances: Path | None = None,
    images: Path | None = None,
    spacing: Spacing | None = None,
    named_by: Path | None = None,
) -> Measured:
    """Measure every object of every category but the background.

    Objects are the 8-connected components of a category, or what has a number of its own in an id map, and components
    that no number touches (`labels.objects_by_category`). Lengths are
    maximum Feret diameters (`shapes.feret`), not lengths of skeletons.

    Args:
        labels: folder of label files, or a run.
        instances: folder of id maps of the same names, 0 background; an object is of the category of most of its
            pixels.
        images: folder of the images, TIFF or DICOM, which state how large their pixels are.
        spacing: height and width of a pixel in millimetres, of all images; goes before what a run's recipe states
            (`data.spacing`), and that before the images.
        named_by: as of `data.predicted.label_categories`.

    Raises:
        DataError: a file can't be read, holds unknown values, or has another size than its id map or image.
    """
    files = label_files(labels)
    categories = label_categories(labels, files, named_by)
    stated = spacing or _of_recipe(named_by or labels)
    sources = {} if images is None or stated is not None else _by_name(images)
    ids = None if instances is None else dict(label_files(instances))
    rows: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    bare = []
    for name, path in track(files, "measure", len(files)):
        label = read_labels(path, categories)
        size = stated or _own_spacing(sources.get(name) or sources.get(_file_of(name)), label)
        bare += [] if size else [name]
        found = list(_shapes(label, categories, read_ids(ids, name, label), size or (1.0, 1.0)))
        unit = "mm" if size else "px"
        objects += [_object_row(name, category, unit, shape) for category, shape in found]
        rows += _image_rows(name, label, categories, unit, size or (1.0, 1.0), found)
    return Measured(
        pl.DataFrame(rows, schema=PER_IMAGE, orient="row"), pl.DataFrame(objects, schema=PER_OBJECT, orient="row"), bare
    )


def measured(categories: Categories) -> list[int]:
    """Return the positions of the categories that are measured: all but the background."""
    return [p for p, name in enumerate(categories.names) if name.lower() not in BACKGROUND_NAMES]


def _shapes(
    label: LabelMap, categories: Categories, ids: Array | None, spacing: Spacing
) -> Iterator[tuple[str, Shape]]:
    for position, own in objects_by_category(label, measured(categories), ids):
        for shape in measure_objects(own, spacing):
            yield categories.names[position], shape


def _image_rows(
    name: str,
    label: LabelMap,
    categories: Categories,
    unit: str,
    spacing: Spacing,
    found: list[tuple[str, Shape]],
) -> Iterator[dict[str, Any]]:
    counts = np.bincount(label.ravel(), minlength=256)
    for position in measured(categories):
        category = categories.names[position]
        shapes = [shape for own, shape in found if own == category]
        ferets = [shape.feret_max for shape in shapes]
        yield {
            "image": name,
            "category": category,
            "unit": unit,
            "area": float(counts[position] * spacing[0] * spacing[1]),
            "share": float(counts[position] / label.size),
            "count": len(shapes),
            "mean_area": _mean([shape.area for shape in shapes]),
            "perimeter": _known(math.fsum(shape.perimeter for shape in shapes)),
            "mean_equivalent_diameter": _mean([shape.equivalent_diameter for shape in shapes]),
            "mean_feret_max": _mean(ferets),
            "largest_feret_max": max(ferets, default=None),
            "sum_feret_max": math.fsum(ferets),
        }


def _object_row(name: str, category: str, unit: str, shape: Shape) -> dict[str, Any]:
    row = asdict(shape) | {"image": name, "category": category, "unit": unit}
    row["row"], row["column"] = row.pop("centroid")
    row["top"], row["left"], row["height"], row["width"] = row.pop("box")
    row["perimeter"] = _known(shape.perimeter)
    return {key: row[key] for key in PER_OBJECT}


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _of_recipe(place: Path) -> Spacing | None:
    data = data_of(place)
    return None if data is None else data.spacing


def _by_name(images: Path) -> dict[str, Path]:
    """Return the images by name."""
    return {
        match_name(path.relative_to(images)): path
        for path in find_files(images)
        if path.suffix.lower() in (*SUFFIXES, *DICOM)
    }


def _file_of(name: str) -> str:
    """Return the name of the DICOM file whose frame `a/0001` may be."""
    file, _, frame = name.rpartition("/")
    return file if frame.isdecimal() else name


def _own_spacing(path: Path | None, label: LabelMap) -> Spacing | None:
    if path is None or (spacing := read_spacing(path)) is None:
        return None
    if path.suffix.lower() in TIFF and (size := size_of(path)[:2]) != label.shape:
        raise DataError(
            problem(
                f"labels of the image's size {size[1]}×{size[0]}, which its pixel size is of",
                f"{label.shape[1]}×{label.shape[0]}",
                where=str(path),
                next_move="give the images that were predicted, or state the size with --spacing",
            )
        )
    return spacing

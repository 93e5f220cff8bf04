"""Data Science Bowl 2018: NAME/images/NAME.png beside NAME/masks/, one binary mask an object."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maskwright.data.formats.files import find_images, top_folder
from maskwright.data.formats.one_class import FOREGROUND, object_masks, one_class
from maskwright.data.formats.rows import Content, Records, Row, Source
from maskwright.data.formats.sidecars import meta_of, read_classes, read_meta, write_classes, write_meta
from maskwright.data.images import SUFFIXES, read_values, size_of, stored_size
from maskwright.data.written import place_image, write_array
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Array

READS = ("*",)
_DEPTH = 3


def recognise(root: Path) -> bool:
    """Tell whether a folder up to three levels below holds images/ with an image of the folder's own name."""
    return next(_places(root), None) is not None


def read(root: Path) -> Source:
    """Return the rows, named as their folders; `part` is the folder above (stage1_train: train).

    The mask is background and foreground. Where two objects overlap, the one whose file name comes first keeps the
    pixels. A folder without masks/ is an unlabelled image; one with an empty masks/ has no object.

    Raises:
        DataError: classes.json or meta.csv can't be read.
    """
    meta = read_meta(root / "meta.csv")
    rows = []
    for place, image in sorted(_places(root)):
        name = place.relative_to(root).as_posix()
        labelled = (place / "masks").is_dir()
        rows.append(
            Row(
                image.relative_to(root).as_posix(),
                f"@/masks/{name}.png" if labelled else None,
                f"@/instances/{name}.png" if labelled else None,
                _part(name),
                meta_of(meta, name),
                partial(_render, image, place / "masks") if labelled else None,
            )
        )
    categories, ignore = read_classes(root / "classes.json")
    return Source("dsb2018", rows, categories or FOREGROUND, ignore)


def write(root: Path, records: Records) -> None:
    """Write records as NAME/images/ and NAME/masks/; classes.json holds the names of the two categories.

    Raises:
        UsageError: there are more categories than background and one other, or labels that are no objects.
    """
    categories = one_class(records.categories, "dsb2018")
    meta = {}
    for record in records:
        masks = object_masks(record, "dsb2018")
        name = record.name.removeprefix("unlabeled/")
        place = root / name
        place_image(place / "images", place.name, record.image)
        if masks is not None:
            (place / "masks").mkdir()
            for number, (top, left, pixels) in enumerate(masks, 1):
                canvas = np.zeros(record.size, np.uint8)
                canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = 255
                write_array(place / "masks" / f"{number:06d}.png", canvas)
        meta[name] = record.meta
    write_classes(root / "classes.json", categories, IGNORE)
    write_meta(root / "meta.csv", meta)


def _places(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (folder, image) of each image; folders that hold images/ are not looked into any further."""
    if (root / "images").is_dir():
        return
    for folder, inner, _ in os.walk(root):
        place = Path(folder)
        if "images" in inner:
            found = sorted(p for p in (place / "images").iterdir() if p.suffix.lower() in SUFFIXES)
            yield from ((place, path) for path in found if path.stem == place.name)
        deep = "images" in inner or len(place.relative_to(root).parts) >= _DEPTH
        inner[:] = [] if deep else sorted(name for name in inner if not name.startswith("."))


def _part(name: str) -> str | None:
    above = top_folder(name)
    return {"stage1_train": "train", "stage1_test": "test", "stage2_test": "test"}.get(above or "", above)


def _render(image: Path, folder: Path) -> Content:
    upright, stored = size_of(image)[:2], stored_size(image)
    ids: Array | None = None
    for number, path in enumerate(find_images(folder), 1):
        mask = read_values(path) > 0
        ids = np.zeros(mask.shape if mask.shape == upright else stored, np.int32) if ids is None else ids
        if mask.shape != ids.shape:
            raise DataError(
                problem(
                    f"masks of the image's size, {ids.shape[1]}×{ids.shape[0]}",
                    f"{mask.shape[1]}×{mask.shape[0]}",
                    where=str(path),
                    next_move="mend or remove the mask",
                )
            )
        ids[mask & (ids == 0)] = number
    ids = np.zeros(stored, np.int32) if ids is None else ids
    return Content(mask=(ids > 0).astype(np.uint8), instances=ids)

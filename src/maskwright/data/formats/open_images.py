"""Open Images: images/PART beside masks/PART, a binary mask an object, listed in *-object-segmentation.csv."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from maskwright.data.formats.files import by_name, inside
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.images import read_values, stored_size
from maskwright.errors import DataError, problem
from maskwright.types import Category

READS = ("images", "masks", "annotations")
_TABLES = "annotations/*object-segmentation.csv"
_NAMES = "annotations/*class-descriptions.csv"


def recognise(root: Path) -> bool:
    """Tell whether there is such a table beside images/."""
    return (root / "images").is_dir() and next(root.glob(_TABLES), None) is not None


def read(root: Path) -> Source:
    """Return the rows; parts as the folders are called. Categories have their display names where those are listed.

    Masks are stretched to the size of their image. An object that is listed later lies above. Images without a row
    are unlabelled: their boxes and tags are not read.

    Raises:
        DataError: a table can't be read, or names a mask that isn't there.
    """
    shown = _display_names(root)
    listed: dict[str, list[tuple[Path, str]]] = {}
    for table in sorted(root.glob(_TABLES)):
        part = table.name.split("-")[0].removeprefix("oidv6_").removeprefix("oidv7_")
        for mask, image, label in _table(table, ("MaskPath", "ImageID", "LabelName")).iter_rows():
            path = root / inside(root, f"masks/{part}/{mask}", where=table)
            if not path.is_file():
                next_move = "add the file, or remove its row"
                raise DataError(problem("a mask", "none", where=f"{table}: {mask}", next_move=next_move))
            listed.setdefault(f"{part}/{image}", []).append((path, shown.get(label, label)))
    names = sorted({label for found in listed.values() for _, label in found})
    ids = {name: number for number, name in enumerate(names, 1)}
    rows = []
    for name, image in sorted(by_name(root, "images").items()):
        masks = [(mask, ids[label]) for mask, label in listed.pop(name, [])]
        part = name.split("/", 1)[0]
        if not masks:
            rows.append(Row(image, None, None, part))
            continue
        render = partial(_render, root / image, masks)
        rows.append(Row(image, f"@/masks/{name}.png", f"@/instances/{name}.png", part, render=render))
    things = tuple(Category(ids[name], name, isthing=True, values=(ids[name],)) for name in names)
    background = Category(0, "background", (64, 64, 64), values=(0,))
    leftovers = sorted(mask.relative_to(root).as_posix() for found in listed.values() for mask, _ in found)
    return Source("open_images", rows, (background, *things), (), leftovers)


def _table(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False).select(columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        next_move = "replace the file"
        got = str(error).splitlines()[0]
        raise DataError(problem(f"columns {', '.join(columns)}", got, where=str(path), next_move=next_move)) from None


def _display_names(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(root.glob(_NAMES)):
        lines = (line.split(",", 1) for line in path.read_text(encoding="utf-8-sig").splitlines())
        found |= {words[0].strip(): words[1].strip().strip('"') for words in lines if len(words) == 2}
    return found


def _render(image: Path, masks: list[tuple[Path, int]]) -> Content:
    height, width = stored_size(image)
    mask, ids = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    for number, (path, category) in enumerate(masks, 1):
        drawn = Image.fromarray((read_values(path) > 0).astype(np.uint8))
        pixels = np.asarray(drawn.resize((width, height), Image.Resampling.NEAREST)) > 0
        mask[pixels], ids[pixels] = category, number
    return Content(mask=mask, instances=ids)

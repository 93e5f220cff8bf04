"""images/ with masks/ (semantic) and/or instances/ (ids), same names; unlabeled/; meta.csv; classes.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from maskwright.data.formats import layers, open_images
from maskwright.data.formats.conventions import match_labels
from maskwright.data.formats.files import by_name, first_file, name_of, top_folder
from maskwright.data.formats.rows import Records, Row, Source
from maskwright.data.formats.sidecars import (
    meta_of,
    read_classes,
    read_dataset_meta,
    read_meta,
    states_values,
    write_classes,
    write_meta,
)
from maskwright.data.formats.streets import hex_color
from maskwright.data.images import COLOR, SUFFIXES, read_values
from maskwright.data.written import place_image, write_array
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Category

READS = ("images", "masks", "instances", "unlabeled", "meta.csv", "classes.json", "dataset_meta.json")
_LOOKED_AT = 8


def recognise(root: Path) -> bool:
    """Tell whether the folder has images/ beside masks/ or instances/, one file an image."""
    labelled = (root / "masks").is_dir() or (root / "instances").is_dir()
    if not labelled or first_file(root / "images", SUFFIXES) is None:
        return False
    return not layers.recognise(root) and not open_images.recognise(root)


def write(root: Path, records: Records) -> None:
    """Write records as images/, masks/ and instances/ (ids), unlabeled/, meta.csv and classes.json."""
    top = IGNORE if max(records.categories.ids) < IGNORE else 65535
    table = np.full(256, top, np.int32)
    table[: len(records.categories)] = records.categories.ids
    meta: dict[str, dict[str, str]] = {}
    for record in records:
        bare = record.label is None and record.instances is None
        folder = "unlabeled" if bare else "images"
        name = record.name.removeprefix("unlabeled/") if bare else record.name
        place_image(root / folder, name, record.image)
        if record.label is not None:
            write_array(root / "masks" / f"{name}.png", table[record.label])
        if record.instances is not None:
            write_array(root / "instances" / f"{name}.png", record.instances)
        meta[name_of(f"{folder}/{name}.png")] = record.meta
    write_classes(root / "classes.json", records.categories, top)
    write_meta(root / "meta.csv", meta)


def has_images(root: Path) -> bool:
    """Tell whether the folder has images/ or unlabeled/, all that is needed where no other layout fits."""
    return (root / "images").is_dir() or (root / "unlabeled").is_dir()


def read(root: Path) -> Source:
    """Return the rows of a folder.

    A mask of another name than its image's belongs to it if the names are the same but for what says image or mask:
    `a_mask`, `gt_a` (`conventions.match_labels`).

    Raises:
        DataError: two files claim the same name, there is no image, or classes.json or meta.csv can't be read.
    """
    images = by_name(root, "images")
    masks = match_labels(by_name(root, "masks"), images, root)
    instances = match_labels(by_name(root, "instances"), images, root)
    meta = read_meta(root / "meta.csv")
    rows = [
        Row(path, masks.get(name), instances.get(name), top_folder(name), meta_of(meta, name))
        for name, path in sorted(images.items())
    ]
    rows += [
        Row(path, None, None, "unlabeled", meta_of(meta, name))
        for name, path in sorted(by_name(root, "unlabeled").items())
    ]
    if not rows:
        raise DataError(
            problem(
                f"images ({', '.join(SUFFIXES)})",
                "none",
                where=f"{root}/images",
                next_move="put the images there, or convert them to one of these types",
            )
        )
    leftovers = [path for table in (masks, instances) for name, path in sorted(table.items()) if name not in images]
    categories, ignore = _categories(root, masks)
    return Source("folder", rows, categories, ignore, leftovers)


def _categories(root: Path, masks: dict[str, str]) -> tuple[tuple[Category, ...] | None, tuple[int | str, ...]]:
    """Return (categories, ignored values); their values are their colours where masks are RGB and none are stated."""
    categories, ignore = read_classes(root / "classes.json")
    if categories is None:
        return read_dataset_meta(root / "dataset_meta.json"), ignore
    distinct = len({c.color for c in categories}) == len(categories)
    if distinct and not states_values(root / "classes.json") and _are_colors(root, masks):
        return tuple(replace(c, values=(hex_color(c.color),)) for c in categories), ignore
    return categories, ignore


def _are_colors(root: Path, masks: dict[str, str]) -> bool:
    """Tell whether one of the first masks is RGB, other than gray."""
    for path in sorted(masks.values())[:_LOOKED_AT]:
        try:
            values = np.unique(read_values(root / path))
        except DataError:  # the audit names it
            continue
        colors = values[values >= COLOR] - COLOR
        if (colors // 65536 != colors % 256).any() or (colors // 256 % 256 != colors % 256).any():
            return True
    return False

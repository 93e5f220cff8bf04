"""Mapillary Vistas: PART/images beside PART/v2.0 (or v1.2, or the part itself) labels/ and instances/; config*.json."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.data.formats.files import MALFORMED, by_name, read_json_file
from maskwright.data.formats.lookup import no_files
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.images import read_values
from maskwright.errors import DataError, problem
from maskwright.types import Category

READS = ("*",)
_PARTS = {
    "train": "train", "training": "train", "val": "val", "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip
_VERSIONS = (("v2.0", "config_v2.0.json"), ("v1.2", "config_v1.2.json"), ("", "config.json"))


def recognise(root: Path) -> bool:
    """Tell whether a config of one of the versions lies beside parts with images/ and labels/."""
    return _version(root) is not None


def read(root: Path) -> Source:
    """Return the rows. Of two versions of the labels the newer one is read; labels that aren't evaluated are ignored.

    Masks are the files of labels/, whose values are positions in the config; objects are those of labels that have
    instances (label × 256 + object, objects from 0 on).

    Raises:
        DataError: the config can't be read.
    """
    found = _version(root)
    if found is None:
        raise no_files("config.json beside training/ with labels/", root)
    version, config = found
    labels = _labels(root / config)
    counted = [place for place, label in enumerate(labels) if label.get("instances")]
    rows, leftovers = list[Row](), list[str]()
    for folder, part in _PARTS.items():
        base = f"{folder}/{version}" if version else folder
        images = by_name(root, f"{folder}/images")
        masks, ids = by_name(root, f"{base}/labels"), by_name(root, f"{base}/instances")
        for name, path in sorted(images.items()):
            if name not in ids:
                rows.append(Row(path, masks.get(name), None, part))
                continue
            render = partial(_render, root / ids[name], counted)
            rows.append(Row(path, masks.get(name), f"@/instances/{folder}/{name}.png", part, render=render))
        leftovers += [path for table in (masks, ids) for name, path in sorted(table.items()) if name not in images]
    categories = tuple(_category(place, label) for place, label in enumerate(labels) if label.get("evaluate", True))
    ignore = tuple(place for place, label in enumerate(labels) if not label.get("evaluate", True))
    return Source("mapillary", rows, categories, ignore, leftovers)


def _version(root: Path) -> tuple[str, str] | None:
    for version, config in _VERSIONS:
        if (root / config).is_file() and any((root / part / version / "labels").is_dir() for part in _PARTS):
            return version, config
    return None


def _labels(path: Path) -> list[dict[str, Any]]:
    tree = read_json_file(path)
    try:
        return [{**label, "name": str(label["name"]), "color": _color(label["color"])} for label in tree["labels"]]
    except MALFORMED as error:
        next_move = "replace the file"
        got = f"{type(error).__name__}: {error}"
        raise DataError(problem("labels with name and color", got, where=str(path), next_move=next_move)) from None


def _color(values: Any) -> tuple[int, int, int]:
    red, green, blue = values
    return int(red), int(green), int(blue)


def _category(place: int, label: dict[str, Any]) -> Category:
    return Category(place, label["name"], label["color"], bool(label.get("instances")), (place,))


def _render(path: Path, counted: list[int]) -> Content:
    ids = read_values(path)
    return Content(instances=np.where(np.isin(ids // 256, counted), ids + 1, 0))

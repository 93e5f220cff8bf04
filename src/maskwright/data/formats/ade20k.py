"""ADE20K (full, 2020 form): a.jpg with a_seg.png and a.json; red and green are the category, blue the object."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from maskwright.data.formats.files import MALFORMED, by_name, first_file, read_json_file
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.errors import DataError, problem
from maskwright.types import Array, Category

READS = ("*",)
_PARTS = {"training": "train", "validation": "val"}


def recognise(root: Path) -> bool:
    """Tell whether training/ or validation/ holds a mask `a_seg.png` with a.json beside it."""
    masks = (first_file(root / part, (".png",), ending="_seg") for part in _PARTS)
    return any(mask is not None and (mask.parent / f"{mask.stem[:-4]}.json").is_file() for mask in masks)


def read(root: Path) -> Source:
    """Return the rows; `scene` is a column. Parts of objects (`_parts_1.png`) are not read.

    Categories are those that the JSON files name, by their index there; pixels of none are category 0, unlabeled, which
    is ignored.

    Raises:
        DataError: a JSON file can't be read.
    """
    names: dict[int, str] = {}
    rows = []
    for folder, part in _PARTS.items():
        files = by_name(root, folder)
        for name, path in sorted(files.items()):
            if f"{name}_seg" not in files:
                if not _is_label(name, files):
                    rows.append(Row(path, None, None, part))
                continue
            scene = _names(root / folder / f"{name}.json", names)
            made = (f"@/masks/{folder}/{name}.png", f"@/instances/{folder}/{name}.png")
            rows.append(Row(path, *made, part, {"scene": scene}, partial(_render, root / files[f"{name}_seg"])))
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    categories = tuple(
        Category(number, f"{name} ({number})" if name in twice else name, isthing=True, values=(number,))
        for number, name in sorted(names.items())
    )
    return Source("ade20k", rows, categories, (0,))


def _is_label(name: str, files: dict[str, str]) -> bool:
    """Tell masks from images: a_seg, a_parts_1, and what lies in a folder called as an image."""
    above, _, last = name.rpartition("/")
    return above in files or last.endswith("_seg") or "_parts_" in last


def _names(path: Path, names: dict[int, str]) -> str:
    """Add the categories that a JSON file names; return its scene."""
    tree = read_json_file(path)
    try:
        found = tree["annotation"]
        for item in found["object"]:
            names.setdefault(int(item["name_ndx"]), str(item["name"]).split(",")[0].strip())
        return "/".join(map(str, found.get("scene", ())))
    except MALFORMED as error:
        got, next_move = f"{type(error).__name__}: {error}", "replace the file"
        raise DataError(problem("annotation with objects", got, where=str(path), next_move=next_move)) from None


def _render(path: Path) -> Content:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    array: Array | None = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if array is None:
        next_move = "replace the file, or move it out of the folder"
        raise DataError(problem("an RGB mask", "no image", where=str(path), next_move=next_move))
    blue, green, red = (array[..., channel].astype(np.int32) for channel in range(3))
    # blue numbers objects within an image, from 1 on, whatever their category
    return Content(mask=red // 10 * 256 + green, instances=blue)

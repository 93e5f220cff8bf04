"""COCO's JSON files, of instances and of panoptic segments: their lists, ids, categories and parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

from maskwright.data.formats.files import read_json_file
from maskwright.data.formats.lookup import PARTS, part_of
from maskwright.data.formats.pieces import BOTH, rgb_of
from maskwright.errors import DataError, problem
from maskwright.types import Category

_LISTED = 10


def read_coco(path: Path) -> dict[str, Any]:
    """Return a COCO file with its three lists, empty where they are missing.

    Raises:
        DataError: it can't be read, or these are no lists of objects.
    """
    tree = read_json_file(path)
    lists = {key: tree.get(key) or [] for key in ("images", "annotations", "categories")} if type(tree) is dict else {}
    wrong = [k for k, v in lists.items() if type(v) is not list or any(type(item) is not dict for item in v)]
    if wrong or not lists:
        raise faulty(path, [f"{key} is no list of objects" for key in wrong or ["the file"]])
    info = tree.get("info")
    stated = info if isinstance(info, dict) else {}
    if wrong := [key for key in ("part", "background") if not isinstance(stated.get(key), (str, NoneType))]:
        raise faulty(path, [f"info.{key} is neither a name nor null" for key in wrong])
    return {**tree, **lists, "info": stated}


def checked_ids(path: Path, tree: dict[str, Any]) -> tuple[set[Any], set[Any]]:
    """Return the ids of a COCO file's images and of its categories.

    Raises:
        DataError: one lacks an id or a name, or has one that another has.
    """
    faults = [
        *_faults_of_ids("image", tree["images"], ("id", "file_name")),
        *_faults_of_ids("category", tree["categories"], ("id", "name")),
    ]
    if faults:
        raise faulty(path, faults)
    return {item["id"] for item in tree["images"]}, {item["id"] for item in tree["categories"]}


def category_of(entry: dict[str, Any], *, isthing: bool) -> Category:
    """Return a category of a COCO file; `isthing` is what it is unless it says so itself."""
    color = rgb_of(entry.get("color")) or (0, 0, 0)
    return Category(entry["id"], entry["name"], color, bool(entry.get("isthing", isthing)))


def part_of_file(path: Path, tree: dict[str, Any], root: Path) -> str | None:
    """Return the part that a COCO file is of: as it says, as its name (`…_train2017`) or as its folder's name says."""
    if "part" in tree["info"]:
        return None if tree["info"]["part"] is None else str(tree["info"]["part"])
    words = [word.rstrip("0123456789") for word in re.split(r"[_.\- ]", path.stem.lower())]
    return next((word for word in words if word in PARTS), None) or part_of(path.relative_to(root).as_posix())


def faulty(path: Path, faults: list[str]) -> DataError:
    """Return the error about what is wrong in an annotation file."""
    listed = "; ".join(faults[:_LISTED]) + (f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else "")
    return DataError(
        problem(
            "a consistent COCO file",
            listed,
            where=str(path),
            next_move="mend or remove these entries, or export the annotations again",
        )
    )


def _faults_of_ids(what: str, entries: list[dict[str, Any]], keys: tuple[str, str]) -> Iterator[str]:
    """Yield what is wrong with the ids and names of a COCO file's images or categories."""
    seen: set[Any] = set()
    for place, entry in enumerate(entries):
        number, name = entry.get(keys[0]), entry.get(keys[1])
        if type(number) not in ((int, str) if what == "image" else (int,)) or not isinstance(name, str) or not name:
            yield f"{what} {place} lacks {keys[0]} or {keys[1]}"
            continue
        if what == "image" and not _is_known(entry.get("known", [*BOTH])):
            yield f"{what} {number} has known other than {' or '.join(BOTH)}"
        for value in (("id", number), ("name", name)):
            if value in seen:
                yield f"{what} {value[0]} {value[1]!r} stands there twice"
            seen.add(value)


def _is_known(stated: Any) -> bool:
    return isinstance(stated, list) and bool(stated) and all(what in BOTH for what in stated)

"""YOLO's segments: a text file an image, `class x1 y1 x2 y2 …` a line, coordinates as shares of width and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import yaml

from maskwright.artifacts import RECORDS
from maskwright.data.formats.annotated import (
    Stems,
    check_inside,
    declared,
    drawn_row,
    head,
    refused,
)
from maskwright.data.formats.files import find_files, match_name, whole_number
from maskwright.data.formats.lookup import Images, absent, bare_row, part_of
from maskwright.data.formats.rows import Row, Source
from maskwright.data.formats.shapes import Drawn, Points, Region, Size, bitmap, to_points
from maskwright.errors import DataError, problem
from maskwright.types import MAX_CATEGORIES

_LABELS, _IMAGES, _ORIENTED = "labels", "images", "labelTxt"
_CLASSES = ("classes.txt", "obj.names")
_BOX = 5
_LOOKED_AT = 8

Numbers = list[float]


def recognise(root: Path) -> bool:
    """Tell whether there are text files of numbers in labels/, or beside classes.txt."""
    if any((home / _ORIENTED).is_dir() and any(root.glob("*.yaml")) for home in _homes(root)):
        return True
    return any(_has_numbers(folder) for folder in _label_folders(root))


def read(root: Path) -> Source:
    """Return the rows: images with a text file are labelled, empty where that is empty; all others are not.

    Raises:
        DataError: a file can't be read, holds boxes, or no text file has an image.
    """
    folders = _label_folders(root)
    files = [path for folder in folders for path in find_files(folder) if _is_label(path)]
    lines = {path: _read_lines(path) for path in files}
    columns = [len(numbers) for found in lines.values() for numbers in found]
    if not files or (columns and max(columns) <= _BOX):
        got = "boxes alone (5 columns)" if files else "oriented boxes"
        raise refused(got, root, "boxes are for detection; export segments (polygons)")
    names = _names(root, folders)
    highest = max((int(numbers[0]) for found in lines.values() for numbers in found), default=0)
    if not 0 <= highest < MAX_CATEGORIES:
        next_move = "mend the labels, or list the names in data.yaml"
        raise DataError(
            problem(f"classes 0 to {MAX_CATEGORIES - 1}", f"{highest}", where=str(root), next_move=next_move)
        )
    names = names or [f"class_{i}" for i in range(highest + 1)]
    categories, ids = declared(names)
    images, rows, leftovers = Images(root), dict[str, Row](), list[str]()
    stems = Stems(images)
    for path in files:
        image = _image_of(root, stems, path, folders)
        if image is None:
            leftovers.append(path.relative_to(root).as_posix())
        else:
            rows[image] = _row(root, image, lines[path], names, ids, path)
    if not rows:
        raise absent([path.stem for path in files], where=str(root))
    rows |= {image: bare_row(image) for image in images.others(rows)}
    return Source("yolo", [rows[key] for key in sorted(rows)], categories, (255,), leftovers)


def polygon(points: Points, size: Size) -> Drawn:
    """Return the pixels of a polygon as YOLO's trainer draws it: corners cut to whole pixels, outline included.

    Args:
        points: (P, 2) x and y in pixels.
        size: (H, W).
    """
    corners = np.trunc(points).astype(np.int64)
    left, top = np.maximum(corners.min(0), 0)
    right, bottom = np.minimum(corners.max(0) + 1, (size[1], size[0]))
    canvas = np.zeros((max(0, bottom - top), max(0, right - left)), np.uint8)
    if canvas.size:
        cv2.fillPoly(canvas, [(corners - (left, top)).astype(np.int32)], 1)
    return bitmap(canvas.astype(bool), size, top=int(top), left=int(left))


def _homes(root: Path) -> list[Path]:
    """Return the folder and those directly below; never raises."""
    try:
        below = [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]
        return [root, *(p for p in below if not (p / RECORDS).is_dir())]
    except OSError:
        return []


def _label_folders(root: Path) -> list[Path]:
    """Return the folders called labels, and those that hold classes.txt without any."""
    named = [home / _LABELS for home in _homes(root) if (home / _LABELS).is_dir()]
    return named or [home for home in _homes(root) if any((home / name).is_file() for name in _CLASSES)]


def _has_numbers(folder: Path) -> bool:
    """Tell whether the first text files that say anything say a class and at least four shares."""
    try:
        files = [path for path in find_files(folder) if _is_label(path)][:_LOOKED_AT]
    except OSError:
        return False
    said = [line.split() for path in files for line in head(path, 512).splitlines()[:1]]
    return bool(files) and all(
        len(words) > 4 and whole_number(words[0]) is not None and _is_share(words[1]) for words in said
    )


def _is_label(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.name not in _CLASSES


def _is_share(word: str) -> bool:
    try:
        return -1 < float(word) < 2
    except ValueError:
        return False


def _read_lines(path: Path) -> list[Numbers]:
    """Return the numbers of each line, empty lines left out.

    Raises:
        DataError: something else than a class and pairs of finite numbers.
    """
    found = list[Numbers]()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = [-1.0]
        if values and (not np.isfinite(values).all() or values[0] < 0 or values[0] % 1 or len(values) % 2 == 0):
            next_move = "mend or remove the line"
            where = f"{path}, line {number}"
            raise DataError(problem("a class and pairs of numbers", repr(line[:60]), where=where, next_move=next_move))
        found += [values] if values else []
    return found


def _names(root: Path, folders: Sequence[Path]) -> list[str]:
    """Return the names of data.yaml (a list, or number → name) or classes.txt; none where neither is there."""
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        if names := _yaml_names(path):
            return names
    for path in (home / name for home in (root, *folders, *(f.parent for f in folders)) for name in _CLASSES):
        if path.is_file():
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            return [line.strip() for line in text.splitlines() if line.strip()]
    return []


def _yaml_names(path: Path) -> list[str]:
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        next_move = "mend the file, or remove it: the classes are then numbered"
        raise DataError(problem("YAML", f"{type(error).__name__}", where=str(path), next_move=next_move)) from None
    names = tree.get("names") if isinstance(tree, Mapping) else None
    if isinstance(names, Mapping):
        listed = {whole_number(str(key)): str(name) for key, name in names.items()}
        highest = max((key for key in listed if key is not None), default=-1)
        return [listed.get(i, f"class_{i}") for i in range(min(highest, MAX_CATEGORIES) + 1)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _image_of(root: Path, stems: Stems, path: Path, folders: Sequence[Path]) -> str | None:
    """Return the image of a text file: in images/ where that is in labels/, else the only one of its name."""
    folder = next(f for f in folders if path.is_relative_to(f))
    inner = match_name(path.relative_to(folder))
    place = folder.parent / _IMAGES / inner if folder.name == _LABELS else folder / inner
    found = stems.find(inner, where=path, beside=place.parent.relative_to(root).as_posix())
    return found or stems.find(PurePosixPath(inner).name, where=path)


def _row(root: Path, image: str, lines: list[Numbers], names: Sequence[str], ids: Mapping[str, int], path: Path) -> Row:
    def regions(size: Size) -> list[Region]:
        found = [_region(numbers, size, names, f"{path}, object {i}") for i, numbers in enumerate(lines, 1)]
        return sorted(found, key=lambda region: -int(region.drawn.pixels.sum()))  # the smaller on top, as its trainer

    return drawn_row(root, image, regions, ids, where=str(path), part=part_of(image))


def _region(numbers: Numbers, size: Size, names: Sequence[str], where: str) -> Region:
    if len(numbers) < 7:
        got = "a box" if len(numbers) == _BOX else f"{len(numbers) // 2}"
        next_move = "remove the line, or replace it by the outline"
        raise DataError(problem("a polygon of at least 3 points", got, where=where, next_move=next_move))
    if numbers[0] >= len(names):
        next_move = "add its name to data.yaml or classes.txt, or remove the line"
        raise DataError(problem(f"classes 0 to {len(names) - 1}", f"{numbers[0]:g}", where=where, next_move=next_move))
    points = to_points(np.array(numbers[1:]).reshape(-1, 2) * (size[1], size[0]), where=where)
    return Region(names[int(numbers[0])], polygon(check_inside(points, size, where=where), size))

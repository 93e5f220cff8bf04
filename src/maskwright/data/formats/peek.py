"""Which tool wrote a file, told from its beginning and its end: annotation files may be large."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["coco", "coco_panoptic", "coco_other", "labelme", "via"]

_BYTES = 1 << 16
_DEPTH = 2
LOOKED_AT = 32
"""Files of each folder that are looked at to recognise a format."""


def kinds(root: Path) -> set[Kind]:
    """Return what the JSON files of a folder and of two levels below are; of each folder the first 32 are looked at."""
    files = (path for paths in _by_folder(root, ".json") for path in paths[:LOOKED_AT])
    return {kind for path in files if (kind := kind_of(path))}


def files_of(root: Path, *kinds: Kind) -> list[Path]:
    """Return the JSON files of the given kinds in a folder and two levels below, in the order of their paths."""
    return sorted(path for paths in _by_folder(root, ".json") for path in paths if kind_of(path) in kinds)


def text_files(root: Path, suffix: str, fits: Callable[[Path], bool], *, first: int | None = None) -> list[Path]:
    """Return the files of a type in a folder and two levels below that fit; never raises.

    Args:
        root: the folder.
        suffix: such as `.xml`.
        fits: tells a file; never raises.
        first: how many files of each folder are looked at; None: all.
    """
    files = (path for paths in _by_folder(root, suffix) for path in paths[:first])
    return sorted(path for path in files if fits(path))


def kind_of(path: Path) -> Kind | None:
    """Return what a JSON file is, None for anything else; never raises.

    `coco` holds segmentations, or categories of which there is nothing; `coco_other` captions, tags or images alone.
    """
    text = readable_ends(path)
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    if _has(text, "shapes", r"\[") and (_has(text, "imagePath") or _has(text, "imageData") or _has(text, "flags")):
        return "labelme"
    if _has(text, "_via_img_metadata") or (_has(text, "filename") and _has(text, "regions") and _has(text, "size")):
        return "via"
    if not (_has(text, "images", r"\[") and _has(text, "file_name")):
        return None
    if _has(text, "segments_info", r"\["):
        return "coco_panoptic"
    empty = _has(text, "annotations", r"\[\s*\]") and _has(text, "categories", r"\[\s*\{")
    if empty or _has(text, "segmentation", r"[\[{]"):
        return "coco"
    return "coco_other" if _has(text, "annotations") or _has(text, "categories") else None


def ends_of(path: Path) -> str:
    """Return the first and the last 64 KiB of a text file.

    Raises:
        OSError: it can't be read.
    """
    with open(path, "rb") as file:
        head = file.read(_BYTES)
        size = file.seek(0, 2)
        file.seek(max(len(head), size - _BYTES))
        return (head + b"\n" + file.read(_BYTES)).decode("utf-8", "replace")


def readable_ends(path: Path) -> str:
    """Return the first and the last 64 KiB of a text file, empty text where it can't be read."""
    try:
        return ends_of(path)
    except OSError:
        return ""


def _has(text: str, key: str, opening: str = "") -> bool:
    return re.search(rf'"{key}"\s*:\s*{opening}', text) is not None


def _by_folder(root: Path, suffix: str) -> Iterator[list[Path]]:
    """Yield the files of a type in each folder down to two levels below; folders of images may be large."""
    level, entered = [str(root)], set[str]()
    for depth in range(_DEPTH + 1):
        below: list[str] = []
        for folder in level:
            if (real := os.path.realpath(folder)) in entered:  # a link
                continue
            entered.add(real)
            names, folders = _entries(folder, suffix)
            if ".tasks" not in folders:  # a run folder
                yield [Path(folder, name) for name in sorted(names)]
                below += [os.path.join(folder, name) for name in sorted(folders) if not name.startswith(".")]
        level = below if depth < _DEPTH else []


def _entries(folder: str, suffix: str) -> tuple[list[str], list[str]]:
    """Return the names of the files of a type and of the folders in a folder."""
    files, folders = list[str](), list[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(suffix) and not entry.name.startswith("."):
                    files.append(entry.name)
    except OSError:
        return [], []
    return files, folders

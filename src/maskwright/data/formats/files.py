"""Files of a data folder: finding them, naming images by them, and following what annotation files say safely."""

from __future__ import annotations

import json
import os
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.artifacts import IMPORTED, RECORDS
from maskwright.data.images import SUFFIXES
from maskwright.errors import DataError, problem

LARGEST_TEXT = 1 << 31
"""Bytes of an annotation file up to which it is read: 2 GiB."""

MALFORMED = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What Python raises over a file whose fields have other types, or other numbers, than they should."""

_DIGITS = 18


def name_of(path: str) -> str:
    """Return an image's name: its path without `images/` and without suffix; unique in its data folder.

    Example:
        >>> name_of("images/train/a.b.jpg")
        'train/a.b'
        >>> name_of("unlabeled/a.jpg")
        'unlabeled/a'
    """
    inner = PurePosixPath(path.removeprefix(IMPORTED).removeprefix("images/"))
    return str(inner.with_suffix("")) if inner.suffix.lower() in SUFFIXES else str(inner)


def match_name(path: Path) -> str:
    """Return what files are matched by: the path without suffix, accents composed.

    Some systems write `é` as one letter and some as `e` with an accent; both are the same name.
    """
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def by_name(root: Path, folder: str) -> dict[str, str]:
    """Return {name below the folder, without suffix: path relative to the root} of the image files below a folder.

    Raises:
        DataError: two files claim the same name.
    """
    table: dict[str, str] = {}
    for file in find_images(root / folder):
        path = file.relative_to(root).as_posix()
        name = match_name(file.relative_to(root / folder))
        if name in table:
            raise DataError(
                problem(
                    "one file a name",
                    f"{table[name]} and {path}",
                    where=str(root),
                    next_move="rename or remove one of the two",
                )
            )
        table[name] = path
    return table


def whole_number(text: str) -> int | None:
    """Return the number that a word of digits is, None for any other word, and for a number beyond all counting.

    Example:
        >>> whole_number("07"), whole_number("-1"), whole_number("\u00b2")
        (7, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def in_number_order(text: str) -> tuple[int, int, str]:
    """Return the key by which names are sorted of which some are numbers: these first, 9 before 10."""
    number = whole_number(text)
    return (1, 0, text) if number is None else (0, number, text)


def first_file(folder: Path, suffixes: tuple[str, ...] = SUFFIXES, *, ending: str = "") -> Path | None:
    """Return one file below a folder, for a look at it: the first of its own files, else of the folders in it.

    Args:
        folder: where to look; it may be missing.
        suffixes: of the wanted file, lower case.
        ending: what its name without suffix ends with.
    """
    for place, folders, files in os.walk(folder):
        if RECORDS in folders and Path(place) != folder:
            folders[:] = []
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in suffixes and path.stem.endswith(ending):
                return path
    return None


def find_images(folder: Path) -> list[Path]:
    """Return the image files below a folder as `find_files` does."""
    return [path for path in find_files(folder) if path.suffix.lower() in SUFFIXES]


def find_files(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted, hidden ones and those of runs left out; links to folders are followed.

    Each folder is entered once, by whatever links it can be reached, so that a loop of links ends. A link that leads
    nowhere is in the list: whoever reads it says what is wrong.
    """
    found, entered = list[Path](), set[str]()
    folders, links = [folder] if folder.is_dir() else [], list[Path]()
    while folders or links:
        place = (folders or links).pop(0)
        if (real := os.path.realpath(place)) in entered:
            continue
        entered.add(real)
        for path in sorted(p for p in place.iterdir() if not p.name.startswith(".")):
            if path.is_dir() and (path / RECORDS).is_dir():
                continue
            if path.is_dir():
                (links if path.is_symlink() else folders).append(path)
            elif path.is_file() or (path.is_symlink() and not path.exists()):
                found.append(path)
    return sorted(found)


def inside(root: Path, text: str, *, where: Path) -> str:
    """Return a path that an annotation file states, relative to the root with forward slashes.

    Args:
        root: the data folder.
        text: the path as stated, relative to the root; backslashes count as slashes.
        where: the annotation file, for the message.

    Raises:
        DataError: it is absolute or leads out of the data folder by `..` or a link; such paths are never followed.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    named = bool(path.parts) and "\0" not in text
    within = named and Path(os.path.realpath(root / path)).is_relative_to(os.path.realpath(root))
    if path.is_absolute() or ".." in path.parts or not within or ":" in path.parts[0]:
        raise DataError(
            problem(
                "paths inside the data folder",
                repr(text),
                where=str(where),
                next_move="move the file into the folder and state its path relative to it",
            )
        )
    return str(path)


def read_json_file(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: it can't be read, is cut off, or no JSON.
    """
    _check_size(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable("a JSON file", path, error) from None


def read_xml_file(path: Path) -> ET.Element:
    """Return the root element of an XML file; entities, which can grow without end, are refused.

    Raises:
        DataError: it can't be read, is cut off, declares entities, or is no XML.
    """
    _check_size(path)
    try:
        data = path.read_bytes()
        if b"<!ENTITY" in data:
            raise ValueError("it declares entities")
        return ET.fromstring(data)
    except (OSError, ValueError, ET.ParseError) as error:
        raise _unreadable("an XML file", path, error) from None


def _check_size(path: Path) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size > LARGEST_TEXT:
        raise DataError(
            problem(
                f"annotation files of at most {LARGEST_TEXT >> 30} GiB",
                f"{size / (1 << 30):.1f} GiB",
                where=str(path),
                next_move="export the annotations in several files, each with its images in a folder of its own",
            )
        )


def _unreadable(expected: str, path: Path, error: Exception) -> DataError:
    next_move = "export the annotations again, or move the file out of the folder"
    return DataError(problem(expected, f"{type(error).__name__}: {error}", where=str(path), next_move=next_move))

"""Folders beside images/ that look like masks under another name, so that a message can say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from maskwright.artifacts import RECORDS
from maskwright.data.formats.conventions import match_labels
from maskwright.data.formats.files import by_name, match_name
from maskwright.data.formats.rows import Source
from maskwright.data.images import SUFFIXES
from maskwright.errors import DataError

_READ = ("images", "masks", "instances", "unlabeled")
_MANY = 0.5
_LOSSY = (".jpg", ".jpeg")


def names_of(source: Source) -> list[str]:
    """Return the names of the images in images/, as `files.by_name` gives them."""
    return [match_name(Path(row.image).relative_to("images")) for row in source.rows if row.image.startswith("images/")]


def like_masks(root: Path, names: Collection[str]) -> list[str]:
    """Return the folders with a file for at least half of the images, no JPEG, as `semantic/ (69 of 69 names)`.

    Args:
        root: the data folder.
        names: of its images, as `files.by_name` gives them.
    """
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if folder.name in _READ or (folder / RECORDS).is_dir():
            continue
        try:
            files = {k: v for k, v in by_name(root, folder.name).items() if not v.lower().endswith(_LOSSY)}
            matched = match_labels(files, dict.fromkeys(names, ""), root).keys() & set(names)
        except DataError:  # two files of one name: no masks
            continue
        if names and len(matched) >= _MANY * len(names):
            found.append(f"{folder.name}/ ({len(matched)} of {len(names)} names)")
    return found


def unread(root: Path, names: Collection[str]) -> list[str]:
    """Return the kinds of files in masks/ and instances/ that have the images' names but no format that is read.

    Args:
        root: as in `like_masks`.
        names: as in `like_masks`.

    Returns:
        Such as `instances/*.npy (6 files)`.
    """
    known = {PurePosixPath(name).name for name in names}
    counts = Counter(
        f"{folder}/*{path.suffix}"
        for folder in ("masks", "instances")
        for path in (root / folder).rglob("*")
        if path.suffix.lower() not in SUFFIXES and path.suffix and path.stem in known and path.is_file()
    )
    return [f"{kind} ({count} {'file' if count == 1 else 'files'})" for kind, count in sorted(counts.items())]


def move_them(root: Path, names: Collection[str]) -> str:
    """Return the next move where masks are missing: which folder to rename, or where masks belong.

    Args:
        root: as in `like_masks`.
        names: as in `like_masks`.
    """
    if folders := like_masks(root, names):
        one = "this folder looks" if len(folders) == 1 else "these folders look"
        return f"{one} like masks: {', '.join(folders)}; rename (or copy) the right one to masks/"
    if kinds := unread(root, names):
        return f"{', '.join(kinds)} aren't read as label files: save them as PNG or TIFF, of 8 or 16 bits"
    return f"put label files into {root}/masks under the names of their images"

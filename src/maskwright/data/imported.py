"""Images and labels that a format renders (polygons, run lengths, arrays): written as files, once, by the index."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from maskwright.artifacts import atomic, locate
from maskwright.data.formats.rows import Row
from maskwright.data.written import write_array
from maskwright.progress import track


def write_rows(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Write what the rows render, each image of its own; return the rows with the paths as they are now.

    Args:
        rows: of a source; those without `render` stay as they are.
        folder: what `@/` stands for.

    Raises:
        DataError: an annotation that can't be rendered; the others are not written either.
    """
    if all(row.render is None for row in rows):
        return list(rows)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(track(pool.map(lambda row: _write_row(row, folder), rows), "import labels", len(rows)))


def _write_row(row: Row, folder: Path) -> Row:
    if row.render is None:
        return row
    content = row.render()
    written: dict[str, str] = {}
    pixels = None if isinstance(content.image, Path) else content.image
    if isinstance(content.image, Path):
        _link(content.image, locate(folder, folder, row.image))
    for field, array in (("image", pixels), ("mask", content.mask), ("instances", content.instances)):
        stated = getattr(row, field)
        if array is not None and stated is not None:
            target = locate(folder, folder, stated)
            made = write_array(target.with_name(target.name + ".png") if not target.suffix else target, array)
            written[field] = stated[: len(stated) - len(target.suffix)] + made.suffix
    return replace(row, render=None, **written)  # type: ignore[arg-type]


def _link(file: Path, place: Path) -> None:
    """Link to an image, or copy it where the system has no links for everyone."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        place.symlink_to(file)
    except OSError:
        with atomic(place) as temporary:
            shutil.copyfile(file, temporary)

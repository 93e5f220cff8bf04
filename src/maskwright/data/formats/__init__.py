"""Data layouts, one file a format. Each entry recognises a folder and reads it into rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskwright.data.formats import folder
from maskwright.data.formats.rows import Row, Source
from maskwright.errors import DataError, problem

__all__ = ["FORMATS", "Row", "Source", "read_by", "read_source"]


@dataclass(frozen=True)
class Format:
    """One layout: `recognise` looks at names only, `read` makes the rows from what is under the names in `reads`."""

    recognise: Callable[[Path], bool]
    read: Callable[[Path], Source]
    reads: tuple[str, ...]


FORMATS: dict[str, Format] = {"folder": Format(folder.recognise, folder.read, folder.READS)}


def read_source(root: Path, format_name: str = "auto") -> Source:
    """Return what lies in a data folder.

    Raises:
        DataError: no such folder, or no layout, or more than one, fits it.
    """
    if not root.is_dir():
        raise DataError(
            problem("a data folder", "nothing", where=str(root), next_move="check the path given as --data")
        )
    if format_name != "auto":
        return FORMATS[format_name].read(root)
    fitting = [name for name, layout in FORMATS.items() if layout.recognise(root)]
    if len(fitting) == 1:
        return FORMATS[fitting[0]].read(root)
    found = sorted(p.name + ("/" if p.is_dir() else "") for p in root.iterdir())
    listing = ", ".join(found[:12]) + (" …" if len(found) > 12 else "") if found else "an empty folder"
    raise DataError(
        problem(
            "a folder with images/ beside masks/ and/or instances/ (same names; masks as index PNG)",
            listing if not fitting else f"more than one reading: {', '.join(fitting)}",
            where=str(root),
            next_move="move the images into images/ and their masks into masks/ under the same names"
            if not fitting
            else "choose one with --set data.format=NAME",
        )
    )


def read_by() -> list[str]:
    """Return the names inside a data folder that any format reads; everything else there decides nothing."""
    return sorted({name for layout in FORMATS.values() for name in layout.reads})

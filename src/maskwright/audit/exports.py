"""One annotation file explained: which format it is, what it holds, and whether the folder that it lies in is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskwright.data.formats import FORMATS, Source, voc
from maskwright.data.formats.files import LARGEST_TEXT, read_json_file, read_xml_file
from maskwright.data.formats.sidecars import read_classes
from maskwright.errors import DataError

_LISTED = 8
_ABOVE = 3


@dataclass(frozen=True)
class Export:
    """What an annotation file is.

    Attributes:
        formats: names of the formats whose files begin and end so.
        holds: what is in it, counted, in words.
        folder: the data folder that it belongs to and that is read, None if there is none.
        rows: what is read of that folder, in words.
        fault: why it isn't read, in four parts; None if it is.
    """

    formats: tuple[str, ...]
    holds: tuple[str, ...]
    folder: Path | None = None
    rows: str = ""
    fault: str | None = None


def examine_export(path: Path) -> Export | None:
    """Return what a JSON, XML or CSV file of annotations is, None for any other file. Raises nothing."""
    formats = tuple(name for name, layout in FORMATS.items() if layout.fits is not None and layout.fits(path))
    if not formats:
        return None
    holds: tuple[str, ...] = ()
    try:
        holds = _holds(path)
        found = next((found for name in formats if (found := _read(path, name)) is not None), None)
    except (DataError, OSError) as error:
        return Export(formats, holds, fault=str(error))
    if found is None:
        return Export(formats, holds)
    folder, source = found
    labelled = sum(row.mask is not None or row.instances is not None for row in source.rows)
    names = [category.name for category in source.categories or ()]
    shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    rows = f"{labelled} labelled and {len(source.rows) - labelled} unlabelled images; categories {shown or 'unnamed'}"
    return Export(formats, holds, folder, rows)


def called_beside(path: Path, values: Sequence[str]) -> tuple[str, ...]:
    """Return what mask values are called by classes.json or labelmap.txt in a folder around a mask; raises nothing.

    Args:
        path: the mask.
        values: as a recipe names them: numbers, or #rrggbb.

    Returns:
        a name for each value, "" where it has none; nothing where no file names any.
    """
    for folder in path.absolute().parents[:_ABOVE]:
        try:
            categories, _ = read_classes(folder / "classes.json")
            items = categories or (voc.listed(folder) if (folder / "labelmap.txt").is_file() else None)
        except DataError:
            return ()
        if items is not None:
            known = {str(value): item.name for item in items if item.values != "rest" for value in item.values}
            return tuple(known.get(value, "") for value in values)
    return ()


def _holds(path: Path) -> tuple[str, ...]:
    """Return the counts of what a file lists."""
    if path.suffix.lower() == ".xml":
        tags = Counter(element.tag for element in read_xml_file(path).iter())
        return tuple(f"{count} {tag}" for tag, count in tags.most_common(_LISTED))
    if path.suffix.lower() == ".csv":
        with open(path, "rb") as file:
            lines = file.read(LARGEST_TEXT).splitlines()
        return (f"{max(0, len(lines) - 1)} rows", f"columns {lines[0].decode('utf-8', 'replace')}" if lines else "")
    tree = read_json_file(path)
    if isinstance(tree, list):
        return (f"{len(tree)} entries",)
    lists = {key: value for key, value in tree.items() if isinstance(value, (list, dict))} if tree else {}
    return tuple(f"{len(value)} {key}" for key, value in list(lists.items())[:_LISTED])


def _read(path: Path, name: str) -> tuple[Path, Source] | None:
    """Return the nearest folder around a file that is read as the format, and its rows; None where none is it.

    Raises:
        DataError: folders are in the format, and none of them is read; what is wrong with the nearest.
    """
    faults = list[DataError]()
    for folder in path.absolute().parents[:_ABOVE]:
        if FORMATS[name].recognise(folder):
            try:
                return folder, FORMATS[name].read(folder)
            except DataError as error:  # annotations/ beside images/: the folder above holds both
                faults.append(error)
    if faults:
        raise faults[0]
    return None

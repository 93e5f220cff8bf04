"""VIA 1 and 2, the VGG image annotator: regions of all images in one JSON file (of annotations or a project) or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.data.formats.files import MALFORMED, read_json_file
from maskwright.data.formats.lookup import Images, absent, bare_row, canvas_size, labelled_row, part_of
from maskwright.data.formats.peek import LOOKED_AT, files_of, kinds, text_files
from maskwright.data.formats.pieces import Values, named
from maskwright.data.formats.rows import Content, Source
from maskwright.data.formats.shapes import Drawn, Region, Size, ellipse, line, paint, polygon, rectangle, to_points
from maskwright.errors import DataError, problem

UNNAMED = "object"
"""The category of regions that have no attributes."""

_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
_KEYS = ("label", "labels", "class", "category", "name", "type")
_POINT = 5
_CORNERS = 180
_Region = tuple[dict[str, Any], dict[str, Any]]
_Table = dict[str, list[_Region]]
"""File name → regions as (shape, attributes)."""


def recognise(root: Path) -> bool:
    """Tell whether there are VIA's JSON or CSV files."""
    return "via" in kinds(root) or bool(text_files(root, ".csv", _fits, first=LOOKED_AT))


def read(root: Path) -> Source:
    """Return the rows of VIA's files and the images that none of them names.

    Regions are painted in the order of the file, one object each; one that is listed twice counts once. The category is
    the only attribute of the regions, or the only one that is called label, class, category, name or type.

    Raises:
        DataError: a file or a region that can't be read, attributes of which several could be the category, two files
            that differ about an image, boxes alone, or images that aren't there.
    """
    stated = {path: _read(path) for path in [*files_of(root, "via"), *text_files(root, ".csv", _fits)]}
    regions = [(path, name, item) for path, table in stated.items() for name, items in table.items() for item in items]
    if not regions or all(shape.get("name") == "rect" for *_, (shape, _) in regions):
        raise DataError(
            problem(
                "regions with outlines",
                "boxes alone" if regions else "none",
                where=", ".join(map(str, stated)) or str(root),
                next_move="outline the objects: boxes can't be learned from here",
            )
        )
    key = _category_key(regions)
    categories, values = named(_category(attributes, key, f"{path}, {name}") for path, name, (_, attributes) in regions)
    images = Images(root)
    found: dict[str, tuple[Path, list[tuple[str, dict[str, Any]]]]] = {}
    for path, table in stated.items():
        _add(path, table, key, images, found)
    rows = [
        labelled_row(name, partial(_render, path, items, root / name, values), part_of(name))
        for name, (path, items) in found.items()
    ]
    rows += [bare_row(path) for path in images.others(found)]
    return Source("via", sorted(rows, key=lambda row: row.image), categories, (values.ignore,))


def _fits(text: str) -> bool:
    header = text.partition("\n")[0]
    return all(column in header for column in _COLUMNS)


def _wrong(expected: str, got: str, where: str, next_move: str = "mend or remove it in VIA") -> DataError:
    return DataError(problem(expected, got, where=where, next_move=next_move))


def _read(path: Path) -> _Table:
    table: _Table = {}
    for name, shape, attributes in _from_csv(path) if path.suffix.lower() == ".csv" else _from_json(path):
        items = table.setdefault(name, [])
        if shape:
            items.append((shape, attributes))
    return table


def _from_json(path: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    tree = read_json_file(path)
    entries = tree.get("_via_img_metadata", tree) if isinstance(tree, dict) else None
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        name = entry.get("filename") if isinstance(entry, dict) else None
        regions = entry.get("regions") or [] if isinstance(entry, dict) else None
        regions = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1 numbers them
        if not isinstance(name, str) or not isinstance(regions, list):
            raise _wrong("filename and regions", "neither or one", f"{path}, {key}")
        yield name, {}, {}
        for place, region in enumerate(regions):
            shape = region.get("shape_attributes") if isinstance(region, dict) else None
            if not isinstance(shape, dict) or not shape:
                raise _wrong("shape_attributes", "none", f"{path}, region {place} of {name}")
            attributes = region.get("region_attributes") or {}
            if not isinstance(attributes, dict):
                raise _wrong(
                    "region_attributes by their names", str(attributes)[:60], f"{path}, region {place} of {name}"
                )
            yield name, shape, attributes


def _from_csv(path: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig").removeprefix("#")  # VIA 1 writes #filename
        for row in csv.DictReader(io.StringIO(text, newline="")):
            shape, attributes = (json.loads(row[column] or "{}") for column in _COLUMNS[1:])
            if not row["filename"] or not isinstance(shape, dict) or not isinstance(attributes, dict):
                raise ValueError(f"a row without {', '.join(_COLUMNS)}")
            yield row["filename"], shape, attributes
    except (OSError, csv.Error, *MALFORMED) as error:
        got = f"{type(error).__name__}: {error}"
        raise _wrong("VIA's CSV", got, str(path), "export the annotations again") from None


def _category_key(regions: list[tuple[Path, str, _Region]]) -> str | None:
    """Return the attribute that is the category, None if no region has any."""
    keys = sorted(
        {key for *_, (_, attributes) in regions for key, value in attributes.items() if value not in ("", {})}
    )
    likely = [key for key in keys if key.lower() in _KEYS]
    if not keys:
        return None
    if len(keys) == 1 or len(likely) == 1:
        return keys[0] if len(keys) == 1 else likely[0]
    raise _wrong(
        "one attribute that is the category",
        ", ".join(keys),
        ", ".join(sorted({str(path) for path, *_ in regions})),
        f"call the attribute that is the category {_KEYS[0]}, or remove the others",
    )


def _category(attributes: dict[str, Any], key: str | None, where: str) -> str:
    if key is None:
        return UNNAMED
    value = attributes.get(key)
    chosen = [name for name, is_on in value.items() if is_on] if isinstance(value, dict) else [value]
    if len(chosen) != 1 or not isinstance(chosen[0], (str, int)) or not str(chosen[0]).strip():
        raise _wrong(f"one {key} for every region", json.dumps(value), where, "choose one in VIA")
    return str(chosen[0]).strip()


def _add(
    path: Path,
    table: _Table,
    key: str | None,
    images: Images,
    found: dict[str, tuple[Path, list[tuple[str, dict[str, Any]]]]],
) -> None:
    """Add what a file says of its images."""
    paths = {name: images.find(name, where=path) for name in table}
    if missing := [name for name, image in paths.items() if image is None]:
        raise absent(missing, where=str(path))
    for name, items in table.items():
        once = {
            json.dumps([category, shape], sort_keys=True): (category, shape)
            for shape, attributes in items
            for category in [_category(attributes, key, f"{path}, {name}")]
        }
        first, known = found.setdefault(str(paths[name]), (path, [*once.values()]))
        if {json.dumps(item, sort_keys=True) for item in known} != set(once):
            raise _wrong(f"the regions of {name} that {first} has", "others", str(path), "remove the older of the two")


def _render(path: Path, items: list[tuple[str, dict[str, Any]]], image: Path, values: Values) -> Content:
    size = canvas_size(None, image, where=str(path))
    regions = [
        Region(category, _draw(shape, size, f"{path}, region {place} of {image.name} ({category})"))
        for place, (category, shape) in enumerate(items)
    ]
    return paint(regions, size, values.ids, ignore=values.ignore, background=values.background)


def _draw(shape: dict[str, Any], size: Size, where: str) -> Drawn:
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        points = _points(shape, where)
        if len(points) < (3 if kind == "polygon" else 2):
            raise _wrong("a polygon of at least three points, or a line of two", f"{len(points)}", where)
        return polygon(points, size) if kind == "polygon" else line(points, size)
    if kind == "rect":
        x, y, width, height = _numbers(shape, ("x", "y", "width", "height"), where)
        return rectangle(np.array([[x, y], [x + width, y + height]]), size)
    if kind not in ("circle", "ellipse", "point"):
        raise _wrong("rect, circle, ellipse, polygon, polyline or point", str(kind), where)
    x, y = _numbers(shape, ("cx", "cy"), where)
    if kind == "point":
        return ellipse((x, y), (_POINT, _POINT), size)
    along, across = _numbers(shape, ("r", "r") if kind == "circle" else ("rx", "ry"), where)
    _check_extent((along, across), where)
    turn = float(_numbers(shape, ("theta", "theta"), where)[0]) if shape.get("theta") else 0.0
    if not turn:
        return ellipse((x, y), (along, across), size)
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    outline = np.stack([along * np.cos(angles), across * np.sin(angles)], 1)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return polygon(outline @ rotation + (x, y), size)


def _points(shape: dict[str, Any], where: str) -> Any:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise _wrong("all_points_x and all_points_y of one length", "others", where)
    return to_points(list(zip(xs, ys, strict=True)), where=where)


def _numbers(shape: dict[str, Any], keys: tuple[str, ...], where: str) -> list[float]:
    points = to_points([shape.get(key) for key in keys], where=where)
    if points.size != len(keys):
        raise _wrong(f"numbers as {', '.join(keys)}", "others", where)
    return [float(v) for v in points.ravel()]


def _check_extent(extent: tuple[float, float], where: str) -> None:
    if min(extent) < 0:
        raise _wrong("widths, heights and radii from 0 on", f"{min(extent):g}", where)

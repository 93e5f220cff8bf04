"""CVAT's own XML for images, version 1.1: polygons, polylines, boxes, ellipses and masks by CVAT's own rules."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from maskwright.artifacts import write_text
from maskwright.data.formats.annotated import (
    Suggested,
    all_files,
    check_corners,
    check_inside,
    declared,
    drawn_row,
    head,
    hexadecimal,
    refused,
    some_files,
)
from maskwright.data.formats.files import read_xml_file, whole_number
from maskwright.data.formats.lookup import Images, absent, bare_row, no_files
from maskwright.data.formats.pieces import BACKGROUND_NAMES, Values
from maskwright.data.formats.rows import Row, Source
from maskwright.data.formats.runlength import counts_to_mask, mask_to_counts
from maskwright.data.formats.shapes import (
    LINE_WIDTH,
    Drawn,
    Points,
    Region,
    Size,
    bitmap,
    coco_polygon,
    line,
    to_points,
    turned,
)
from maskwright.errors import DataError, problem
from maskwright.types import Array, Categories

_AREAS = ("polygon", "polyline", "ellipse", "mask")
_NO_AREA = ("tag", "points", "skeleton", "cuboid")
_PIXELLESS_LABELS = ("tag", "points", "skeleton", "cuboid")


def recognise(root: Path) -> bool:
    """Tell whether an XML file of the folder, or of one directly below, begins as CVAT's do."""
    return any(fits(path) for path in some_files(root, ".xml"))


def fits(path: Path) -> bool:
    """Tell from its beginning whether an annotation file is of this format; never raises."""
    text = head(path)
    return (
        re.search(r"<annotations>", text) is not None and re.search(r"<(version|meta|image|track)\b", text) is not None
    )


def read(root: Path) -> Source:
    """Return the rows of the images that CVAT's files name, and unlabelled ones of the other images.

    Raises:
        DataError: a file can't be read, names images that aren't there, or holds boxes, tags or tracks alone.
    """
    trees = {path: read_xml_file(path) for path in all_files(root, ".xml") if fits(path)}
    if not trees:
        raise no_files("CVAT's XML files", root)
    entries = [(path, entry) for path, tree in trees.items() for entry in tree.iter("image")]
    _check_kinds(trees, entries)
    names, colors = _labels(trees, entries)
    categories, values = declared(names, colors)
    images = Images(root)
    found: dict[str, Row] = {}
    missing: list[str] = []
    for path, entry in entries:
        image = images.find(entry.get("name", ""), where=path, hint=entry.get("subset", ""))
        if image is None:
            missing.append(entry.get("name", ""))
        elif image in found:
            next_move = "merge the jobs in CVAT, or remove one of the entries"
            raise DataError(problem("one entry an image", f"two for {image}", where=str(path), next_move=next_move))
        else:
            found[image] = _row(root, image, entry, values, path)
    if missing:
        raise absent(missing, where=", ".join(str(path) for path in trees))
    rows = sorted([*found.values(), *map(bare_row, images.others(found))], key=lambda row: row.image)
    return Source("cvat", rows, categories, (255,))


def write_tasks(folder: Path, suggested: Iterable[Suggested], categories: Categories) -> None:
    """Write annotations.xml, "CVAT for images 1.1" with the suggested masks, and labels.json for the task's raw labels.

    Args:
        folder: where `images/` lies.
        suggested: one an image, in the order of the task.
        categories: of their labels.
    """
    shown = [c for c in categories.items if c.name.casefold() not in BACKGROUND_NAMES]
    tree = ET.Element("annotations")
    ET.SubElement(tree, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(tree, "meta"), "task"), "labels")
    for category in shown:
        label = ET.SubElement(labels, "label")
        for key, text in (("name", category.name), ("color", hexadecimal(category)), ("type", "any")):
            ET.SubElement(label, key).text = text
    for number, one in enumerate(suggested):
        height, width = one.label.shape
        entry = ET.SubElement(tree, "image", id=str(number), name=one.file, width=str(width), height=str(height))
        for category, mask in one.shapes(categories):
            about = {"label": category.name, "source": "auto", "occluded": "0", "z_order": "0"}
            ET.SubElement(entry, "mask", about | _runs(mask))
    ET.indent(tree)
    write_text(folder / "annotations.xml", ET.tostring(tree, encoding="unicode", xml_declaration=False) + "\n")
    raw = [{"name": c.name, "color": hexadecimal(c), "type": "any", "attributes": list[str]()} for c in shown]
    write_text(folder / "labels.json", json.dumps(raw, ensure_ascii=False, indent=1) + "\n")


def _runs(mask: Array) -> dict[str, str]:
    """Return a mask as CVAT has it: a window, and runs of 0 and 1 by turns in it, row by row."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left, height, width = rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    counts = mask_to_counts(mask[top : top + height, left : left + width].T)
    numbers = {"left": left, "top": top, "width": width, "height": height}
    return {"rle": ", ".join(map(str, counts))} | {key: str(int(value)) for key, value in numbers.items()}


def _check_kinds(trees: dict[Path, ET.Element], entries: Sequence[tuple[Path, ET.Element]]) -> None:
    where = next(iter(trees))
    if not entries:
        tracks = any(True for tree in trees.values() for _ in tree.iter("track"))
        next_move = 'export the job as "CVAT for images 1.1", together with its frames'
        raise refused("tracks of a video" if tracks else "no image", where, next_move)
    kinds = {shape.tag for _, entry in entries for shape in entry}
    if kinds & {"box", *_NO_AREA} and not kinds & set(_AREAS):
        listed = ", ".join(sorted(kinds))
        raise refused(f"{listed} alone", where, "annotate polygons or masks; boxes and tags are for detection")


def _labels(
    trees: dict[Path, ET.Element], entries: Sequence[tuple[Path, ET.Element]]
) -> tuple[list[str], dict[str, tuple[int, int, int]]]:
    """Return the labels in the order of their declaration, or of their use where none is declared, and colours."""
    names, colors = dict[str, None](), dict[str, tuple[int, int, int]]()
    for tree in trees.values():
        for label in (label for labels in tree.iterfind("meta//labels") for label in labels.iterfind("label")):
            name = (label.findtext("name") or "").strip()
            if name and label.findtext("type") not in _PIXELLESS_LABELS and label.find("parent") is None:
                names[name] = None
            if color := re.fullmatch(r"#([0-9a-fA-F]{6})", label.findtext("color") or ""):
                red, green, blue = bytes.fromhex(color[1])
                colors[name] = (red, green, blue)
    if not names:
        names = {shape.get("label", ""): None for _, entry in entries for shape in _with_area(entry)}
        names.pop("", None)
    return list(names), colors


def _row(root: Path, image: str, entry: ET.Element, values: Values, path: Path) -> Row:
    part, where = entry.get("subset"), f"{path}, image {entry.get('name')}"
    part = None if part in (None, "", "default") else part
    if len(entry) and all(shape.tag in _NO_AREA for shape in entry):  # nothing is said about its pixels
        return Row(image, part=part)
    return drawn_row(
        root,
        image,
        lambda size: _regions(entry, size, values.ids, where),
        values,
        where=where,
        stated=_size(entry),
        part=part,
    )


def _size(entry: ET.Element) -> Size | None:
    height, width = whole_number(entry.get("height", "")), whole_number(entry.get("width", ""))
    return None if height is None or width is None else (height, width)


def _with_area(entry: ET.Element) -> Iterator[ET.Element]:
    return (shape for shape in entry if shape.tag in (*_AREAS, "box"))


def _regions(entry: ET.Element, size: Size, ids: dict[str, int], where: str) -> list[Region]:
    """Return the shapes, the lowest first; those without a label are ignored pixels."""
    regions = list[Region]()
    shapes = sorted(enumerate(_with_area(entry), 1), key=lambda pair: _number(pair[1], "z_order", where, "0"))
    for number, shape in shapes:
        place = f"{where}, shape {number} ({shape.tag})"
        label = shape.get("label", "")
        if label and label not in ids:
            next_move = "declare the label in the task, or remove the shape"
            raise DataError(problem(f"one of the labels {', '.join(ids)}", label, where=place, next_move=next_move))
        group = shape.get("group_id", "0")
        regions.append(Region(label, _draw(shape, size, place), None if group == "0" else group, ignored=not label))
    return regions


def _draw(shape: ET.Element, size: Size, where: str) -> Drawn:
    if shape.tag == "mask":
        return _mask(shape, size, where)
    if shape.tag == "ellipse":
        return _ellipse(shape, size, where)
    if shape.tag == "box":
        return coco_polygon(check_inside(_box(shape, where), size, where=where), size)
    points = to_points(re.split("[,;]", shape.get("points", "")), where=where)
    if shape.tag == "polyline":
        return line(check_inside(points, size, where=where, margin=LINE_WIDTH / 2), size)
    return coco_polygon(check_corners(check_inside(points, size, where=where), where=where), size)


def _box(shape: ET.Element, where: str) -> Points:
    """Return the corners of a box, turned about its centre."""
    left, top, right, bottom = (_number(shape, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    angle = math.radians(_number(shape, "rotation", where, "0"))
    return turned(corners, angle, about=corners.mean(0)) if angle else corners


def _ellipse(shape: ET.Element, size: Size, where: str) -> Drawn:
    """Return an ellipse as CVAT turns it into a mask: OpenCV's, centre and axes rounded to whole pixels."""
    cx, cy, rx, ry = (round(_number(shape, key, where)) for key in ("cx", "cy", "rx", "ry"))
    if not 0 <= min(rx, ry) <= max(rx, ry) <= 2 * max(size):
        next_move = "mend or remove the shape"
        raise DataError(problem("radii of the image's order", f"{rx} and {ry}", where=where, next_move=next_move))
    check_inside(np.array([(cx - rx, cy - ry), (cx + rx + 1, cy + ry + 1)], np.float64), size, where=where)
    reach = max(rx, ry) + 1
    canvas = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    cv2.ellipse(canvas, (reach, reach), (rx, ry), _number(shape, "rotation", where, "0"), 0, 360, 1, thickness=-1)
    return bitmap(canvas.astype(bool), size, top=cy - reach, left=cx - reach)


def _mask(shape: ET.Element, size: Size, where: str) -> Drawn:
    """Return a mask: runs of 0 and 1 by turns, row by row, in a window of the image."""
    left, top, width, height = (round(_number(shape, key, where)) for key in ("left", "top", "width", "height"))
    if not (left >= 0 and top >= 0 and 0 < width <= size[1] - left and 0 < height <= size[0] - top):
        got, next_move = f"{width}×{height} at {left}, {top}", "export the annotations again"
        raise DataError(problem("a mask's box inside the image", got, where=where, next_move=next_move))
    try:
        counts = [int(count) for count in shape.get("rle", "").split(",")]
    except ValueError:
        next_move = "export the annotations again"
        raise DataError(problem("numbers", shape.get("rle", "")[:40], where=where, next_move=next_move)) from None
    return bitmap(counts_to_mask(counts, (width, height), where=where).T, size, top=top, left=left)


def _number(shape: ET.Element, key: str, where: str, default: str = "") -> float:
    text = shape.get(key, default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        next_move = "mend or remove the shape"
        raise DataError(problem(f"a number as {key}", repr(text), where=where, next_move=next_move))
    return value

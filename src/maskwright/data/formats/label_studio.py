"""Label Studio's JSON and JSON-MIN exports: polygons, brush strokes with their holes, ellipses, turned rectangles."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from PIL import ImageColor

from maskwright.artifacts import write_text
from maskwright.data.formats.annotated import (
    Suggested,
    all_files,
    check_inside,
    declared,
    drawn_row,
    head,
    hexadecimal,
    refused,
    some_files,
)
from maskwright.data.formats.brush import brush_to_mask, mask_to_brush
from maskwright.data.formats.files import read_json_file, read_xml_file
from maskwright.data.formats.lookup import Images, absent, bare_row, no_files, part_of
from maskwright.data.formats.pieces import BACKGROUND_NAMES, Values
from maskwright.data.formats.rows import Row, Source
from maskwright.data.formats.shapes import (
    NOTHING,
    Drawn,
    Points,
    Region,
    Size,
    bitmap,
    coco_polygon,
    to_points,
    turned,
    unit_circle,
)
from maskwright.errors import DataError, problem
from maskwright.types import Categories

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_ADDRESS = re.compile(r"[?#].*", re.DOTALL)
"""What follows the path in an address."""

_CONTROLS = ("PolygonLabels", "BrushLabels", "EllipseLabels", "RectangleLabels", "Labels")
_AREAS = ("polygon", "brush", "ellipse", "rectangle")


@dataclass(frozen=True)
class _Task:
    """One image of an export; `results` is None where nobody has annotated it."""

    file: Path
    number: object
    stated: tuple[str, ...]
    results: list[Mapping[str, Any]] | None

    @property
    def where(self) -> str:
        return f"{self.file}, task {self.number}"

    @cached_property
    def by_id(self) -> dict[str, list[Mapping[str, Any]]]:
        """The results that share an id, as a region and the labels of its control do."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for result in self.results or ():
            found.setdefault(repr(result.get("id")), []).append(result)
        return found


def recognise(root: Path) -> bool:
    """Tell whether a JSON file of the folder, or of one directly below, begins as Label Studio's exports do."""
    return any(fits(path) for path in some_files(root, ".json"))


def fits(path: Path) -> bool:
    """Tell from its beginning whether an annotation file is of this format; never raises."""
    text = head(path, 4096)
    tasks = any(f'"{key}"' in text for key in ("annotations", "completions", "predictions"))
    own = any(f'"{key}"' in text for key in ("result", "to_name", "file_upload", "completed_by"))
    return text.startswith("[") and ((tasks and own) or ('"original_width"' in text and 'labels"' in text))


def read(root: Path) -> Source:
    """Return the rows of the images in the exports, and unlabelled ones of the other images.

    Of several annotations of a task the first that isn't cancelled counts; predictions don't.

    Raises:
        DataError: a file can't be read, names images that aren't there, or holds rectangles or choices alone.
    """
    files = [path for path in all_files(root, ".json") if fits(path)]
    if not files:
        raise no_files("JSON exports of Label Studio", root)
    tasks = [task for path in files for task in _tasks(read_json_file(path), path)]
    kinds = {_kind(result) for task in tasks for result in task.results or ()}
    if kinds & {"rectangle", ""} and not kinds & {"polygon", "brush", "ellipse"}:
        got = "rectangles alone" if "rectangle" in kinds else "points, choices or the like alone"
        raise refused(got, files[0], "annotate polygons or brush strokes; rectangles and choices are for other tasks")
    names, colors = _labels(root, tasks)
    categories, values = declared(names, colors)
    images, rows, missing = Images(root), dict[str, Row](), list[str]()
    for task in tasks:
        if (image := _image_of(images, task)) is None:
            missing.append(PurePosixPath(task.stated[-1]).name if task.stated else f"none in {task.where}")
        elif image in rows:
            next_move = "export each image once, or remove one of the tasks"
            raise DataError(problem("one task an image", f"two for {image}", where=task.where, next_move=next_move))
        else:
            rows[image] = _row(root, image, task, values)
    if missing:
        raise absent(missing, where=", ".join(map(str, files)))
    rows |= {image: bare_row(image) for image in images.others(rows)}
    return Source("label_studio", [rows[key] for key in sorted(rows)], categories, (255,))


def write_tasks(folder: Path, suggested: Iterable[Suggested], categories: Categories) -> None:
    """Write tasks.json, whose predictions are the suggested masks as brush strokes, and the configuration labels.xml.

    The tasks name images as Label Studio's local storage serves them, with `folder` as its document root.

    Args:
        folder: where `images/` lies.
        suggested: one an image, in the order of the tasks.
        categories: of their labels.
    """
    tasks = [_task(one, categories) for one in suggested]
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image", zoom="true", zoomControl="true")
    control = ET.SubElement(view, "BrushLabels", name="label", toName="image")
    for category in categories.items:
        if category.name.casefold() not in BACKGROUND_NAMES:
            ET.SubElement(control, "Label", value=category.name, background=hexadecimal(category))
    ET.indent(view)
    write_text(folder / "labels.xml", ET.tostring(view, encoding="unicode") + "\n")
    write_text(folder / "tasks.json", json.dumps(tasks, ensure_ascii=False))


def _task(one: Suggested, categories: Categories) -> dict[str, Any]:
    height, width = one.label.shape
    shared = {"original_width": width, "original_height": height, "image_rotation": 0}
    shared |= {"from_name": "label", "to_name": "image", "type": "brushlabels"}
    results = [
        {"id": f"shape{number}", **shared}
        | {"value": {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": [category.name]}}
        for number, (category, mask) in enumerate(one.shapes(categories), 1)
    ]
    prediction = {"model_version": "maskwright", "score": round(one.certainty, 4), "result": results}
    address = "/data/local-files/?d=" + quote(f"images/{one.file}")
    return {"data": {"image": address}, "predictions": [prediction]}


def _tasks(tree: Any, path: Path) -> Iterator[_Task]:
    for number, task in enumerate(tree if isinstance(tree, list) else [None], 1):
        if not isinstance(task, dict):
            next_move = "export the project again, as JSON"
            where = f"{path}, entry {number}"
            raise DataError(problem("tasks of Label Studio", repr(task)[:60], where=where, next_move=next_move))
        yield _Task(path, task.get("id", number), _stated(task), _results(task))


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return what the first annotation says that isn't cancelled; JSON-MIN has it in lists beside the image."""
    listed = task.get("annotations", task.get("completions"))
    if isinstance(listed, list):
        kept = [a for a in listed if isinstance(a, dict) and not a.get("was_cancelled") and "result" in a]
        return _dicts(kept[0]["result"]) if kept else None
    if "predictions" in task or "data" in task:
        return None
    values = [item for value in task.values() for item in _dicts(value) if "original_width" in item]
    return [{**item, "value": item} for item in values]


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _stated(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths under which the image may lie, the likeliest first: uploaded files have a prefix."""
    data = task.get("data")
    inner = data if isinstance(data, dict) else {k: v for k, v in task.items() if k not in ("created_at", "updated_at")}
    texts = [text for text in (*inner.values(), task.get("file_upload")) if isinstance(text, str) and text.strip()]
    paths = [_path_of(text) for text in texts]
    stripped = [_UPLOAD.sub("", PurePosixPath(path).name) for path in paths]
    return tuple(dict.fromkeys(path for path in (*paths, *stripped) if path))


def _path_of(text: str) -> str:
    """Return the path that a task states, of an address or an absolute path the last part."""
    if "?d=" in text:  # files that a local server gave
        return unquote(text.split("?d=", 1)[1]).lstrip("/\\")
    if "://" in text:
        return PurePosixPath(unquote(_ADDRESS.sub("", text))).name
    return PurePosixPath(unquote(text)).name if text.startswith("/") else text


def _image_of(images: Images, task: _Task) -> str | None:
    found = (images.find(stated, where=task.file) for stated in task.stated)
    return next((image for image in found if image is not None), None)


def _labels(root: Path, tasks: Sequence[_Task]) -> tuple[list[str], dict[str, tuple[int, int, int]]]:
    """Return the labels in the order of the labelling configuration, then those that only the tasks have, by name."""
    names, colors = dict[str, None](), dict[str, tuple[int, int, int]]()
    configs = [path for path in all_files(root, ".xml") if re.match(r"(<\?xml.*?>\s*)?<View\b", head(path), re.DOTALL)]
    for control in (control for path in configs for control in read_xml_file(path).iter() if control.tag in _CONTROLS):
        for label in control.iter("Label"):
            name = label.get("value") or label.get("alias") or ""
            names[name] = None
            try:
                colors[name] = ImageColor.getrgb(label.get("background", ""))[:3]
            except ValueError:
                continue
    used = {_label(r, task) for task in tasks for r in task.results or () if _kind(r) in _AREAS}
    return [*names, *sorted(used - names.keys() - {""})], colors


def _label(result: Mapping[str, Any], task: _Task) -> str:
    """Return a region's label, empty where it has none; those of its own, or of the control that shares its id."""
    shared = [] if result.get("id") is None else task.by_id[repr(result["id"])]
    for candidate in (result, *shared):
        lists = [v for key, v in _value(candidate).items() if key.endswith("labels") and isinstance(v, list) and v]
        if not lists:
            continue
        if len(lists[0]) > 1:
            next_move = "leave one label on the region"
            where = f"{task.where}, region {result.get('id')}"
            raise DataError(
                problem("one label a region", ", ".join(map(str, lists[0])), where=where, next_move=next_move)
            )
        return str(lists[0][0])
    return ""


def _value(result: Mapping[str, Any]) -> Mapping[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _kind(result: Mapping[str, Any]) -> str:
    """Return what shape a result is, told by what it holds; empty text for what has no area."""
    value = _value(result)
    if "rle" in value:
        return "brush"
    if "points" in value:
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    return "rectangle" if {"x", "y", "width", "height"} <= value.keys() else ""


def _row(root: Path, image: str, task: _Task, values: Values) -> Row:
    shapes = [result for result in task.results or () if _kind(result) in _AREAS]
    if task.results is None or (task.results and not shapes):
        return Row(image, part=part_of(image))
    stated = _size(shapes[0], task) if shapes else None
    return drawn_row(
        root,
        image,
        lambda size: _regions(shapes, task, size),
        values,
        where=task.where,
        stated=stated,
        part=part_of(image),
    )


def _size(result: Mapping[str, Any], task: _Task) -> Size:
    height, width = result.get("original_height"), result.get("original_width")
    if not isinstance(height, int) or not isinstance(width, int) or result.get("image_rotation"):
        got = f"{width}×{height}, turned by {result.get('image_rotation', 0)}"
        next_move = "turn the image back in Label Studio, or export the project again"
        raise DataError(problem("the size of an image that isn't turned", got, where=task.where, next_move=next_move))
    return height, width


def _regions(shapes: Sequence[Mapping[str, Any]], task: _Task, size: Size) -> list[Region]:
    """Return the regions, the first below; those without a label are ignored pixels."""
    found = list[Region]()
    for shape in shapes:
        if _size(shape, task) not in (size, _size(shapes[0], task)):
            next_move = "export the project again"
            raise DataError(problem("one size an image", "two", where=task.where, next_move=next_move))
        label, where = _label(shape, task), f"{task.where}, region {shape.get('id')}"
        found.append(Region(label, _draw(shape, size, where), ignored=not label))
    return found


def _draw(shape: Mapping[str, Any], size: Size, where: str) -> Drawn:
    kind, value = _kind(shape), _value(shape)
    if kind == "brush":
        return bitmap(brush_to_mask(value["rle"], size, where=where), size)
    if kind == "polygon":
        points = to_points(value["points"], where=where) * _scale(size)
    else:
        points = _turned(value, size, where, kind)
    if len(points) < 3:  # clicks of a polygon that was given up
        return NOTHING
    return coco_polygon(check_inside(points, size, where=where), size)


def _scale(size: Size) -> Points:
    return np.array([size[1], size[0]], np.float64) / 100


def _turned(value: Mapping[str, Any], size: Size, where: str, kind: str) -> Points:
    """Return the outline of a rectangle, turned about its upper left corner, or of an ellipse, about its centre."""
    keys = ("x", "y", "width", "height") if kind == "rectangle" else ("x", "y", "radiusX", "radiusY")
    numbers = to_points([value.get(key) for key in keys], where=where)
    start, extent = numbers * _scale(size)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    outline = square if kind == "rectangle" else unit_circle()
    turn = math.radians(to_points([value.get("rotation") or 0, 0], where=where)[0, 0])
    points: Points = start + turned(outline * extent, turn)
    return points

"""LabelMe 3 to 5: a JSON file an image with shapes of every type, painted as its own converters paint them."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from maskwright.artifacts import IMPORTED, write_json, write_text
from maskwright.data.formats.files import name_of, read_json_file
from maskwright.data.formats.lookup import (
    LARGEST,
    Images,
    absent,
    bare_row,
    canvas_size,
    labelled_row,
    no_files,
    part_of,
)
from maskwright.data.formats.peek import files_of, kinds
from maskwright.data.formats.pieces import (
    BACKGROUND,
    BACKGROUND_NAMES,
    BOTH,
    Values,
    known_of,
    named,
    pieces,
    with_values,
)
from maskwright.data.formats.rows import Content, Record, Records, Row, Source
from maskwright.data.formats.shapes import (
    Drawn,
    Points,
    Region,
    Size,
    bitmap,
    ellipse,
    line,
    paint,
    polygon,
    rectangle,
    to_points,
    union,
)
from maskwright.data.formats.sidecars import read_classes
from maskwright.data.written import place_image
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Array, Categories, Category

IGNORED = "__ignore__"
"""The label of pixels that count as nothing."""

_POINT = 5
_CORNERS = {
    "polygon": (3, None),
    "rectangle": (2, 2),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "point": (1, 1),
    "points": (1, None),
    "mask": (2, 2),
}
"""Shape type → the fewest and the most points."""


def recognise(root: Path) -> bool:
    """Tell whether there are LabelMe's JSON files."""
    return "labelme" in kinds(root)


def read(root: Path) -> Source:
    """Return the rows of LabelMe's files and the images that none of them names.

    Shapes are painted in the order of the file, those of one label and `group_id` as one object; `__ignore__` is
    ignored. The categories are those of classes.json, else of labels.txt in its order, else the labels in the order of
    the alphabet. An image that no file holds is taken from the JSON file.

    Raises:
        DataError: a file or a shape that can't be read, a label that labels.txt lacks, or images that aren't there.
    """
    trees = {path: _read_tree(path) for path in files_of(root, "labelme")}
    if not trees:
        raise no_files("LabelMe's JSON files", root)
    categories, values = _categories(root, trees)
    images = Images(root)
    rows: dict[str, Row] = {}
    missing: list[str] = []
    for path, tree in trees.items():
        row = _row(path, tree, images, values)
        if row is None:
            missing.append(f"{tree.get('imagePath')} of {path.name}")
        elif row.image in rows:
            raise DataError(
                problem(
                    "one JSON file an image",
                    f"another one of {row.image}",
                    where=str(path),
                    next_move="remove one of the two, or correct its imagePath",
                )
            )
        else:
            rows[row.image] = row
    if missing:
        raise absent(missing, where=str(root))
    others = [bare_row(path) for path in images.others(rows, _made_by_labelme(images))]
    return Source("labelme", sorted([*rows.values(), *others], key=lambda row: row.image), categories, (values.ignore,))


def write(root: Path, records: Records) -> None:
    """Write records as images/ with a JSON file beside each, unlabeled/, labels.txt and classes.json.

    Every piece is a shape of the type `mask`; the object's id is its `group_id`. Pixels of a category called background
    get no shape, ignored ones the label `__ignore__`. A shape that is an object of stuff, or no object of a thing,
    says so by the flag `instance`; an image whose masks or instances alone are known by the flag of that name.
    """
    categories = records.categories
    for record in records:
        bare = record.label is None and record.instances is None
        name = record.name.removeprefix("unlabeled/") if bare else record.name
        image = place_image(root / ("unlabeled" if bare else "images"), name, record.image)
        if not bare:
            tree = {
                "version": "5.5.0",
                "flags": {what: True for what in known_of(record) if len(known_of(record)) == 1},
                "shapes": list(_shapes(record, categories)),
                "imagePath": image.name,
                "imageData": None,
                "imageHeight": record.size[0],
                "imageWidth": record.size[1],
            }
            write_json(image.with_suffix(".json"), tree)
    names = [c.name for c in categories.items if c.name != BACKGROUND]
    write_text(root / "labels.txt", "\n".join([IGNORED, "_background_", *names]) + "\n")
    top = IGNORE if max(categories.ids) < IGNORE else 65535
    listed = [{"id": c.id, "name": c.name, "color": list(c.color), "isthing": c.isthing} for c in categories.items]
    write_json(root / "classes.json", {"categories": listed, "ignore": top})


def _read_tree(path: Path) -> dict[str, Any]:
    tree = read_json_file(path)
    shapes = tree.get("shapes") if isinstance(tree, dict) else None
    if not isinstance(shapes, list) or any(not isinstance(shape, dict) for shape in shapes):
        raise _wrong("a list of shapes", "none", str(path))
    for place, shape in enumerate(shapes, 1):
        if not isinstance(shape.get("label"), str) or not shape["label"]:
            raise _wrong("a label for every shape", "none", f"{path}, shape {place}")
        _check_shape(shape, f"{path}, shape {place} ({shape['label']})")
    return dict(tree)


def _check_shape(shape: dict[str, Any], where: str) -> None:
    kind, group = shape.get("shape_type") or "polygon", shape.get("group_id")
    if not isinstance(kind, str) or kind not in _CORNERS:
        raise _wrong(f"one of the shapes {', '.join(_CORNERS)}", str(kind), where)
    if not isinstance(group, (int, float, str, NoneType)):
        raise _wrong("a number or a word as group_id", str(group), where)
    fewest, most = _CORNERS[kind]
    points = shape.get("points")
    count = len(points) if isinstance(points, list) else 0
    if count < fewest or (most is not None and count > most):
        expected = f"{fewest} points" if most == fewest else f"at least {fewest} points"
        raise _wrong(f"{expected} for a {kind}", f"{count}", where)


def _wrong(expected: str, got: str, where: str) -> DataError:
    return DataError(problem(expected, got, where=where, next_move="mend or remove it in LabelMe"))


def _categories(root: Path, trees: dict[Path, dict[str, Any]]) -> tuple[tuple[Category, ...], Values]:
    used = {shape["label"]: path for path, tree in trees.items() for shape in tree["shapes"]}
    used.pop(IGNORED, None)
    stated, _ = read_classes(root / "classes.json")
    listed = _labels(root)
    if stated is None and listed is None:
        return named(used)
    found = stated or [Category(i, name, isthing=name not in BACKGROUND_NAMES) for i, name in enumerate(listed or ())]
    known = {category.name for category in found} | set(BACKGROUND_NAMES)
    if unknown := sorted(set(used) - known):
        where = root / ("labels.txt" if stated is None else "classes.json")
        raise DataError(
            problem(
                f"labels among {', '.join(sorted(known - set(BACKGROUND_NAMES)))}",
                ", ".join(f"{name} in {used[name].name}" for name in unknown[:10]),
                where=str(where),
                next_move="add them to the list, or remove the list: the labels are then taken from the shapes",
            )
        )
    return with_values(found, add=stated is None)


def _labels(root: Path) -> list[str] | None:
    """Return the names in labels.txt without `__ignore__`, the background first; None without such a file."""
    path = root / "labels.txt"
    if not path.is_file():
        return None
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise _wrong("UTF-8 text", str(error), str(path)) from None
    names = [line for line in lines if line and line != IGNORED]
    return names if any(name.lower() in BACKGROUND_NAMES for name in names) else ["_background_", *names]


def _made_by_labelme(images: Images) -> list[str]:
    """Return the pictures that its converter writes beside label_names.txt."""
    names = ("img.png", "label.png", "label_viz.png")
    return [
        path
        for name in names
        for path in images.called(name)
        if (images.root / path).with_name("label_names.txt").is_file()
    ]


def _row(path: Path, tree: dict[str, Any], images: Images, values: Values) -> Row | None:
    stated, data = str(tree.get("imagePath") or ""), tree.get("imageData")
    image = images.find(stated, where=path) if stated else None
    embedded = isinstance(data, str) and bool(data)
    if image is None and not embedded:
        return None
    flags = tree.get("flags")
    chosen = tuple(what for what in BOTH if isinstance(flags, dict) and flags.get(what) is True)
    known = chosen if len(chosen) == 1 else BOTH
    if image is not None:
        render = partial(_render, path, images.root / image, values)
        return labelled_row(image, render, part_of(image), known=known)
    inner = name_of(path.relative_to(images.root).with_suffix(".png").as_posix())
    name = f"{IMPORTED}images/{inner}.png"
    return labelled_row(name, partial(_render, path, None, values), part_of(inner), known=known)


def _render(path: Path, image: Path | None, values: Values) -> Content:
    tree = _read_tree(path)  # again: the pixels in it are too much to keep
    height, width = tree.get("imageHeight"), tree.get("imageWidth")
    stated = (height, width) if type(height) is int and type(width) is int else None
    pixels = _decode(tree["imageData"], str(path)) if image is None else None
    if pixels is not None:
        size: Size = pixels.shape[:2]
    else:
        assert image is not None
        size = canvas_size(stated, image, where=str(path))
    regions = [_region(shape, size, values, f"{path}, shape {i}") for i, shape in enumerate(tree["shapes"], 1)]
    painted = paint(regions, size, values.ids, ignore=values.ignore, background=values.background)
    return Content(pixels, painted.mask, painted.instances)


def _region(shape: dict[str, Any], size: Size, values: Values, where: str) -> Region:
    label, group, flags = shape["label"], shape.get("group_id"), shape.get("flags")
    stated = flags.get("instance") if isinstance(flags, dict) else None
    isthing = label in values.things if stated is None else bool(stated)
    drawn = _draw(shape, size, f"{where} ({label})")
    return Region(label, drawn, group, label == IGNORED, isthing)


def _draw(shape: dict[str, Any], size: Size, where: str) -> Drawn:
    points = to_points(shape["points"], where=where)
    kind = shape.get("shape_type") or "polygon"
    if kind == "circle":
        radius = float(np.hypot(*(points[0] - points[1])))
        return ellipse(_pair(points[0]), (radius, radius), size)
    if kind == "rectangle":
        return rectangle(points, size)
    if kind in ("line", "linestrip"):
        return line(points, size)
    if kind in ("point", "points"):
        dots = [ellipse(_pair(point), (_POINT, _POINT), size) for point in points]
        return union(dots)
    if kind == "mask":
        left, top = points[0].astype(int).tolist()
        return bitmap(_mask(shape.get("mask"), points, where), size, top=top, left=left)
    return polygon(points, size)


def _pair(point: Points) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _mask(data: Any, points: Points, where: str) -> Array:
    """Return the pixels of a mask shape, which fill the box from its first point to its second."""
    pixels = _decode(data, where) > 0
    width, height = (points[1].astype(int) - points[0].astype(int) + 1).tolist()
    if pixels.shape != (height, width):
        got = "×".join(map(str, pixels.shape[::-1]))
        raise _wrong(f"a mask of {width}×{height} pixels, as its corners say", got, where)
    return pixels


def _decode(data: Any, where: str) -> Array:
    """Return an image that is stored as text, its EXIF orientation applied: (H, W) or (H, W, 3)."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=False))) as file:
            if file.width * file.height > LARGEST:
                raise ValueError(f"{file.width}×{file.height} pixels")
            upright = ImageOps.exif_transpose(file)
            return np.asarray(upright if upright.mode in ("1", "L", "I;16") else upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, TypeError, binascii.Error, Image.DecompressionBombError) as error:
        raise _wrong("an image as base64 text", f"{type(error).__name__}: {error}", where) from None


def _shapes(record: Record, categories: Categories) -> Iterator[dict[str, Any]]:
    """Yield the shapes of a record."""
    for position, number, (top, left, pixels) in pieces(record, categories):
        ignored = position == IGNORE
        category = categories.items[0 if ignored else position]
        if category.name == BACKGROUND and not number and not ignored:
            continue
        own = not ignored and (number > 0) != category.isthing
        yield {
            "label": IGNORED if ignored else category.name,
            "points": _box(left, top, pixels),
            "group_id": number or None,
            "description": "",
            "shape_type": "mask",
            "flags": {"instance": number > 0} if own else {},
            "mask": _encode(pixels),
        }


def _box(left: int, top: int, pixels: Array) -> Sequence[tuple[int, int]]:
    return (left, top), (left + pixels.shape[1] - 1, top + pixels.shape[0] - 1)


def _encode(pixels: Array) -> str:
    memory = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255).save(memory, "PNG")
    return base64.b64encode(memory.getvalue()).decode("ascii")

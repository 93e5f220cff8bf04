"""COCO: JSON files with images, annotations (polygons, run lengths, crowds) and categories."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from maskwright.artifacts import write_json
from maskwright.data.formats.files import read_json_file
from maskwright.data.formats.lookup import PARTS, Images, absent, bare_row, canvas_size, labelled_row, part_of
from maskwright.data.formats.peek import files_of, kinds
from maskwright.data.formats.pieces import BACKGROUND, BACKGROUND_NAMES, BOTH, Piece, known_of, numbered, pieces, rgb_of
from maskwright.data.formats.rows import Content, Record, Records, Source
from maskwright.data.formats.runlength import counts_to_text, text_to_counts
from maskwright.data.formats.shapes import (
    Drawn,
    Region,
    Size,
    coco_polygon,
    from_counts,
    paint,
    to_counts,
    to_points,
    union,
)
from maskwright.data.written import place_image
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Categories, Category

_LISTED = 10


@dataclass
class _Image:
    """What all files together say of one image."""

    part: str | None
    size: Size | None
    file: Path
    known: tuple[str, ...]
    annotations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def recognise(root: Path) -> bool:
    """Tell whether there are COCO files of segmentations, or of other things and no panoptic ones."""
    found = kinds(root)
    return "coco" in found or ("coco_other" in found and "coco_panoptic" not in found)


def read(root: Path) -> Source:
    """Return the rows of COCO files and the images that none of them names.

    Raises:
        DataError: a file that can't be read, ids that don't exist, images that aren't there, or no segmentation at all.
    """
    files = files_of(root, "coco")
    trees = {path: read_coco(path) for path in files}
    if not any(_has_outline(item) for tree in trees.values() for item in tree["annotations"]):
        raise _nothing(root, files)
    for path, tree in trees.items():
        _check(path, tree)
    categories, background, ignore = _categories(trees)
    images = Images(root)
    found: dict[str, _Image] = {}
    for path, tree in trees.items():
        _collect(path, tree, images, found)
    values = {category.name: category.id for category in categories}
    things = {category.name: category.isthing for category in categories}
    rows = [
        labelled_row(
            name,
            partial(_render, root / name, image, values, things, background, ignore),
            image.part or part_of(name),
            known=image.known,
        )
        for name, image in found.items()
    ]
    rows += [bare_row(path) for path in images.others(found)]
    return Source("coco", sorted(rows, key=lambda row: row.image), categories, (ignore,))


def write(root: Path, records: Records) -> None:
    """Write records as images/, unlabeled/ and one annotations/instances[_PART].json a part, masks as run lengths.

    Pixels of a category called background get no annotation. `info.background` states what pixels without one are:
    its name, or null where there is no such category and they are ignored. Ignored pixels are one annotation with
    `iscrowd`. An annotation whose `isthing` differs from its category's states its own; an image whose masks or
    instances alone are known states so as `known`.
    """
    names = records.categories.names
    background = BACKGROUND if BACKGROUND in names else None
    table = [
        {"id": c.id, "name": c.name, "supercategory": "", "color": list(c.color), "isthing": int(c.isthing)}
        for c in records.categories.items
    ]
    trees: dict[str | None, dict[str, Any]] = {}
    for record in records:
        if record.label is None and record.instances is None:
            place_image(root / "unlabeled", record.name.removeprefix("unlabeled/"), record.image)
            continue
        info = {"description": "written by maskwright", "background": background, "part": record.part}
        start: dict[str, Any] = {"info": info, "images": [], "annotations": [], "categories": table}
        tree = trees.setdefault(record.part, start)
        image = place_image(root / "images", record.name, record.image).relative_to(root / "images").as_posix()
        number = sum(len(other["images"]) for other in trees.values()) + 1
        height, width = record.size
        entry = {"id": number, "file_name": image, "height": height, "width": width}
        tree["images"].append(entry | ({} if known_of(record) == [*BOTH] else {"known": known_of(record)}))
        tree["annotations"] += _annotations(record, records.categories, number, background)
    numbers = count(1)
    for part, tree in trees.items():
        tree["annotations"] = [{"id": next(numbers), **annotation} for annotation in tree["annotations"]]
        write_json(root / "annotations" / f"instances{f'_{part}' if part else ''}.json", tree)


def read_coco(path: Path) -> dict[str, Any]:
    """Return a COCO file with its three lists, empty where they are missing.

    Raises:
        DataError: it can't be read, or these are no lists of objects.
    """
    tree = read_json_file(path)
    lists = {key: tree.get(key) or [] for key in ("images", "annotations", "categories")} if type(tree) is dict else {}
    wrong = [k for k, v in lists.items() if type(v) is not list or any(type(item) is not dict for item in v)]
    if wrong or not lists:
        raise faulty(path, [f"{key} is no list of objects" for key in wrong or ["the file"]])
    info = tree.get("info")
    stated = info if isinstance(info, dict) else {}
    if wrong := [key for key in ("part", "background") if not isinstance(stated.get(key), (str, NoneType))]:
        raise faulty(path, [f"info.{key} is neither a name nor null" for key in wrong])
    return {**tree, **lists, "info": stated}


def faulty(path: Path, faults: list[str]) -> DataError:
    """Return the error about what is wrong in an annotation file."""
    listed = "; ".join(faults[:_LISTED]) + (f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else "")
    return DataError(
        problem(
            "a consistent COCO file",
            listed,
            where=str(path),
            next_move="mend or remove these entries, or export the annotations again",
        )
    )


def faults_of_ids(what: str, entries: list[dict[str, Any]], keys: tuple[str, str]) -> Iterator[str]:
    """Yield what is wrong with the ids and names of a COCO file's images or categories."""
    seen: set[Any] = set()
    for place, entry in enumerate(entries):
        number, name = entry.get(keys[0]), entry.get(keys[1])
        if type(number) not in ((int, str) if what == "image" else (int,)) or not isinstance(name, str) or not name:
            yield f"{what} {place} lacks {keys[0]} or {keys[1]}"
            continue
        if what == "image" and not _is_known(entry.get("known", [*BOTH])):
            yield f"{what} {number} has known other than {' or '.join(BOTH)}"
        for value in (("id", number), ("name", name)):
            if value in seen:
                yield f"{what} {value[0]} {value[1]!r} stands there twice"
            seen.add(value)


def category_of(entry: dict[str, Any], *, isthing: bool) -> Category:
    """Return a category of a COCO file; `isthing` is what it is unless it says so itself."""
    color = rgb_of(entry.get("color")) or (0, 0, 0)
    return Category(entry["id"], entry["name"], color, bool(entry.get("isthing", isthing)))


def part_of_file(path: Path, tree: dict[str, Any], root: Path) -> str | None:
    """Return the part that a COCO file is of: as it says, as its name (`…_train2017`) or as its folder's name says."""
    if "part" in tree["info"]:
        return None if tree["info"]["part"] is None else str(tree["info"]["part"])
    words = [word.rstrip("0123456789") for word in re.split(r"[_.\- ]", path.stem.lower())]
    return next((word for word in words if word in PARTS), None) or part_of(path.relative_to(root).as_posix())


def _has_outline(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("segmentation"))


def _nothing(root: Path, files: list[Path]) -> DataError:
    others = files or files_of(root, "coco_other")
    return DataError(
        problem(
            "outlines or run lengths (`segmentation`) of objects",
            "boxes, captions, key points or tags alone",
            where=", ".join(str(path) for path in others[:_LISTED]) or str(root),
            next_move="segment the objects: boxes can't be learned from here",
        )
    )


def _check(path: Path, tree: dict[str, Any]) -> None:
    """Raise with all faults of a file that don't need its pixels."""
    faults = [
        *faults_of_ids("image", tree["images"], ("id", "file_name")),
        *faults_of_ids("category", tree["categories"], ("id", "name")),
    ]
    if faults:
        raise faulty(path, faults)
    images, categories = ({item["id"] for item in tree[key]} for key in ("images", "categories"))
    for item in tree["annotations"]:
        name = f"annotation {item.get('id')}"
        if not _is_listed(item.get("image_id"), images):
            faults.append(f"{name} is of image {item.get('image_id')}, which is not listed")
        elif not _is_listed(item.get("category_id"), categories) and ("segmentation" in item or "bbox" in item):
            faults.append(f"{name} is of category {item.get('category_id')}, which is not listed")
        elif fault := _fault_of_outline(item):
            faults.append(f"{name} of image {item['image_id']} {fault}")
    if faults:
        raise faulty(path, faults)


def _is_known(stated: Any) -> bool:
    return isinstance(stated, list) and bool(stated) and all(what in BOTH for what in stated)


def _is_listed(number: Any, listed: set[Any]) -> bool:
    return isinstance(number, (int, str)) and number in listed


def _fault_of_outline(item: dict[str, Any]) -> str | None:
    outline = item.get("segmentation")
    if isinstance(outline, dict):
        return None if {"counts", "size"} <= outline.keys() else "has a segmentation without counts or size"
    if not outline:
        box = item.get("bbox")
        return None if not box or (isinstance(box, list) and len(box) == 4) else "has a box without four numbers"
    if not isinstance(outline, list) or any(not isinstance(ring, list) for ring in outline):
        return "has a segmentation that is no list of polygons"
    if any(len(ring) % 2 for ring in outline):
        return "has a polygon with an odd number of coordinates"
    return None if any(len(ring) >= 6 for ring in outline) else "has no polygon of three points"


def _categories(trees: dict[Path, dict[str, Any]]) -> tuple[tuple[Category, ...], int, int]:
    """Join the files' categories by name: those of later files keep their ids where these are free."""
    found: dict[str, Category] = {}
    stated: set[str | None] = set()
    for path, tree in trees.items():
        used = {item.get("category_id") for item in tree["annotations"]}
        entries = [entry for entry in tree["categories"] if not _is_placeholder(entry, tree["categories"], used)]
        for entry in entries:
            category = category_of(entry, isthing=not path.stem.startswith("stuff_"))
            taken = {other.id for other in found.values()}
            if category.name not in found and category.id in taken:
                category = category_of(entry | {"id": max(taken) + 1}, isthing=category.isthing)
            found.setdefault(category.name, category)
        stated |= {tree["info"]["background"]} if "background" in tree["info"] else set()
    own = next((name for name in found if name.lower() in BACKGROUND_NAMES), None)
    if len(stated) == 1 and stated <= {*found, None}:
        return numbered([*found.values()], stated.pop(), add=False)
    return numbered([*found.values()], own, add=own is None)


def _is_placeholder(entry: dict[str, Any], entries: list[dict[str, Any]], used: set[Any]) -> bool:
    """Roboflow lists the project itself as category 0, above all others."""
    above = {other.get("supercategory") for other in entries if other is not entry}
    return entry["id"] == 0 and 0 not in used and above == {entry["name"]}


def _collect(path: Path, tree: dict[str, Any], images: Images, found: dict[str, _Image]) -> None:
    """Add what a file says of its images."""
    part = part_of_file(path, tree, images.root)
    crowds = not _writes_masks_as_crowds(tree)
    names = {entry["id"]: entry["name"] for entry in tree["categories"]}
    paths = {entry["id"]: images.find(entry["file_name"], where=path, hint=part or "") for entry in tree["images"]}
    if missing := [entry["file_name"] for entry in tree["images"] if paths[entry["id"]] is None]:
        raise absent(missing, where=str(path))
    by_image: dict[Any, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for item in tree["annotations"]:
        if _has_outline(item) or item.get("bbox"):
            kept = item if crowds or isinstance(item.get("segmentation"), list) else item | {"iscrowd": 0}
            by_image[item["image_id"]].append((names[item["category_id"]], kept))
    here: dict[str, Any] = {}
    for entry in tree["images"]:
        name = str(paths[entry["id"]])
        if name in here:
            raise faulty(path, [f"images {here[name]} and {entry['id']} are both the file {name}"])
        here[name] = entry["id"]
        height, width = entry.get("height"), entry.get("width")
        size = (height, width) if type(height) is int and type(width) is int else None
        known = tuple(what for what in BOTH if what in entry.get("known", BOTH))
        image = found.setdefault(name, _Image(part, size, path, known))
        if image.part != part:
            raise faulty(path, [f"{name} is in part {part} here and in {image.part} in {image.file}"])
        image.annotations += by_image[entry["id"]]


def _writes_masks_as_crowds(tree: dict[str, Any]) -> bool:
    """CVAT and Datumaro set `iscrowd` on every mask that is no polygon; their licence entry is empty."""
    return tree.get("licenses") == [{"name": "", "id": 0, "url": ""}]


def _render(
    path: Path, image: _Image, values: dict[str, int], things: dict[str, bool], background: int, ignore: int
) -> Content:
    """Paint boxes without outlines first, then crowds, then objects, the larger ones below."""
    size = canvas_size(image.size, path, where=f"{image.file}, {path.name}")
    layers: list[tuple[tuple[int, int], Region]] = []
    seen: set[str] = set()
    for name, item in image.annotations:
        key = f"{name} {item.get('segmentation') or item.get('bbox')}"
        if key in seen:  # the same object, in another file or by mistake
            continue
        seen.add(key)
        drawn = _draw(item, size, f"{image.file}, annotation {item.get('id')} of {path.name}")
        ignored = bool(item.get("iscrowd") or item.get("ignore") or not _has_outline(item))
        isthing = bool(item.get("isthing", things[name]))
        below = 2 if not ignored else 1 if _has_outline(item) else 0
        layers.append(((below, -int(drawn.pixels.sum())), Region(name, drawn, None, ignored, isthing)))
    regions = [region for _, region in sorted(layers, key=lambda layer: layer[0])]
    return paint(regions, size, values, ignore=ignore, background=background)


def _draw(item: dict[str, Any], size: Size, where: str) -> Drawn:
    outline = item.get("segmentation")
    if isinstance(outline, dict):
        if outline["size"] != [*size]:
            raise DataError(
                problem(
                    f"run lengths of the image's size {list(size)}",
                    f"{outline['size']}",
                    where=where,
                    next_move="export the annotations again",
                )
            )
        counts = outline["counts"]
        return from_counts(
            text_to_counts(counts, where=where) if isinstance(counts, str) else counts, size, where=where
        )
    if outline:
        rings = [to_points(ring, where=where) for ring in outline if len(ring) >= 6]
        return union([coco_polygon(ring, size) for ring in rings])
    return _box(item["bbox"], size, where)


def _box(values: Any, size: Size, where: str) -> Drawn:
    """Return the pixels that a box touches."""
    (left, top), (width, height) = to_points(values, where=where).tolist()
    edges = np.clip([np.floor([top, left]), np.ceil([top + height, left + width])], 0, size).astype(int)
    return Drawn(int(edges[0, 0]), int(edges[0, 1]), np.ones(np.maximum(edges[1] - edges[0], 0), bool))


def _annotations(
    record: Record, categories: Categories, image: int, background: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the annotations of a record, without ids."""
    crowd = next((c for c in categories.items if c.isthing), categories.items[0])
    for piece in pieces(record, categories):
        ignored = piece.position == IGNORE
        category = crowd if ignored else categories.items[piece.position]
        if category.name == background and not piece.object and not ignored:
            continue
        own = {"isthing": int(piece.object > 0)} if not ignored and (piece.object > 0) != category.isthing else {}
        yield {
            "image_id": image,
            "category_id": category.id,
            "iscrowd": int(ignored),
            **own,
            **_measured(piece, record),
        }


def _measured(piece: Piece, record: Record) -> dict[str, Any]:
    top, left, pixels = piece.drawn
    counts = to_counts(piece.drawn, record.size)
    return {
        "segmentation": {"size": list(record.size), "counts": counts_to_text(counts)},
        "area": int(pixels.sum()),
        "bbox": [left, top, pixels.shape[1], pixels.shape[0]],
    }

"""COCO panoptic: a JSON file that lists segments, a PNG an image whose colours number them: R + 256 G + 65536 B."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.artifacts import write_json
from maskwright.data.formats.coco_file import category_of, checked_ids, faulty, part_of_file, read_coco
from maskwright.data.formats.files import inside
from maskwright.data.formats.lookup import Images, absent, bare_row, labelled_row, part_of
from maskwright.data.formats.peek import files_of, kind_of, kinds
from maskwright.data.formats.pieces import BOTH, known_of, numbered, pieces
from maskwright.data.formats.rows import Content, Record, Records, Row, Source
from maskwright.data.images import COLOR, read_values
from maskwright.data.written import place_image, write_array
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Array, Categories, Category

_CROWD = 255
_KIND = {True: "a thing", False: "stuff"}


@dataclass(frozen=True)
class _Labels:
    """How the numbers in one PNG are read.

    Attributes:
        path: of the PNG.
        where: the JSON file.
        values: number → value in the mask.
        objects: numbers that are objects.
        ignore: value of pixels with the number 0.
        pairs: the PNG holds category and instance in two channels instead of segments.
    """

    path: Path
    where: Path
    values: dict[int, int]
    objects: frozenset[int]
    ignore: int
    pairs: bool = False


def recognise(root: Path) -> bool:
    """Tell whether there are JSON files that list segments."""
    return "coco_panoptic" in kinds(root)


def fits(path: Path) -> bool:
    """Tell from its ends whether a JSON file is of this format; never raises."""
    return kind_of(path) == "coco_panoptic"


def read(root: Path) -> Source:
    """Return the rows of COCO panoptic files and the images that none of them names.

    Pixels with the number 0 are ignored. A crowd keeps its category and is no object.

    Without a JSON file that lists segments, one that lists images and categories with `isthing` is read together with
    PNGs in the two-channel form: category in red, instance in green, 255 for a crowd.

    Raises:
        DataError: a file that can't be read, ids that don't exist, or images or PNGs that aren't there.
    """
    files = files_of(root, "coco_panoptic")
    pairs = not files
    trees = {path: read_coco(path) for path in files or files_of(root, "coco", "coco_other")}
    trees = {path: tree for path, tree in trees.items() if not pairs or _has_things(tree)}
    if not trees:
        raise DataError(
            problem(
                "a JSON file with segments_info, or images and categories with isthing",
                "none",
                where=str(root),
                next_move="choose another format with --set data.format=NAME",
            )
        )
    for path, tree in trees.items():
        _check(path, tree)
    categories, values, ignore = _categories(trees)
    images, found, labels = Images(root), dict[str, Row](), list[str]()
    for path, tree in trees.items():
        for row, label in _rows(path, tree, images, values, ignore, pairs=pairs):
            if row.image in found:
                raise faulty(path, [f"the segments of {row.image} are listed twice"])
            found[row.image] = row
            labels.append(label)
    others = [bare_row(path) for path in images.others(found, labels)]
    rows = sorted([*found.values(), *others], key=lambda row: row.image)
    return Source("coco_panoptic", rows, categories, (ignore,))


@dataclass(frozen=True)
class SegmentFile:
    """The PNG of an image and what its numbers are, as a JSON file lists them.

    Attributes:
        path: of the PNG.
        listed: `segments_info`, each with a distinct `id` and a known `category_id`.
    """

    path: Path
    listed: list[dict[str, Any]]


def read_segments(
    path: Path, categories: Sequence[Category] | None = None
) -> tuple[tuple[Category, ...], dict[int | str, SegmentFile]]:
    """Return the categories and the segments of a COCO panoptic file, by image id, for whoever scores them.

    Nothing is made of the numbers: they, crowds and what is no object stay as they are. Images needn't be listed, and
    the images themselves needn't be there.

    Args:
        path: the JSON file; the PNGs lie in the folder of its name, or beside it.
        categories: what the ids mean; None: the file must say so itself. Those that it lists must be these.

    Raises:
        DataError: no such file, ids that are missing, twice or unknown, categories that differ, or PNGs that aren't
            there.
    """
    tree = read_coco(path)
    stated = tuple(category_of(entry, isthing=True) for entry in tree["categories"])
    known = tuple(stated if categories is None else categories)
    names = {c.id: c.name for c in known}
    faults = [] if known else ["it lists no categories"]
    faults += [
        f"category {c.id} is {c.name} here and {names.get(c.id, 'not listed')} in the truth"
        for c in stated
        if names.get(c.id) != c.name
    ]
    isthing = {c.id: c.isthing for c in known}
    faults += [
        f"category {c.id}, {c.name}, is {_KIND[c.isthing]} here and {_KIND[isthing[c.id]]} in the truth"
        for c, entry in zip(stated, tree["categories"], strict=True)
        if "isthing" in entry and c.isthing != isthing.get(c.id, c.isthing)
    ]
    found: dict[int | str, SegmentFile] = {}
    for item in tree["annotations"]:
        number, segments, name = item.get("image_id"), item.get("segments_info"), item.get("file_name")
        if type(number) not in (int, str) or not isinstance(segments, list) or not isinstance(name, str):
            faults.append(f"the annotation of image {number} lacks image_id, file_name or segments_info")
        elif number in found:
            faults.append(f"the segments of image {number} are listed twice")
        else:
            faults += _faults_of_segments(number, segments, set(names))
            found[number] = SegmentFile(_beside(path, name), segments)
    if faults:
        raise faulty(path, faults)
    if missing := [str(one.path) for one in found.values() if not one.path.is_file()]:
        raise absent(missing, where=str(path), next_move=f"put them into {path.stem}/ beside the JSON file")
    return known, found


def _beside(where: Path, stated: str) -> Path:
    """Return where a PNG lies: in the folder that is called as the JSON file is, or beside that file."""
    folder = where.with_suffix("")
    inner, outer = (home / inside(home, stated, where=where) for home in (folder, where.parent))
    return inner if inner.is_file() or not outer.is_file() else outer


def write(root: Path, records: Records) -> None:
    """Write records as images/, unlabeled/ and annotations/panoptic[_PART].json beside a folder of PNGs of that name.

    Every category is a segment, the background as well; ignored pixels are 0. A segment whose `isthing` differs from
    its category's states its own; an image whose masks or instances alone are known states so as `known`.
    """
    table = category_table(records.categories)
    trees: dict[str | None, dict[str, Any]] = {}
    for number, record in enumerate(records, 1):
        if record.label is None and record.instances is None:
            place_image(root / "unlabeled", record.name.removeprefix("unlabeled/"), record.image)
            continue
        info = {"description": "written by maskwright", "part": record.part}
        start: dict[str, Any] = {"info": info, "images": [], "annotations": [], "categories": table}
        tree = trees.setdefault(record.part, start)
        image = place_image(root / "images", record.name, record.image).relative_to(root / "images").as_posix()
        folder = root / "annotations" / _stem(record.part)
        colors, segments = segments_of(record, records.categories)
        label = write_array(folder / f"{record.name}.png", colors).relative_to(folder).as_posix()
        known = {} if known_of(record) == [*BOTH] else {"known": known_of(record)}
        height, width = record.size
        tree["images"].append({"id": number, "file_name": image, "height": height, "width": width, **known})
        tree["annotations"].append({"image_id": number, "file_name": label, "segments_info": segments})
    for part, tree in trees.items():
        write_json(root / "annotations" / f"{_stem(part)}.json", tree)


def _stem(part: str | None) -> str:
    return f"panoptic_{part}" if part else "panoptic"


def _has_things(tree: dict[str, Any]) -> bool:
    bare = bool(tree["images"]) and not tree["annotations"]
    return bare and bool(tree["categories"]) and all("isthing" in item for item in tree["categories"])


def _check(path: Path, tree: dict[str, Any]) -> None:
    """Raise with all faults of a file that don't need its pixels."""
    images, categories = checked_ids(path, tree)
    faults = list[str]()
    for item in tree["annotations"]:
        number, segments = item.get("image_id"), item.get("segments_info")
        if type(number) not in (int, str) or number not in images:
            faults.append(f"an annotation is of image {number}, which is not listed")
        elif not isinstance(item.get("file_name"), str) or not isinstance(segments, list):
            faults.append(f"the annotation of image {number} lacks file_name or segments_info")
        else:
            faults += _faults_of_segments(number, segments, categories)
    if faults:
        raise faulty(path, faults)


def _faults_of_segments(image: int | str, segments: list[Any], categories: set[Any]) -> Iterator[str]:
    seen: set[int] = set()
    for segment in segments:
        number, category = (segment.get(key) if isinstance(segment, dict) else None for key in ("id", "category_id"))
        if type(number) is not int or not 0 < number < COLOR:
            yield f"segment {number} of image {image} has no number from 1 to {COLOR - 1}"
        elif number in seen:
            yield f"segment {number} of image {image} stands there twice"
        elif type(category) is not int or category not in categories:
            yield f"segment {number} of image {image} is of category {category}, which is not listed"
        else:
            seen.add(number)


def _categories(trees: dict[Path, dict[str, Any]]) -> tuple[tuple[Category, ...], dict[int, int], int]:
    """Return the categories, the mask value of each id in the files, and the ignored value."""
    found: dict[int, Category] = {}
    for path, tree in trees.items():
        for entry in tree["categories"]:
            category = category_of(entry, isthing=True)
            known = found.setdefault(category.id, category)
            if known.name != category.name:
                raise faulty(path, [f"category {category.id} is {category.name} here and {known.name} in another file"])
    categories, _, ignore = numbered([*found.values()], None, add=False)
    return categories, dict(zip(found, (c.id for c in categories), strict=True)), ignore


def _rows(
    path: Path, tree: dict[str, Any], images: Images, values: dict[int, int], ignore: int, *, pairs: bool
) -> Iterator[tuple[Row, str]]:
    """Yield the rows of a file, each with the path of its PNG."""
    part = part_of_file(path, tree, images.root)
    listed = {entry["id"]: entry for entry in tree["images"]}
    stated = (
        [{"image_id": i, "file_name": _png(entry["file_name"]), "segments_info": []} for i, entry in listed.items()]
        if pairs
        else tree["annotations"]
    )
    names = {item["image_id"]: listed[item["image_id"]]["file_name"] for item in stated}
    apart = path.with_suffix("").relative_to(images.root).as_posix()
    paths = {number: images.find(name, where=path, hint=part or "", apart=apart) for number, name in names.items()}
    if missing := [names[number] for number, found in paths.items() if found is None]:
        raise absent(missing, where=str(path))
    things = {entry["id"]: bool(entry.get("isthing", True)) for entry in tree["categories"]}
    for item in stated:
        image = str(paths[item["image_id"]])
        label = _find_label(item["file_name"], path, images, image)
        segments = [] if pairs else item["segments_info"]
        numbers = {s["id"]: values[s["category_id"]] for s in segments} or (values if pairs else {})
        objects = frozenset(
            s["id"] for s in segments if s.get("isthing", things[s["category_id"]]) and not s.get("iscrowd")
        )
        objects = frozenset(number for number, thing in things.items() if thing) if pairs else objects
        labels = _Labels(images.root / label, path, numbers, objects, ignore, pairs)
        known = tuple(what for what in BOTH if what in listed[item["image_id"]].get("known", BOTH))
        yield labelled_row(image, partial(_render, labels), part or part_of(image), known=known), label


def _png(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).with_suffix(".png").name


def _find_label(stated: str, where: Path, images: Images, image: str) -> str:
    """Return the path of a PNG: in the folder that is called as the JSON file is, beside it, or the only one elsewhere.

    Raises:
        DataError: it isn't there, or there are several.
    """
    root = images.root
    name = inside(root, stated, where=where)
    for folder in (where.with_suffix(""), where.parent):
        candidate = (folder / name).relative_to(root).as_posix()
        if candidate in images.known and candidate != image:
            return inside(root, candidate, where=where)
    fitting = [path for path in images.called(PurePosixPath(name).name) if path != image]
    if len(fitting) == 1:
        return inside(root, fitting[0], where=where)
    raise DataError(
        problem(
            f"the PNG {stated} of {image}",
            ", ".join(fitting) or "nothing of that name",
            where=str(where),
            next_move=f"put it into {where.with_suffix('').name}/ beside the JSON file",
        )
    )


def _render(labels: _Labels) -> Content:
    values = read_values(labels.path)
    if int(values.max()) >= COLOR:
        red, green, blue = values >> 16 & 255, values >> 8 & 255, values & 255
        numbers = red.astype(np.int64) + 256 * green + 65536 * blue
    else:  # a PNG in which all numbers are below 256 may have been saved in gray
        numbers, red, green = values.astype(np.int64), values, np.zeros_like(values)
    if labels.pairs:
        return _from_pairs(labels, red, green)
    found, inverse = np.unique(numbers, return_inverse=True)
    unknown = [int(number) for number in found if number and int(number) not in labels.values]
    if unknown:
        raise _unlisted(labels, f"segments {', '.join(map(str, unknown[:10]))}")
    mask = np.array([labels.values.get(int(number), labels.ignore) for number in found], np.int32)
    is_object = np.array([int(number) in labels.objects for number in found])
    objects = np.where(is_object, np.cumsum(is_object), 0).astype(np.int32)
    return Content(mask=mask[inverse.reshape(numbers.shape)], instances=objects[inverse.reshape(numbers.shape)])


def _from_pairs(labels: _Labels, category: Array, instance: Array) -> Content:
    found, inverse = np.unique(category, return_inverse=True)
    unknown = [int(number) for number in found if number and int(number) not in labels.values]
    if unknown:
        raise _unlisted(labels, f"categories {', '.join(map(str, unknown[:10]))}")
    mask = np.array([labels.values.get(int(number), labels.ignore) for number in found], np.int32)[inverse]
    is_object = np.isin(category, sorted(labels.objects)) & (category > 0) & (instance < _CROWD)
    keys = np.where(is_object, category.astype(np.int64) * 256 + instance + 1, 0)
    objects = np.unique(np.append(0, keys.ravel()), return_inverse=True)[1][1:]
    return Content(mask=mask.reshape(category.shape), instances=objects.reshape(category.shape).astype(np.int32))


def _unlisted(labels: _Labels, got: str) -> DataError:
    next_move = "list them in the JSON file, or paint them with 0, which is ignored"
    return DataError(
        problem(f"the numbers that {labels.where} lists", got, where=str(labels.path), next_move=next_move)
    )


def segments_of(record: Record, categories: Categories) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    """Return the PNG's pixels (H, W, 3) and what its numbers are."""
    numbers = np.zeros(record.size, np.int64)
    segments: list[dict[str, Any]] = []
    for position, number, (top, left, pixels) in pieces(record, categories):
        if position == IGNORE:
            continue
        category, (height, width) = categories.items[position], pixels.shape
        numbers[top : top + height, left : left + width][pixels] = len(segments) + 1
        own = {"isthing": int(number > 0)} if (number > 0) != category.isthing else {}
        segments.append(
            {
                "id": len(segments) + 1,
                "category_id": category.id,
                "iscrowd": 0,
                "area": int(pixels.sum()),
                "bbox": [left, top, width, height],
                **own,
            }
        )
    return colors_of(numbers), segments


def colors_of(numbers: Array) -> npt.NDArray[np.uint8]:
    """Return the pixels (H, W, 3) of a PNG that holds numbers (H, W) below 2²⁴."""
    return np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], 2).astype(np.uint8)


def category_table(categories: Categories) -> list[dict[str, Any]]:
    """Return the categories as the JSON file lists them."""
    return [
        {"id": c.id, "name": c.name, "supercategory": "", "color": list(c.color), "isthing": int(c.isthing)}
        for c in categories.items
    ]

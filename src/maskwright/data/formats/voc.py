"""PASCAL VOC, and CVAT's "segmentation mask 1.1" with its labelmap.txt: SegmentationClass and SegmentationObject."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from maskwright.artifacts import IMPORTED, atomic
from maskwright.data.formats.annotated import Stems, head, refused
from maskwright.data.formats.files import find_images, homes, match_name, name_of
from maskwright.data.formats.lookup import Images, absent
from maskwright.data.formats.rows import Content, Record, Records, Row, Source
from maskwright.data.images import COLOR, palette_of, read_values
from maskwright.data.written import place_image, write_array
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Array, Category

BORDER = (224, 224, 192)
"""Colour of VOC's ignored pixels, value 255 of its palette."""

NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""VOC's own categories, for folders that name none."""

_MASKS, _OBJECTS, _IMAGES = "SegmentationClass", "SegmentationObject", "JPEGImages"
_GUESSED = (
    "no labelmap.txt names the categories: the masks have VOC's palette, so they are called as VOC's own 20; "
    "if they are others, add a labelmap.txt with a line NAME:R,G,B:: for each"
)
_NO_PART = ("default", "trainval")
_LINE = re.compile(r"(.+?)(?::(\d+ *, *\d+ *, *\d+)?(?::[^:]*){0,2})?")
_LOOKED_AT = 64
_MOST_IDS = 254

RGB = tuple[int, int, int]


class Label(NamedTuple):
    """A line of labelmap.txt or class_names.txt: its place is the value in palette masks, its colour that in others."""

    name: str
    color: RGB | None


def recognise(root: Path) -> bool:
    """Tell whether the folder, or one directly below, has SegmentationClass, or VOC's XML for boxes."""
    return any((home / _MASKS).is_dir() for home in homes(root)) or _has_boxes(root)


def palette(n: int = 256) -> list[RGB]:
    """Return VOC's colours: the bits of the number dealt out to red, green and blue, the highest bits first.

    Example:
        >>> palette(4)
        [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    """
    shares = [[sum(((i >> (3 * bit + c)) & 1) << (7 - bit) for bit in range(8)) for c in range(3)] for i in range(n)]
    return [(red, green, blue) for red, green, blue in shares]


def read(root: Path) -> Source:
    """Return the rows: images with a mask in SegmentationClass are labelled, all others are not.

    Raises:
        DataError: there are boxes alone, masks without images, or names that are given in two ways.
    """
    found_in = [home for home in homes(root) if (home / _MASKS).is_dir()]
    if not found_in:
        next_move = "boxes are for detection; export masks (SegmentationClass) from the annotation tool"
        raise refused("boxes in XML files, and no SegmentationClass", root, next_move)
    images = Images(root)
    stems = Stems(images)
    labels = _labels(found_in)
    rows: dict[str, Row] = {}
    leftovers, seen = list[str](), list[Path]()
    for home in found_in:
        masks, objects = _by_name(home, _MASKS), _by_name(home, _OBJECTS)
        seen += masks.values()
        parts, found = _parts(home), dict[str, str | None]()
        for name, mask in masks.items():
            found[name] = image = _image(root, stems, home, name, mask)
            if image is not None:
                rows[image] = _row(root, image, mask, objects.get(name), labels, parts.get(name))
            else:
                leftovers.append(mask.relative_to(root).as_posix())
        if masks and not any(found.values()):
            raise absent(list(found), where=str(home / _MASKS))
        for name in parts.keys() - masks.keys():
            if (image := _image(root, stems, home, name, home)) is not None:
                rows.setdefault(image, Row(image, part=parts[name]))
    for path in images.others(rows):
        rows[path] = Row(path)
    things = any((home / _OBJECTS).is_dir() for home in found_in)
    guessed = [] if labels else _standard(seen)
    categories = _categories(labels or guessed, isthing=things)
    notes = (_GUESSED,) if guessed else ()
    return Source("voc", [rows[key] for key in sorted(rows)], categories, _ignored(labels), leftovers, notes)


def listed(home: Path) -> tuple[Category, ...] | None:
    """Return the categories of a labelmap.txt or class_names.txt, None where there is none.

    Raises:
        DataError: it can't be read.
    """
    return _categories(_labels([home]), isthing=False)


def write(root: Path, records: Records) -> None:
    """Write images, palette masks, objects, labelmap.txt and the parts as ImageSets.

    A mask's value is the category's place, also where its id is another one. An image with more than 254 objects gets a
    16-bit SegmentationObject, which VOC's own tools don't know. Columns of meta.csv have no place here.
    """
    colors = [category.color for category in records.categories.items]
    if len(set(colors)) < len(colors):
        colors = palette(len(colors))
    lines = [
        f"{c.name}:{','.join(map(str, color))}::" for c, color in zip(records.categories.items, colors, strict=True)
    ]
    _write_text(root / "labelmap.txt", ["# label:color_rgb:parts:actions", *lines])
    table = [*colors, *palette()[len(colors) :]]
    table[IGNORE] = BORDER
    (root / _MASKS).mkdir(parents=True)
    parts: dict[str, list[str]] = {}
    for record in records:
        name = _plain_name(record)
        place_image(root / _IMAGES, name, record.image)
        if record.label is not None:
            _write_palette(root / _MASKS / f"{name}.png", record.label, table)
        if record.instances is not None:
            _write_objects(root / _OBJECTS / f"{name}.png", record.instances)
        if record.label is not None or record.part is not None:
            parts.setdefault(record.part or _NO_PART[0], []).append(name)
    for part, names in parts.items():
        _write_text(root / "ImageSets" / "Segmentation" / f"{part}.txt", names)


def _has_boxes(root: Path) -> bool:
    """Tell whether there are XML files as VOC has them, with boxes and no polygons, and no masks beside them."""
    folders = [folder for home in homes(root) for folder in (home, home / "Annotations") if folder.is_dir()]
    if (root / "masks").is_dir() or (root / "instances").is_dir():
        return False
    texts = [head(path, 4096) for folder in folders for path in islice(folder.glob("*.xml"), 3)]
    return any("<annotation>" in text and "<bndbox>" in text and "<polygon>" not in text for text in texts)


def _by_name(home: Path, folder: str) -> dict[str, Path]:
    """Return name → file, names as paths below the folder without suffix."""
    return {match_name(path.relative_to(home / folder)): path for path in find_images(home / folder)}


def _image(root: Path, stems: Stems, home: Path, name: str, where: Path) -> str | None:
    """Return the image of a name: in JPEGImages, or anywhere else in the data folder."""
    beside = (home / _IMAGES / name).parent.relative_to(root).as_posix()
    return stems.find(name, where=where, beside=beside)


def _row(root: Path, image: str, mask: Path, objects: Path | None, labels: list[Label], part: str | None) -> Row:
    """Return a row that refers to the mask file where its values are right, and renders what has to be translated."""
    colors = _translation(mask, labels)
    instances = None if objects is None else f"{IMPORTED}instances/{name_of(image)}.png"
    stated = mask.relative_to(root).as_posix() if colors is None else f"{IMPORTED}masks/{name_of(image)}.png"
    if colors is None and objects is None:
        return Row(image, stated, part=part)

    def render() -> Content:
        ids = None if objects is None else _objects(objects)
        return Content(mask=None if colors is None else _translate(mask, colors), instances=ids)

    return Row(image, stated, instances, part, render=render)


def _translation(mask: Path, labels: list[Label]) -> Mapping[int, int] | None:
    """Return index → value of a palette mask whose colours stand at other places than in labelmap.txt, else None."""
    stored = _palette_of(mask)
    if stored is None or not labels or any(label.color is None for label in labels):
        return None
    if all(stored.get(place, label.color) == label.color for place, label in enumerate(labels)):
        return None
    places = {label.color: place for place, label in enumerate(labels)} | {BORDER: IGNORE}
    return {index: places[color] for index, color in stored.items() if color in places}


def _palette_of(path: Path) -> dict[int, RGB] | None:
    """Return the colours in the header of a palette image, None for any other; the pixels aren't decoded."""
    try:
        with Image.open(path) as file:
            if file.mode != "P" or file.palette is None:
                return None
            order, flat = file.palette.getdata()
    except (OSError, SyntaxError, ValueError):  # the audit names it
        return None
    if order != "RGB":  # no PNG
        return palette_of(path)
    return {i: (flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]) for i in range(len(flat) // 3)}


def _translate(mask: Path, values: Mapping[int, int]) -> Array:
    found = read_values(mask)
    used = np.unique(found).tolist()
    if unknown := [value for value in used if value not in values]:
        stored = _palette_of(mask) or {}
        listed = ", ".join(f"{value} {stored.get(value, '')}" for value in unknown[:8])
        next_move = "add the colours to labelmap.txt, or mend the mask"
        raise DataError(problem("the colours of labelmap.txt", listed, where=str(mask), next_move=next_move))
    table = np.zeros(max(used) + 1, np.int32)
    table[used] = [values[value] for value in used]
    return table[found]


def _objects(path: Path) -> Array:
    """Return (H, W) object ids of a palette, gray or RGB file; black and border are 0."""
    values = read_values(path)
    if values.max(initial=0) >= COLOR:
        nothing = (COLOR, COLOR + int.from_bytes(bytes(BORDER)))
        colors = [color for color in np.unique(values).tolist() if color not in nothing]
        ids: Array = np.where(np.isin(values, nothing), 0, np.searchsorted(colors, values) + 1).astype(np.int32)
        return ids
    with Image.open(path) as file:
        deep = file.mode not in ("P", "L", "1")
    return values if deep else np.where(values == IGNORE, 0, values)


def _labels(homes: list[Path]) -> list[Label]:
    """Return the names of labelmap.txt or class_names.txt, none where neither is there."""
    read = [
        _read_labels(home / name)
        for home in homes
        for name in ("labelmap.txt", "class_names.txt")
        if (home / name).is_file()
    ]
    if any(labels != read[0] for labels in read):
        next_move = "read each folder on its own"
        raise DataError(problem("one list of names", "different ones", where=str(homes[0].parent), next_move=next_move))
    return read[0] if read else []


def _read_labels(path: Path) -> list[Label]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        next_move = "save the file as UTF-8 text"
        raise DataError(problem("names, one a line", str(error), where=str(path), next_move=next_move)) from None
    labels = list[Label]()
    for line in lines:
        if not line or (line.startswith("#") and not re.match(r"#[0-9a-fA-F]{6}(:|$)", line)):
            continue
        name, color = _LINE.fullmatch(line).groups()  # type: ignore[union-attr]  # fits any line
        shares = [int(share) for share in color.split(",")] if color else []
        labels.append(Label(name.strip("_") if name == "_background_" else name, _rgb(shares)))
    doubles = {label.name for label in labels if [other.name for other in labels].count(label.name) > 1}
    doubles |= {str(a.color) for i, a in enumerate(labels) for b in labels[:i] if a.color and a.color == b.color}
    if doubles:
        next_move = "rename one, or give it another colour"
        raise DataError(
            problem("different names and colours", f"{sorted(doubles)} twice", where=str(path), next_move=next_move)
        )
    return labels


def _rgb(shares: list[int]) -> RGB | None:
    return (shares[0], shares[1], shares[2]) if shares and max(shares) < 256 else None


def _standard(masks: Iterable[Path]) -> list[Label]:
    """Return VOC's own names if the masks, as far as is looked, have its palette or colours and nothing else."""
    files = sorted(masks)
    some = files[:: max(1, len(files) // _LOOKED_AT)][:_LOOKED_AT]
    colors = palette(len(NAMES))
    known = {*range(len(NAMES)), IGNORE, *(COLOR + int.from_bytes(bytes(color)) for color in (*colors, BORDER))}
    for path in some:
        stored, used = _palette_of(path), set(np.unique(read_values(path)).tolist())
        indexed = stored is not None and all(stored.get(i, color) == color for i, color in enumerate(colors))
        if not used <= known or not (indexed or min(used) >= COLOR):
            return []
    return [Label(name, color) for name, color in zip(NAMES, colors, strict=True)] if some else []


def _is_ignored(label: Label) -> bool:
    return label.name == "ignored" and label.color in (None, BORDER)


def _categories(labels: list[Label], *, isthing: bool) -> tuple[Category, ...] | None:
    colors = palette(len(labels))
    return (
        tuple(
            Category(
                i, name, color or colors[i], isthing and i > 0, (i, *([f"#{bytes(color).hex()}"] if color else []))
            )
            for i, (name, color) in enumerate(labels)
            if not _is_ignored(Label(name, color))
        )
        or None
    )


def _ignored(labels: list[Label]) -> tuple[int | str, ...]:
    own = [i for i, label in enumerate(labels) if _is_ignored(label)]
    taken = any(label.color == BORDER and not _is_ignored(label) for label in labels)
    return (IGNORE, *own, *([] if taken else [f"#{bytes(BORDER).hex()}"]))


def _parts(home: Path) -> dict[str, str | None]:
    """Return name → part of ImageSets/Segmentation; trainval and CVAT's default are no parts."""
    found: dict[str, str | None] = {}
    for path in sorted((home / "ImageSets" / "Segmentation").glob("*.txt")):
        for name in (line.strip().strip('"') for line in _lines(path)):
            if name and found.get(name) is None:
                found[name] = None if path.stem in _NO_PART else path.stem
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def _plain_name(record: Record) -> str:
    return record.name.removeprefix(f"{_IMAGES}/")


def _write_palette(path: Path, values: Array, colors: list[RGB]) -> None:
    picture = Image.fromarray(values.astype(np.uint8)).convert("P")
    picture.putpalette([share for color in colors for share in color])
    with atomic(path) as temporary:
        picture.save(temporary, format="PNG")


def _write_objects(path: Path, ids: Array) -> None:
    if ids.max(initial=0) > _MOST_IDS:
        write_array(path, ids.astype(np.uint16 if ids.max() < 65536 else np.uint32))
    else:
        table = palette()
        table[IGNORE] = BORDER
        _write_palette(path, ids, table)


def _write_text(path: Path, lines: Iterable[str]) -> None:
    with atomic(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

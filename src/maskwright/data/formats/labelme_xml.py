"""LabelMe 3.0, the one on the web: an XML file an image with polygons, and masks in PNGs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path, PurePosixPath

from maskwright.data.formats.files import read_xml_file, whole_number
from maskwright.data.formats.lookup import Images, absent, bare_row, canvas_size, labelled_row, no_files, part_of
from maskwright.data.formats.peek import LOOKED_AT, text_files
from maskwright.data.formats.pieces import Values, named
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.shapes import Drawn, Region, Size, bitmap, paint, polygon, to_points
from maskwright.data.images import COLOR, read_values
from maskwright.errors import DataError, problem


def recognise(root: Path) -> bool:
    """Tell whether there are XML files with LabelMe's polygons or masks."""
    return bool(text_files(root, ".xml", _fits, first=LOOKED_AT))


def read(root: Path) -> Source:
    """Return the rows of LabelMe's XML files and the images that none of them names.

    Objects are painted in the order of the file; deleted ones are left out. Boxes are the polygons that they are.

    Raises:
        DataError: a file or an object that can't be read, or images that aren't there.
    """
    trees = {path: _objects(path) for path in text_files(root, ".xml", _fits)}
    if not trees:
        raise no_files("LabelMe's XML files", root)
    images = Images(root)
    categories, values = named(_name(item) for _, objects in trees.values() for item in objects)
    rows: dict[str, Row] = {}
    labels: list[str] = []
    missing: list[str] = []
    for path, (tree, objects) in trees.items():
        folder, name = _text(tree, "folder"), _text(tree, "filename")
        image = images.find(str(PurePosixPath(folder, name)), where=path, hint="Images")
        if image is None:
            missing.append(f"{name} of {path.name}")
            continue
        if image in rows:
            raise _wrong("one XML file an image", f"another one of {image}", str(path))
        masks = {id(item): mask for item in objects if (mask := _find_mask(item, folder, path, images))}
        labels += masks.values()
        render = partial(_render, path, tree, objects, masks, root / image, root, values)
        rows[image] = labelled_row(image, render, part_of(image))
    if missing:
        raise absent(missing, where=str(root))
    taken = [*labels, *(path for path in images.paths if re.search(r"_(mask|scribble)_\d+\.png$", path))]
    rest = [bare_row(path) for path in images.others(rows, taken)]
    ordered = sorted([*rows.values(), *rest], key=lambda row: row.image)
    return Source("labelme_xml", ordered, categories, (values.ignore,))


def _fits(text: str) -> bool:
    """Detection files in Pascal VOC's XML have `bndbox` instead."""
    return "<annotation>" in text and ("<pt>" in text or "<segm>" in text) and "<bndbox>" not in text


def _text(element: ET.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _wrong(expected: str, got: str, where: str) -> DataError:
    return DataError(problem(expected, got, where=where, next_move="mend or remove it"))


def _objects(path: Path) -> tuple[ET.Element, list[ET.Element]]:
    tree = read_xml_file(path)
    objects = [item for item in tree.iter("object") if _text(item, "deleted") != "1"]
    for place, item in enumerate(objects, 1):
        if not _text(item, "name"):
            raise _wrong("a name for every object", "none", f"{path}, object {place}")
    return tree, objects


def _name(item: ET.Element) -> str:
    return " ".join(_text(item, "name").split())


def _find_mask(item: ET.Element, folder: str, path: Path, images: Images) -> str | None:
    """Return the path of an object's mask, None if it has a polygon."""
    if item.find("segm") is None:
        return None
    stated = _text(item, "segm/mask")
    found = images.find(str(PurePosixPath(folder, stated)), where=path, hint="Masks") if stated else None
    if found is None:
        raise _wrong("the mask of an object", f"{stated or 'no name'}, which is not there", f"{path}, {_name(item)}")
    return found


def _render(
    path: Path,
    tree: ET.Element,
    objects: list[ET.Element],
    masks: dict[int, str],
    image: Path,
    root: Path,
    values: Values,
) -> Content:
    height, width = (whole_number(_text(tree, f"imagesize/{key}")) for key in ("nrows", "ncols"))
    size = canvas_size((height, width) if height and width else None, image, where=str(path))
    regions = [
        Region(_name(item), _draw(item, masks.get(id(item)), size, root, f"{path}, object {place} ({_name(item)})"))
        for place, item in enumerate(objects, 1)
    ]
    return paint(regions, size, values.ids, ignore=values.ignore, background=values.background)


def _draw(item: ET.Element, mask: str | None, size: Size, root: Path, where: str) -> Drawn:
    if mask is not None:
        pixels = read_values(root / mask)
        if pixels.shape != size:
            got = f"{pixels.shape[1]}×{pixels.shape[0]}"
            raise _wrong(f"a mask of the image's size {size[1]}×{size[0]}", got, f"{where}, {mask}")
        return bitmap((pixels != 0) & (pixels != COLOR), size)
    corners = [[_text(point, "x"), _text(point, "y")] for point in item.findall("polygon/pt")]
    if len(corners) < 3:
        raise _wrong("a polygon of at least three points", f"{len(corners)}", where)
    return polygon(to_points(corners, where=where), size)

"""Aperio ImageScope's XML: one file an image, layers as categories, negative regions as holes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from maskwright.data.formats.annotated import (
    Stems,
    all_files,
    check_inside,
    declared,
    drawn_row,
    head,
    some_files,
)
from maskwright.data.formats.files import read_xml_file, whole_number
from maskwright.data.formats.lookup import Images, absent, bare_row, no_files, part_of
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.shapes import NOTHING, Drawn, Points, Region, Size, coco_polygon, paint, to_points, without
from maskwright.types import IGNORE

_POLYGON, _RECTANGLE, _ELLIPSE = "0", "1", "2"
_AREAS = (_POLYGON, _RECTANGLE, _ELLIPSE)
_STEPS = 360


def recognise(root: Path) -> bool:
    """Tell whether the folder, or one directly below, has an XML file that begins as ImageScope's do."""
    return any(_is_imagescope(path) for path in some_files(root, ".xml"))


def read(root: Path) -> Source:
    """Return the rows of the images that have an XML file of their name, and unlabelled ones of the others.

    Raises:
        DataError: a file can't be read or has no image.
    """
    trees = {path: read_xml_file(path) for path in all_files(root, ".xml") if _is_imagescope(path)}
    if not trees:
        raise no_files("ImageScope's XML files", root)
    images = Images(root)
    stems = Stems(images)
    found = {path: stems.find(path.stem, where=path, beside=path.parent.relative_to(root).as_posix()) for path in trees}
    if missing := [path.stem for path, image in found.items() if image is None]:
        raise absent(missing, where=str(root))
    categories, ids = declared(_names(list(trees.values())), _colors(list(trees.values())))
    rows = [_row(root, image, trees[path], ids, path) for path, image in found.items() if image is not None]
    rows = sorted([*rows, *map(bare_row, images.others([row.image for row in rows]))], key=lambda row: row.image)
    return Source("imagescope", rows, categories, (255,))


def draw_file(path: Path, size: Size) -> Content:
    """Return the label maps of an XML file for an image that isn't at hand.

    Args:
        path: ImageScope's XML.
        size: (H, W) of the image at full resolution.

    Returns:
        mask (H, W) int32, layers from 1 in the order of the file, and instances (H, W) int32.

    Raises:
        DataError: the file can't be read, or a region lies outside.
    """
    tree = read_xml_file(path)
    _, ids = declared(_names([tree]))
    return paint(_regions(tree, size, path), size, ids, ignore=IGNORE)


def _is_imagescope(path: Path) -> bool:
    text = head(path)
    return "<Annotations" in text and ("MicronsPerPixel" in text or "<Annotation " in text)


def _row(root: Path, image: str, tree: Element, ids: Mapping[str, int], path: Path) -> Row:
    regions = list(tree.iter("Region"))
    if regions and not any(_has_area(region) for region in regions):  # arrows and rulers say nothing of pixels
        return Row(image, part=part_of(image))
    return drawn_row(root, image, lambda size: _regions(tree, size, path), ids, where=str(path), part=part_of(image))


def _names(trees: Sequence[Element]) -> list[str]:
    """Return the layers that have regions, in the order of the files; those without, the default one, are none."""
    layers = [layer for tree in trees for layer in tree.iter("Annotation")]
    return list(dict.fromkeys(_name(layer) for layer in layers if layer.find(".//Region") is not None))


def _name(layer: Element) -> str:
    """Return a layer's name, its description, or its number."""
    described = layer.find("Attributes/Attribute[@Name='Description']")
    said = "" if described is None else described.get("Value", "").strip()
    return layer.get("Name", "").strip() or said or f"layer_{layer.get('Id', '')}"


def _colors(trees: Sequence[Element]) -> dict[str, tuple[int, int, int]]:
    """Return the layers' colours: Windows' order, blue in the highest byte."""
    layers = [layer for tree in trees for layer in tree.iter("Annotation")]
    packed = {_name(layer): whole_number(layer.get("LineColor", "")) for layer in layers}
    known = {name: value for name, value in packed.items() if value is not None}
    return {name: (value & 255, value >> 8 & 255, value >> 16 & 255) for name, value in known.items()}


def _has_area(region: Element) -> bool:
    return region.get("Type", _POLYGON) in _AREAS


def _regions(tree: Element, size: Size, path: Path) -> list[Region]:
    """Return the regions layer by layer, what a layer's negative regions cover taken out of that layer's others."""
    found = list[Region]()
    for layer in tree.iter("Annotation"):
        name = _name(layer)
        drawn = [
            (_draw(region, size, f"{path}, layer {name}, region {region.get('Id')}"), region)
            for region in layer.iter("Region")
            if _has_area(region)
        ]
        holes = [shape for shape, region in drawn if region.get("NegativeROA") == "1"]
        for shape in (shape for shape, region in drawn if region.get("NegativeROA") != "1"):
            for hole in holes:
                shape = without(shape, hole)
            found.append(Region(name, shape))
    return found


def _draw(region: Element, size: Size, where: str) -> Drawn:
    """Return a region's pixels; a click that left fewer corners than a shape has is nothing."""
    corners = [(vertex.get("X"), vertex.get("Y")) for vertex in region.iter("Vertex")]
    points = to_points(corners, where=where)
    if region.get("Type") == _ELLIPSE and len(points) >= 2:
        points = _ellipse(points)
    if len(points) < 3:
        return NOTHING
    return coco_polygon(check_inside(points, size, where=where), size)


def _ellipse(corners: Points) -> Points:
    """Return the outline of the ellipse in the box of the given corners."""
    middle, radii = (corners.min(0) + corners.max(0)) / 2, (corners.max(0) - corners.min(0)) / 2
    angles = np.arange(_STEPS) * 2 * math.pi / _STEPS
    outline: Points = middle + radii * np.stack([np.cos(angles), np.sin(angles)], 1)
    return outline

"""GeoJSON as QuPath exports it: one .geojson an image, polygons with holes, classifications as categories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.data.formats.annotated import (
    Stems,
    all_files,
    check_corners,
    check_inside,
    declared,
    drawn_row,
    head,
    some_files,
)
from maskwright.data.formats.files import read_json_file
from maskwright.data.formats.lookup import Images, absent, bare_row, no_files, part_of
from maskwright.data.formats.pieces import rgb_of
from maskwright.data.formats.rows import Row, Source
from maskwright.data.formats.shapes import Drawn, Region, Size, coco_polygon, to_points, without
from maskwright.data.images import SUFFIXES
from maskwright.errors import DataError, problem

UNCLASSIFIED = "unclassified"
"""The category of objects without a classification."""

IGNORED = "Ignore*"
"""QuPath's class for parts that count as nothing: ignored pixels."""

_AREAS = ("Polygon", "MultiPolygon")


def recognise(root: Path) -> bool:
    """Tell whether the folder, or one directly below, has .geojson files that begin as QuPath's do."""
    return any('"Feature' in head(path) or '"geometry"' in head(path) for path in some_files(root, ".geojson"))


def read(root: Path) -> Source:
    """Return the rows of the images that have a .geojson of their name, and unlabelled ones of the others.

    Raises:
        DataError: a file can't be read or has no image.
    """
    images, files = Images(root), all_files(root, ".geojson")
    if not files:
        raise no_files("QuPath's .geojson files", root)
    features = {path: list(_features(read_json_file(path), path)) for path in files}
    stems = Stems(images)
    found = {path: _image_of(root, stems, path) for path in files}
    if missing := [path.name for path, image in found.items() if image is None]:
        raise absent(missing, where=str(root))
    colors = {_name(f): color for listed in features.values() for f in listed if (color := _color(f)) is not None}
    names = {_name(f) for listed in features.values() for f in listed if _kind(f) in _AREAS}
    categories, ids = declared(sorted(names - {IGNORED}), colors)
    rows = [_row(root, image, features[path], ids, path) for path, image in found.items() if image is not None]
    rows = sorted([*rows, *map(bare_row, images.others([row.image for row in rows]))], key=lambda row: row.image)
    return Source("geojson", rows, categories, (255,))


def _features(tree: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the features of a collection, of a list, or the one that the file is."""
    listed = tree.get("features", [tree]) if isinstance(tree, dict) else tree
    for number, feature in enumerate(listed if isinstance(listed, list) else [None], 1):
        if not isinstance(feature, dict) or not isinstance(feature.get("geometry") or {}, dict):
            next_move = "export the objects from QuPath again, as GeoJSON"
            raise DataError(
                problem("GeoJSON features", repr(feature)[:60], where=f"{path}, feature {number}", next_move=next_move)
            )
        yield feature


def _image_of(root: Path, stems: Stems, path: Path) -> str | None:
    """Return the image a.png (or any other type) of a.geojson, also of a.png.geojson."""
    name, beside = PurePosixPath(path.stem), path.parent.relative_to(root).as_posix()
    if name.suffix.lower() in SUFFIXES and (image := stems.find(name.stem, where=path, beside=beside)):
        return image
    return stems.find(str(name), where=path, beside=beside)


def _row(root: Path, image: str, features: Sequence[dict[str, Any]], ids: dict[str, int], path: Path) -> Row:
    if features and all(_kind(feature) not in _AREAS for feature in features):  # points and lines say nothing of pixels
        return Row(image, part=part_of(image))
    return drawn_row(
        root, image, lambda size: list(_regions(features, size, path)), ids, where=str(path), part=part_of(image)
    )


def _regions(features: Sequence[dict[str, Any]], size: Size, path: Path) -> Iterator[Region]:
    """Yield the pieces of objects, annotations below detections and cells, as QuPath shows them."""
    order = sorted(enumerate(features, 1), key=lambda pair: _properties(pair[1]).get("objectType") != "annotation")
    for number, feature in order:
        where, geometry = f"{path}, feature {number}", feature.get("geometry") or {}
        coordinates, name = geometry.get("coordinates"), _name(feature)
        if _kind(feature) not in _AREAS:
            continue
        for rings in [coordinates] if _kind(feature) == "Polygon" else _listed(coordinates, where):
            drawn = _draw(rings, size, where)
            yield Region(name, drawn, number, ignored=name == IGNORED)


def _listed(coordinates: Any, where: str) -> list[Any]:
    if not isinstance(coordinates, list):
        raise _no_rings(coordinates, where)
    return coordinates


def _no_rings(got: Any, where: str) -> DataError:
    next_move = "export the objects from QuPath again"
    return DataError(problem("rings of coordinates", repr(got)[:60], where=where, next_move=next_move))


def _draw(rings: Any, size: Size, where: str) -> Drawn:
    """Return the pixels whose centres lie in the first ring and in none of the others."""
    try:
        outlines = [to_points([tuple(corner[:2]) for corner in ring], where=where) for ring in rings]
    except (TypeError, IndexError):
        outlines = []
    if not outlines:
        raise _no_rings(rings, where)
    for outline in outlines:
        check_corners(outline[:-1] if len(outline) > 1 and (outline[0] == outline[-1]).all() else outline, where=where)
    drawn = coco_polygon(check_inside(outlines[0], size, where=where), size)
    for hole in outlines[1:]:
        drawn = without(drawn, coco_polygon(hole, size))
    return drawn


def _kind(feature: dict[str, Any]) -> str:
    return str((feature.get("geometry") or {}).get("type"))


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties")
    return found if isinstance(found, dict) else {}


def _classification(feature: dict[str, Any]) -> dict[str, Any]:
    found = _properties(feature).get("classification")
    return found if isinstance(found, dict) else {}


def _name(feature: dict[str, Any]) -> str:
    """Return the class, derived ones as QuPath writes them: `Tumor: Positive`."""
    found = _classification(feature)
    names = found.get("names")
    derived = ": ".join(map(str, names)) if isinstance(names, list) else ""
    return str(found.get("name") or derived or UNCLASSIFIED)


def _color(feature: dict[str, Any]) -> tuple[int, int, int] | None:
    """Return the colour of the class: a list of three, or a signed number in older exports."""
    found = _classification(feature)
    if (listed := rgb_of(found.get("color"))) is not None:
        return listed
    packed = found.get("colorRGB")
    return (packed >> 16 & 255, packed >> 8 & 255, packed & 255) if isinstance(packed, int) else None

"""Panoptic maps as files that others read: COCO panoptic, and the ids of Cityscapes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.artifacts import RunFolder, atomic, is_run, plain
from maskwright.data.formats.coco_panoptic import SegmentFile, category_table, colors_of, read_segments
from maskwright.data.formats.streets import CITYSCAPES
from maskwright.data.images import read_ids
from maskwright.data.written import write_array
from maskwright.errors import DataError, UsageError, problem
from maskwright.metrics.segments import Segments
from maskwright.panoptic.map import PanopticMap
from maskwright.progress import track
from maskwright.types import Categories

PANOPTIC = "panoptic"
"""What the JSON file and the folder are called."""
_MOST = 1000
"""Objects of one category that Cityscapes' ids can tell apart."""


def write_coco_panoptic(
    out: Path, maps: Iterable[tuple[str, PanopticMap]], categories: Categories, *, name: str = PANOPTIC
) -> Path:
    """Write NAME.json and a PNG an image in NAME/, as panopticapi reads predictions; return the JSON file.

    A segment's number is its id in the map, so that void alone is 0. Scores stand beside, as `score`, where there are
    any. Images are listed by their position, from 1 on, and their name.

    Args:
        out: folder.
        maps: (name without suffix, map); one is in memory at a time.
        categories: what positions mean.
        name: of the JSON file and the folder.
    """
    noted = [(image, annotation_of(out / name, image, panoptic, categories)) for image, panoptic in maps]
    write_tree(out / f"{name}.json", noted, categories)
    return out / f"{name}.json"


def annotation_of(folder: Path, image: str, panoptic: PanopticMap, categories: Categories) -> dict[str, Any]:
    """Write the PNG of one map and return what the JSON file says of it: file_name, height, width and segments_info.

    Args:
        folder: of the PNGs.
        image: its name without suffix.
        panoptic: the map.
        categories: what positions mean.
    """
    height, width = panoptic.ids.shape
    path = write_array(folder / f"{image}.png", colors_of(panoptic.ids)).relative_to(folder)
    segments = _segments(panoptic, categories)
    return {"file_name": path.as_posix(), "height": height, "width": width, "segments_info": segments}


def write_tree(path: Path, noted: Iterable[tuple[str, dict[str, Any]]], categories: Categories) -> None:
    """Write the JSON file of maps whose PNGs are written, a line an image, of which one is in memory at a time.

    Args:
        path: of the file.
        noted: (name, what `annotation_of` returned), in the order of their numbers; gone through twice.
        categories: what positions mean.
    """
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"images": [')
        for number, (image, entry) in enumerate(noted, 1):
            size = {"height": entry["height"], "width": entry["width"]}
            _write_item(file, number, {"id": number, "file_name": f"{image}.png", **size})
        file.write('],\n"annotations": [')
        for number, (_, entry) in enumerate(noted, 1):
            kept = {key: entry[key] for key in ("file_name", "segments_info")}
            _write_item(file, number, {"image_id": number, **kept})
        file.write('],\n"categories": ')
        file.write(json.dumps(plain(category_table(categories)), ensure_ascii=False) + "}\n")


def _write_item(file: TextIO, number: int, item: dict[str, Any]) -> None:
    file.write("\n" if number == 1 else ",\n")
    file.write(json.dumps(plain(item), allow_nan=False, ensure_ascii=False))


def read_coco_panoptic(path: Path) -> tuple[Categories, list[str], Iterator[tuple[str, PanopticMap]]]:
    """Return the categories, the names and the maps of a COCO panoptic file; one map is in memory at a time.

    Numbers become 1..K in their order; pixels whose number isn't listed are void, and what has no pixel is left out.

    Raises:
        DataError: as `data.formats.coco_panoptic.read_segments`.
    """
    found, files = read_segments(path)
    categories = Categories(found)
    named = {_name_in(path, file.path): file for file in files.values()}
    return categories, list(named), ((name, _map_of(file, categories)) for name, file in named.items())


def _name_in(path: Path, file: Path) -> str:
    folder = path.with_suffix("")
    return file.relative_to(folder if file.is_relative_to(folder) else path.parent).with_suffix("").as_posix()


def _map_of(file: SegmentFile, categories: Categories) -> PanopticMap:
    numbers = read_ids(file.path).astype(np.int64)
    there = set(np.unique(numbers).tolist())
    listed = sorted((one for one in file.listed if one["id"] in there), key=lambda one: int(one["id"]))
    known = np.array([one["id"] for one in listed], np.int64)
    places = np.searchsorted(known, numbers)
    ids = np.where(np.isin(numbers, known), places + 1, 0).astype(np.int32)
    positions = {category.id: position for position, category in enumerate(categories.items)}
    scores = [float(one.get("score", np.nan)) for one in listed]
    segments = Segments.of(
        np.arange(1, len(listed) + 1), [positions[one["category_id"]] for one in listed], scores=scores
    )
    return PanopticMap(ids, segments)


def submit_cityscapes(prediction: Path, out: Path) -> int:
    """Write the Cityscapes ids of predicted panoptic maps into a folder; return the number of images.

    Args:
        prediction: a run folder, a folder that `predict` wrote, or a COCO panoptic file.
        out: folder that must not exist yet.

    Raises:
        UsageError: the folder stands already.
        DataError: no such file, or as `cityscapes_ids`.
    """
    if out.exists():
        next_move = "give another name; nothing is overwritten"
        raise UsageError(problem("a new folder", "one that stands already", where=str(out), next_move=next_move))
    place = RunFolder(prediction).predictions if is_run(prediction) else prediction
    path = place if place.suffix.lower() == ".json" else place / f"{PANOPTIC}.json"
    categories, names, maps = read_coco_panoptic(path)
    write_cityscapes(out, track(maps, "submit", len(names)), categories)
    return len(names)


def cityscapes_ids(
    panoptic: PanopticMap, categories: Categories, *, where: str = "cityscapes_ids"
) -> npt.NDArray[np.uint16]:
    """Return the (H, W) uint16 ids of Cityscapes: label id × 1000 + a number from 0 on for things, else the label id.

    Void is 0, Cityscapes' "unlabeled". Numbers of a category follow the ids of the map.

    Args:
        panoptic: the map.
        categories: what positions mean; their names are Cityscapes', whatever their ids.
        where: the image's name, for error messages.

    Raises:
        DataError: a category in the map that Cityscapes hasn't, or more than 1000 instances of one.
    """
    segments = panoptic.segments
    found = [categories.items[p] for p in np.unique(segments.categories)]
    if unknown := [category.name for category in found if category.name not in CITYSCAPES]:
        raise DataError(
            problem(
                "categories by the names of Cityscapes, such as car or road",
                ", ".join(unknown),
                where=where,
                next_move="rename them, or write COCO panoptic",
            )
        )
    table = np.zeros(len(segments) + 1, np.uint16)
    for position in np.unique(segments.categories):
        category, own = categories.items[position], segments.ids[segments.categories == position]
        label = CITYSCAPES[category.name][0]
        if not category.isthing:
            table[own] = label
        elif len(own) <= _MOST:
            table[own] = label * 1000 + np.arange(len(own))
        else:
            raise DataError(
                problem(
                    f"at most {_MOST} instances of a category, which is what Cityscapes' ids can tell apart",
                    f"{len(own)} of {category.name}",
                    where=where,
                    next_move="raise the score threshold or the smallest area, or write COCO panoptic",
                )
            )
    return table[panoptic.ids]


def write_cityscapes(out: Path, maps: Iterable[tuple[str, PanopticMap]], categories: Categories) -> None:
    """Write NAME_instanceIds.png of each map, 16 bits, as cityscapesScripts has the truth.

    Raises:
        DataError: as `cityscapes_ids`.
    """
    for image, panoptic in maps:
        write_array(out / f"{image}_instanceIds.png", cityscapes_ids(panoptic, categories, where=image))


def _segments(panoptic: PanopticMap, categories: Categories) -> list[dict[str, Any]]:
    areas = np.bincount(panoptic.ids.ravel(), minlength=len(panoptic.segments) + 1)
    listed = []
    for row, (top, left, height, width) in enumerate(_boxes(panoptic)):
        category, score = categories.items[panoptic.segments.categories[row]], float(panoptic.segments.scores[row])
        listed.append(
            {
                "id": row + 1,
                "category_id": category.id,
                "iscrowd": 0,
                "area": int(areas[row + 1]),
                "bbox": [left, top, width, height],
                **({} if np.isnan(score) else {"score": score}),
            }
        )
    return listed


def _boxes(panoptic: PanopticMap) -> list[tuple[int, int, int, int]]:
    """Return top, left, height and width of each segment, in the order of ids."""
    return [
        (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
        for rows, columns in ndimage.find_objects(panoptic.ids)
    ]

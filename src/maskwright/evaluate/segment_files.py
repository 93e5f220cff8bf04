"""Files of segments as pairs to be measured: COCO panoptic files with their PNGs, and folders of instance ids."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.data.formats.coco_panoptic import SegmentFile, read_segments
from maskwright.data.formats.files import name_of
from maskwright.data.formats.peek import files_of
from maskwright.data.images import read_ids
from maskwright.data.kind import OBJECT
from maskwright.errors import DataError, problem
from maskwright.evaluate.label_files import LabelPair
from maskwright.evaluate.measure import Measured
from maskwright.evaluate.segments import SegmentMap, Zero, measure_segments
from maskwright.metrics import Segments
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category

SIDECAR = "segments.csv"
_COUNTED = 1 << 24
"""Ids below which those that are there are counted in a table; larger ones are sorted."""
_GRAY, _MANY, _FEWEST = 1 << 16, 256, 3
"""So many numbers and more, some beyond 16 bits, with fewer pixels each than this, on the average, are colours."""
_FLAGS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class SegmentPair:
    """The two id files of an image and what their ids are.

    Attributes:
        name: of the image.
        prediction: path of the predicted ids.
        truth: path of the true ids.
        found: of the predicted ids, or None: each id in the file is an object of the one category.
        true: the same for the truth.
        ignore: ids of the truth whose pixels don't count.
        zero: what 0 means.
    """

    name: str
    prediction: Path
    truth: Path
    found: Listed | None = None
    true: Listed | None = None
    ignore: tuple[int, ...] = ()
    zero: Zero = "void"


@dataclass(frozen=True)
class Listed:
    """What an annotation says of the ids of one image: the segments, and the areas that it states."""

    segments: Segments
    areas: Mapping[int, int]


def panoptic_files(prediction: Path, truth: Path, *, partial: bool) -> tuple[tuple[Category, ...], list[SegmentPair]]:
    """Return the categories of the truth and the pairs of two COCO panoptic files.

    Where any predicted thing has a score, stuff needs none.

    Args:
        prediction: JSON file, or a folder that holds one.
        truth: the same.
        partial: leave out images without prediction instead of refusing.

    Raises:
        DataError: not one such file each, files that are not consistent, categories that differ, or no prediction.
    """
    where, against = _json_file(truth), _json_file(prediction)
    categories, true = read_segments(where)
    _, found = read_segments(against, categories)
    missing = [str(one.path.stem) for number, one in true.items() if number not in found]
    if not true or len(missing) == len(true) or (missing and not partial):
        raise DataError(
            problem(
                f"segments for each of the {len(true)} images of {where}",
                f"none for {len(missing)}: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}",
                where=str(against),
                next_move="images are matched by image_id; --partial scores those that have a prediction",
            )
        )
    positions, stuff = {c.id: place for place, c in enumerate(categories)}, {c.id for c in categories if not c.isthing}
    ranked = any(
        row.get("score") is not None and row["category_id"] not in stuff for one in found.values() for row in one.listed
    )
    sure = stuff if ranked else set[int]()
    return categories, [
        SegmentPair(
            one.path.stem,
            found[number].path,
            one.path,
            _listed(found[number], positions, sure),
            _listed(one, positions),
        )
        for number, one in true.items()
        if number in found
    ]


def has_panoptic_file(place: Path) -> bool:
    """Tell whether a path is a COCO panoptic file, or a folder that holds any; never raises."""
    return place.suffix.lower() == ".json" or (place.is_dir() and bool(files_of(place, "coco_panoptic")))


def instance_pairs(
    pairs: Sequence[LabelPair], prediction: Path, truth: Path, *, ignore: Collection[int]
) -> tuple[tuple[Category, ...], list[SegmentPair]]:
    """Return the categories and the pairs of two folders of instance ids, 0 the background.

    A `segments.csv` in a folder lists its segments: columns name and id, and any of category, score and crowd. Without
    it, each id is an object of one category and has no score.

    Args:
        pairs: of files.
        prediction: the folder of the predicted ids.
        truth: that of the true ones.
        ignore: ids of the truth whose pixels don't count.

    Raises:
        DataError: a table that can't be read or lacks though there are several categories, or categories of the
            prediction that the truth hasn't.
    """
    true, found = (_sidecar(folder / SIDECAR) for folder in (truth, prediction))
    names = sorted({row.category for rows in (true or {}).values() for row in rows}) or [OBJECT]
    if len(names) > 1 and found is None:
        raise DataError(
            problem(
                f"{SIDECAR} beside the predictions, which says what each id is: {', '.join(names)}",
                "none",
                where=str(prediction),
                next_move="write one, or score objects of one category by leaving that of the truth out",
            )
        )
    others = sorted({row.category for rows in (found or {}).values() for row in rows} - set(names))
    if others:
        raise DataError(
            problem(
                f"the truth's categories: {', '.join(names)}",
                ", ".join(others),
                where=str(prediction / SIDECAR),
                next_move="name them as in the truth's own table"
                if true
                else f"say in a {SIDECAR} beside the truth what each of its ids is: columns name, id and category",
            )
        )
    position = {name: place for place, name in enumerate(names, 1)}
    categories = (Category(0, "background"), *(Category(p, name, isthing=True) for name, p in position.items()))
    return categories, [
        SegmentPair(
            pair.name,
            pair.prediction,
            pair.truth,
            None if found is None else _from_rows(found.get(pair.name, []), position, pair.name),
            None if true is None else _from_rows(true.get(pair.name, []), position, pair.name, ignore),
            tuple(ignore),
            "background",
        )
        for pair in pairs
    ]


def measured_pair(pair: SegmentPair, *, categories: Categories, spec: EvaluateSpec) -> Measured:
    """Read a pair and measure it.

    Raises:
        DataError: files that can't be read, sizes that differ, or ids that disagree with what is listed.
    """
    true, found = _read(pair.truth, pair.true, skip=pair.ignore), _read(pair.prediction, pair.found)
    size, other = true.ids.shape, found.ids.shape
    if size != other:
        raise DataError(
            problem(
                f"a prediction of the truth's size {size[1]}×{size[0]}",
                f"{other[1]}×{other[0]}",
                where=f"{pair.prediction} against {pair.truth}",
                next_move="scale the prediction back to the image's own size (nearest neighbour)",
            )
        )
    void = np.isin(true.ids, pair.ignore) if pair.ignore else None
    return measure_segments(true, found, categories, spec, zero=pair.zero, void=void, where=pair.name)


def _read(path: Path, listed: Listed | None, *, skip: tuple[int, ...] = ()) -> SegmentMap:
    ids = read_ids(path)
    if listed is not None:
        return SegmentMap(ids, listed.segments, listed.areas)
    if ids.size and ids.min() >= 0 and ids.max() < _COUNTED:
        present = np.flatnonzero(np.bincount(ids.ravel()))
    else:
        present = np.unique(ids)
    numbers = np.setdiff1d(present, (0, *skip))
    if len(numbers) >= max(_MANY, np.count_nonzero(ids) / _FEWEST) and numbers[-1] >= _GRAY:
        raise DataError(
            problem(
                "ids of objects",
                f"{len(numbers)} colours, hardly a pixel each, as in a photograph",
                where=str(path),
                next_move="give the folder of the instance maps: predictions first, then the truth",
            )
        )
    return SegmentMap(ids, Segments.of(numbers, 1, where=str(path)))


def _json_file(place: Path) -> Path:
    """Return a JSON file, or the only COCO panoptic one in a folder."""
    if place.suffix.lower() == ".json" and place.is_file():
        return place
    found = files_of(place, "coco_panoptic") if place.is_dir() else []
    if len(found) == 1:
        return found[0]
    layers = [folder for folder in ("masks", "instances") if (place / folder).is_dir()]
    alone = f"none, and {layers[0]}/ without {'instances' if layers[0] == 'masks' else 'masks'}/" if layers else "none"
    raise DataError(
        problem(
            "one JSON file with segments_info, or masks/ and instances/ in both folders",
            ", ".join(path.name for path in found[:5]) or ("none" if len(layers) == 2 else alone),
            where=str(place),
            next_move="give the path of the file itself; a data folder with masks/ and instances/ becomes one by "
            "`maskwright convert FOLDER OUT --to coco_panoptic`",
        )
    )


def _listed(file: SegmentFile, positions: Mapping[int, int], sure: Collection[int] = ()) -> Listed:
    """Return what a file says of an image; categories that are `sure` have a score of 1, which AP doesn't read."""
    rows = [row | {"score": 1.0} if row["category_id"] in sure else row for row in file.listed]
    segments = Segments.of(
        [row["id"] for row in rows],
        [positions[row["category_id"]] for row in rows],
        crowd=[bool(row.get("iscrowd")) for row in rows],
        scores=[_score(row.get("score"), file.path) for row in rows],
        where=str(file.path),
    )
    return Listed(segments, {row["id"]: row["area"] for row in rows if isinstance(row.get("area"), int)})


@dataclass(frozen=True)
class _Row:
    number: int
    category: str
    score: float
    crowd: bool


def _sidecar(path: Path) -> dict[str, list[_Row]] | None:
    """Return {image's name: segments} of a segments.csv, None if there is none."""
    if not path.is_file():
        return None
    found: dict[str, list[_Row]] = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                crowd = (row.get("crowd") or "0").strip().lower()
                if crowd not in _FLAGS:
                    raise ValueError(f"crowd {crowd!r} is neither 0 nor 1")
                item = _Row(
                    int(row["id"]), row.get("category") or OBJECT, _score(row.get("score"), path), _FLAGS[crowd]
                )
                found.setdefault(name_of(f"images/{row['name']}"), []).append(item)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(
                problem(
                    "columns name and id, and any of category, score and crowd",
                    f"{type(error).__name__}: {error}",
                    where=f"{path}, line {reader.line_num}",
                    next_move="one row a segment: the file's name without suffix, its id in the file, …",
                )
            ) from None
    return found


def _from_rows(rows: Sequence[_Row], position: Mapping[str, int], name: str, ignore: Collection[int] = ()) -> Listed:
    kept = [row for row in rows if row.number not in ignore]
    segments = Segments.of(
        [row.number for row in kept],
        [position[row.category] for row in kept],
        crowd=[row.crowd for row in kept],
        scores=[row.score for row in kept],
        where=name,
    )
    return Listed(segments, {})


def _score(stated: object, where: Path) -> float:
    """Return a confidence, NaN where none is stated."""
    if stated is None or stated == "":
        return float("nan")
    try:
        score = float(str(stated))
    except ValueError:
        score = float("inf")
    if np.isfinite(score):
        return score
    raise DataError(
        problem("a number as score", repr(stated), where=str(where), next_move="state a finite score, or none at all")
    )

"""Fold files: CSV tables with names and folds or parts, and nnU-Net's splits_final.json."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl

from maskwright.artifacts import write_json, write_table
from maskwright.data.formats.files import name_of, read_json_file
from maskwright.data.images import SUFFIXES
from maskwright.errors import DataError, UsageError, problem
from maskwright.split.groups import HELD_OUT, POOL, TRAINING, Stated

_NAMES, _FOLDS, _PARTS = ("image", "name", "case", "file"), ("fold",), ("part", "split", "subset", "set")
_GROUPS = ("group",)
_WORDS = {
    **dict.fromkeys(("train", "training"), TRAINING),
    **dict.fromkeys(("val", "valid", "validation", "test", "testing", "held_out", "held out", "holdout"), HELD_OUT),
    **dict.fromkeys(("pool", "unlabeled", "unlabelled", ""), POOL),
}
_CHANNEL = "_0000"
_LISTED = 12


class _Row(NamedTuple):
    """A line of a fold file: `fold` as it calls it, or None and `place`; neither: validated nowhere."""

    name: str
    fold: int | None
    place: int | None
    group: str | None = None


def read_stated(
    path: str | Path,
    labelled: Sequence[str],
    known: Sequence[str] = (),
    *,
    unlisted: str = "stop",
    twins: Mapping[str, str] | None = None,
) -> Stated:
    """Read a fold file against the images of an index.

    Args:
        path: a CSV table with a column image (or name), and fold (a number, -1: held out, empty: in the pool) or part
            (train, val, test …); its column group joins those of the index. Or a JSON list of {train, val} as nnU-Net
            writes it: of several, fold k is the val of the k-th; of one, val is held out.
        labelled: images with a usable label.
        known: all images of the folder, those that the audit dropped, too; rows of images without a usable label are
            counted and passed over.
        unlisted: what becomes of labelled images that have no place in the file: stop, pool or hold_out.
        twins: images that have the mask of another one, of which they are a copy: without a place of their own they go
            where that goes.

    Returns:
        The places; folds are numbered from 0 in the order of their numbers in the file.

    Raises:
        DataError: the file can't be read, names images that aren't there, names one twice or in words that mean
            nothing here, or leaves labelled images out; all of them are named.
    """
    path = Path(path)
    rows = _rows_of(path)
    found = _matched(rows, [*labelled, *known], path)
    usable = {*labelled}
    places = {image: row.place for image, row in found.items() if image in usable and row.place is not None}
    folds = {image: row.fold for image, row in found.items() if image in usable and row.fold is not None}
    labels = sorted({*folds.values()})
    if labels and TRAINING in places.values():
        raise _wrong("either folds or parts", "rows with a fold beside rows that only say train", path)
    places |= {image: labels.index(fold) for image, fold in folds.items()}
    of_twins = {image: places[twin] for image, twin in (twins or {}).items() if twin in places}
    places = {image: place for image, place in of_twins.items() if image in usable} | places
    if missing := [image for image in labelled if image not in places]:
        if unlisted == "stop":
            raise DataError(
                problem(
                    f"a place for each of {len(labelled)} labelled images",
                    f"none for {len(missing)}: {_listed(missing)}",
                    where=f"{path} (in no row, or in a list of nnU-Net in no val)",
                    next_move="complete the file, or say what becomes of them with --set split.unlisted=pool (learned "
                    "from as unlabelled images are) or split.unlisted=hold_out",
                )
            )
        places |= dict.fromkeys(missing, POOL if unlisted == "pool" else HELD_OUT)
    if not any(place not in (HELD_OUT, POOL) for place in places.values()):
        raise _wrong("images to train on", "none", path)
    groups = {image: row.group for image, row in found.items() if row.group and image in usable}
    ordered = {image: places[image] for image in labelled}
    return Stated(ordered, groups, tuple(map(str, labels)), len(found.keys() - usable))


def read_previous(path: str | Path, labelled: Sequence[str]) -> Stated:
    """Read a folds.csv of an earlier cut: images that are gone are passed over, new ones have no place."""
    path = Path(path)
    usable = {*labelled}
    rows = {row.name: row for row in _rows_of(path)}
    places = {n: row.place if row.fold is None else row.fold for n, row in rows.items() if n in usable}
    if not places:
        raise _wrong("a folds.csv with images of this folder", "none of them", path)
    return Stated({image: place for image, place in places.items() if place is not None and place != TRAINING})


def write_folds(path: str | Path, table: pl.DataFrame) -> None:
    """Write folds as CSV, or as nnU-Net's list where the name ends in .json; `read_stated` reads both.

    nnU-Net's list has a {train, val} for each fold, of names without folder `images/` and suffix; it has no place for
    held-out images. Of one fold, val is the held-out part.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".json"):
        raise UsageError(
            problem("a name that ends in .csv or .json", str(path), where="--write", next_move="rename it")
        )
    if path.suffix == ".csv":
        write_table(path, table)
    else:
        write_json(path, to_splits_final(table))


def to_splits_final(table: pl.DataFrame) -> list[dict[str, list[str]]]:
    """Return folds as nnU-Net lists them.

    Example:
        >>> to_splits_final(pl.DataFrame({"image": ["images/a.png", "images/b.png"], "fold": [0, 1]}))
        [{'train': ['b'], 'val': ['a']}, {'train': ['a'], 'val': ['b']}]
    """
    names = {place: [_case(image) for image in rows] for place, rows in _images_by_fold(table).items()}
    held, folds = names.pop(HELD_OUT, []), sorted(names)
    if len(folds) == 1:
        return [{"train": sorted(names[folds[0]]), "val": sorted(held)}]
    others = {k: sorted(name for j in folds if j != k for name in names[j]) for k in folds}
    return [{"train": others[k], "val": sorted(names[k])} for k in folds]


def _images_by_fold(table: pl.DataFrame) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for image, fold in table.select("image", "fold").drop_nulls("fold").iter_rows():
        found.setdefault(fold, []).append(image)
    return found


def _case(image: str) -> str:
    return name_of(image).removesuffix(_CHANNEL)


def _rows_of(path: Path) -> list[_Row]:
    if not path.is_file():
        raise _wrong("a fold file", "nothing", path)
    return _rows_of_json(path) if path.suffix.lower() == ".json" else _rows_of_table(path)


def _rows_of_table(path: Path) -> list[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        separator = next((mark for mark in ",;\t" if lines and mark in lines[0]), ",")
        table = list(csv.reader(lines, delimiter=separator))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _wrong("a CSV table", str(error).splitlines()[0], path) from None
    header = [column.strip().lower() for column in table[0]] if table else []
    name, fold, part, group = (_first(header, of) for of in (_NAMES, _FOLDS, _PARTS, _GROUPS))
    if name is None or (fold is None and part is None):
        got = f"columns {', '.join(header) or '(none)'}"
        raise _wrong("columns image (or name), and fold or part", got, path)
    rows = [row for row in table[1:] if row]
    if short := [",".join(row) for row in rows if len(row) < len(header)]:
        raise _wrong(f"{len(header)} columns in every row", f"fewer: {_listed(short)}", path)
    columns = (name, fold, part, group)
    return [_row(path, *("" if k is None else row[k].strip() for k in columns)) for row in rows]


def _first(header: Sequence[str], names: Iterable[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _row(path: Path, name: str, fold: str, part: str, group: str) -> _Row:
    """Return a row; where both are there, a part may only repeat what the fold says."""
    numbers = [_number(text) for text in (fold, part)]
    places = [_WORDS.get(text.lower()) for text in (fold, part)]
    if any(number is None and place is None for number, place in zip(numbers, places, strict=True)):
        got = f"{fold or part} of {name}"
        raise _wrong("a number, or train, val, test, held_out, pool", got, path)
    number, place = (numbers[1], places[1]) if not fold else (numbers[0], places[0])
    if number not in (None, HELD_OUT) and fold and part and places[1] == HELD_OUT:
        raise _wrong("one place for each image", f"fold {fold} and part {part} of {name}", path)
    return _Row(name, None, HELD_OUT, group) if number == HELD_OUT else _Row(name, number, place, group)


def _number(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value == int(value) and value >= HELD_OUT else None


def _rows_of_json(path: Path) -> list[_Row]:
    lists = read_json_file(path)
    if not _is_nnunet(lists):
        raise _wrong('a list of {"train": [names], "val": [names]}', json.dumps(lists)[:80], path)
    if len(lists) == 1:
        sides = {"train": TRAINING, "val": HELD_OUT}
        return [_Row(name, None, place) for side, place in sides.items() for name in lists[0][side]]
    fold = {name: k for k, sides in enumerate(lists) for name in sides["val"]}
    everyone = {name: None for sides in lists for name in sides["train"]} | fold
    if len(fold) < sum(len(sides["val"]) for sides in lists):
        twice = [name for k, sides in enumerate(lists) for name in sides["val"] if fold[name] != k]
        raise _wrong("each image in the val of one fold", f"several for {_listed(twice)}", path)
    for k, sides in enumerate(lists):
        wanted = {name for name, place in everyone.items() if place != k}
        if odd := sorted(wanted ^ {*sides["train"]}):
            raise _wrong(
                "folds that train on all that the others validate", f"others in fold {k}: {_listed(odd)}", path
            )
    return [_Row(name, place, None) for name, place in everyone.items()]


def _is_nnunet(lists: Any) -> bool:
    return bool(isinstance(lists, list) and lists) and all(
        isinstance(sides, dict)
        and all(
            isinstance(sides.get(side), list) and all(isinstance(n, str) for n in sides[side])
            for side in ("train", "val")
        )
        for sides in lists
    )


def _matched(rows: Sequence[_Row], images: Sequence[str], path: Path) -> dict[str, _Row]:
    """Return image → its row; names match with or without suffix, folder and nnU-Net's channel number."""
    exact, loose = {_plain(image): image for image in images}, dict[str, set[str]]()
    for image in {*images}:
        for key in _readings(_plain(image)):
            loose.setdefault(key, set()).add(image)
    found, unknown, unclear = dict[str, _Row](), list[str](), list[str]()
    for row in rows:
        name = _plain(row.name)
        options = (
            {exact[name]}
            if name in exact
            else next((loose[key] for key in _readings(name) if key in loose), set[str]())
        )
        if len(options) != 1:
            (unclear if options else unknown).append(row.name)
            continue
        (image,) = options
        if image in found and found[image] != row:
            unclear.append(row.name)
        found[image] = row
    if unknown:
        raise _wrong("names of images of the folder", f"{len(unknown)} that it has not: {_listed(unknown)}", path)
    if unclear:
        got = f"{len(unclear)} names that fit several images or rows: {_listed(unclear)}"
        raise _wrong("one image for each row and one row for each image", got, path)
    return found


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))


def _readings(name: str) -> list[str]:
    """Return what a name may be matched by, the most exact first."""
    inner = name.removeprefix("images/")
    bare = [_without_suffix(inner), _without_suffix(PurePosixPath(name).name)]
    return list(dict.fromkeys([name, inner, *bare, *(text.removesuffix(_CHANNEL) for text in bare)]))


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _wrong(expected: str, got: str, path: Path) -> DataError:
    return DataError(problem(expected, got, where=str(path), next_move="mend the file, or leave split.file null"))

"""images/ with masks/ (semantic) and/or instances/ (ids), same names; unlabeled/; meta.csv; classes.json."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import write_json, write_table
from maskwright.data.formats.files import find_images, match_name, name_of
from maskwright.data.formats.rows import Records, Row, Source
from maskwright.data.images import SUFFIXES
from maskwright.data.written import place_image, write_array
from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Category

READS = ("images", "masks", "instances", "unlabeled", "meta.csv", "classes.json")


def recognise(root: Path) -> bool:
    """Tell whether the folder has images/ beside masks/ or instances/."""
    return (root / "images").is_dir() and ((root / "masks").is_dir() or (root / "instances").is_dir())


def write(root: Path, records: Records) -> None:
    """Write records as images/, masks/ and instances/ (ids), unlabeled/, meta.csv and classes.json."""
    top = IGNORE if max(records.categories.ids) < IGNORE else 65535
    table = np.full(256, top, np.int32)
    table[: len(records.categories)] = records.categories.ids
    meta: list[dict[str, str]] = []
    for record in records:
        bare = record.label is None and record.instances is None
        folder = "unlabeled" if bare else "images"
        name = record.name.removeprefix("unlabeled/") if bare else record.name
        place_image(root / folder, name, record.image)
        if record.label is not None:
            write_array(root / "masks" / f"{name}.png", table[record.label])
        if record.instances is not None:
            write_array(root / "instances" / f"{name}.png", record.instances)
        meta += [{"name": "", **record.meta} | {"name": name_of(f"{folder}/{name}.png")}] if record.meta else []
    categories = [
        {"id": c.id, "name": c.name, "color": list(c.color), "isthing": c.isthing} for c in records.categories.items
    ]
    write_json(root / "classes.json", {"categories": categories, "ignore": top})
    if meta:
        columns = {key: None for row in meta for key in row}
        write_table(root / "meta.csv", pl.DataFrame(meta, schema=dict.fromkeys(columns, pl.String)))


def has_images(root: Path) -> bool:
    """Tell whether the folder has images/ or unlabeled/, all that is needed where no other layout fits."""
    return (root / "images").is_dir() or (root / "unlabeled").is_dir()


def read(root: Path) -> Source:
    """Return the rows of a folder.

    Raises:
        DataError: two files claim the same name, there is no image, or classes.json or meta.csv can't be read.
    """
    images = _by_name(root, "images")
    masks, instances = _by_name(root, "masks"), _by_name(root, "instances")
    meta = _read_meta(root / "meta.csv")
    rows = [
        Row(path, masks.get(name), instances.get(name), _part(name), _meta_of(meta, name))
        for name, path in sorted(images.items())
    ]
    rows += [
        Row(path, None, None, "unlabeled", _meta_of(meta, name))
        for name, path in sorted(_by_name(root, "unlabeled").items())
    ]
    if not rows:
        raise DataError(
            problem(
                f"images ({', '.join(SUFFIXES)})",
                "none",
                where=f"{root}/images",
                next_move="put the images there, or convert them to one of these types",
            )
        )
    leftovers = [path for table in (masks, instances) for name, path in sorted(table.items()) if name not in images]
    categories, ignore = read_classes(root / "classes.json")
    return Source("folder", rows, categories, ignore, leftovers)


def read_classes(path: Path) -> tuple[tuple[Category, ...] | None, tuple[int | str, ...]]:
    """Return (categories, ignored values) of a classes.json, (None, ()) if there is none.

    Raises:
        DataError: it can't be read.
    """
    if not path.is_file():
        return None, ()
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        if "categories" in tree:
            ignore = tree.get("ignore", ())
            listed = ignore if isinstance(ignore, list) else [ignore] if ignore != () else []
            return tuple(_category(item) for item in tree["categories"]), tuple(listed)
        return tuple(_short(key, name) for key, name in tree.items()), ()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            problem(
                '{"0": "sky", …} or {"categories": [{"id": 0, "name": "sky"}], "ignore": 255}',
                f"{type(error).__name__}: {error}",
                where=str(path),
                next_move="mend the file, or remove it: the categories are then taken from the masks",
            )
        ) from None


def _by_name(root: Path, folder: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for file in find_images(root / folder):
        path = file.relative_to(root).as_posix()
        name = match_name(file.relative_to(root / folder))
        if name in table:
            raise DataError(
                problem(
                    "one file a name",
                    f"{table[name]} and {path}",
                    where=str(root),
                    next_move="rename or remove one of the two",
                )
            )
        table[name] = path
    return table


def _part(name: str) -> str | None:
    return name.split("/", 1)[0] if "/" in name else None


def _read_meta(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            problem("UTF-8 text", str(error), where=str(path), next_move="save the table as CSV UTF-8")
        ) from None
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        if "name" not in (reader.fieldnames or []):
            raise DataError(
                problem(
                    "a column called name",
                    f"columns {', '.join(reader.fieldnames or [])}",
                    where=str(path),
                    next_move="rename the column that holds the images' names",
                )
            )
        rows = list(reader)
    return {
        unicodedata.normalize("NFC", name_of(f"images/{row['name']}")): {
            k: v.strip() for k, v in row.items() if k and v is not None
        }
        for row in rows
    }


def _meta_of(meta: dict[str, dict[str, str]], name: str) -> dict[str, str]:
    return meta.get(name) or meta.get(name.rsplit("/", 1)[-1]) or {}


def _short(key: str, name: Any) -> Category:
    """Read `"3": "sky"`; a range such as `"1..N": "nucleus"` claims the values that no other entry has."""
    first, dots, last = key.partition("..")
    if not dots:
        return Category(int(key), str(name), values=(int(key),))
    claimed = tuple(range(int(first), int(last) + 1)) if last.isdigit() else "rest"
    return Category(int(first), str(name), values=claimed)  # type: ignore[arg-type]


def _category(item: dict[str, Any]) -> Category:
    number = int(item["id"])
    color = tuple(int(v) for v in item.get("color", (0, 0, 0)))
    values = item.get("values", (number,))
    return Category(
        number,
        str(item["name"]),
        (color[0], color[1], color[2]),
        bool(item.get("isthing", False)),
        "rest" if values == "rest" else tuple(values),
    )

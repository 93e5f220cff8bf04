"""What stands beside the images: names of categories and columns of a table, in the files that state them."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import write_json, write_table
from maskwright.data.formats.files import MALFORMED, name_of, read_json_file, whole_number
from maskwright.data.formats.streets import hex_color
from maskwright.errors import DataError, problem
from maskwright.types import Categories, Category

_TABLE = 65536
_FIELDS = ("id", "name", "color", "values", "isthing")
"""Of a category in classes.json; others, such as COCO's supercategory, are passed over."""


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
            return tuple(_category(item) for item in tree["categories"]), tuple(_value(entry) for entry in listed)
        return tuple(_short(key, name) for key, name in tree.items()), ()
    except (*MALFORMED, RecursionError) as error:
        raise DataError(
            problem(
                '{"0": "sky", …} or {"categories": [{"id": 0, "name": "sky"}], "ignore": 255}',
                f"{type(error).__name__}: {error}",
                where=str(path),
                next_move="mend the file, or remove it: the categories are then taken from the masks",
            )
        ) from None


def states_values(path: Path) -> bool:
    """Tell whether a classes.json says which mask values its categories have, other than by their ids.

    Its short form, and categories without a colour, say that values are ids.
    """
    listed = read_json_file(path).get("categories", ())
    return not listed or any("values" in item or "color" not in item for item in listed)


def write_classes(path: Path, categories: Categories, ignore: int, *, first: int | None = None) -> None:
    """Write a classes.json.

    Args:
        path: where to.
        categories: what the masks mean.
        ignore: the mask value of ignored pixels.
        first: the mask value of the first category where masks hold positions; None: they hold ids.
    """
    items = [
        {"id": c.id, "name": c.name, "color": list(c.color), "isthing": c.isthing}
        | ({} if first is None else {"values": [first + position]})
        for position, c in enumerate(categories.items)
    ]
    write_json(path, {"categories": items, "ignore": ignore})


def read_dataset_meta(path: Path) -> tuple[Category, ...] | None:
    """Return the categories of Datumaro's dataset_meta.json, None if there is none.

    Their mask values are the colours where it states some, else the keys of its `label_map`.

    Raises:
        DataError: it can't be read.
    """
    if not path.is_file():
        return None
    tree = read_json_file(path)
    try:
        colors = [(int(r), int(g), int(b)) for r, g, b in tree.get("segmentation_colors", ())]
        named = [(int(key), str(name)) for key, name in tree["label_map"].items()]
        return tuple(
            Category(key, name, colors[place], values=(hex_color(colors[place]),))
            if colors
            else Category(key, name, (0, 0, 0), values=(key,))
            for place, (key, name) in enumerate(named)
        )
    except MALFORMED as error:
        raise DataError(
            problem(
                '{"label_map": {"0": "sky"}, "segmentation_colors": [[r, g, b]]}',
                f"{type(error).__name__}: {error}",
                where=str(path),
                next_move="mend the file, or move it out of the folder",
            )
        ) from None


def read_meta(path: Path) -> dict[str, dict[str, str]]:
    """Return {image's name: {column: value}} of a meta.csv, {} if there is none.

    Raises:
        DataError: it is no UTF-8, or has no column called name.
    """
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


def write_meta(path: Path, rows: dict[str, dict[str, str]]) -> None:
    """Write {image's name: {column: value}} as a meta.csv, nothing where no image has a column."""
    found = [{**row, "name": name} for name, row in rows.items() if row]
    if found:
        columns = {"name": None} | {key: None for row in found for key in row}
        write_table(path, pl.DataFrame(found, schema=dict.fromkeys(columns, pl.String)))


def meta_of(meta: dict[str, dict[str, str]], name: str) -> dict[str, str]:
    """Return an image's columns: by its whole name, else by its last part."""
    return meta.get(name) or meta.get(name.rsplit("/", 1)[-1]) or {}


def named_group(name: str, pattern: str) -> str | None:
    """Return the group that a regular expression finds in an image's name: its first group, or all that it matches.

    Example:
        >>> named_group("train/p07_3", r"p[0-9]+"), named_group("p07_3", r"p([0-9]+)"), named_group("x", "p")
        ('p07', '07', None)
    """
    match = re.search(pattern, name)
    return None if match is None else match.group(1) if match.re.groups else match.group(0)


def _short(key: str, name: Any) -> Category:
    """Read `"3": "sky"`; a range such as `"1..N": "nucleus"` claims the values that no other entry has."""
    first, dots, last = key.partition("..")
    if not dots:
        return Category(int(key), str(name), values=(int(key),))
    highest = whole_number(last)
    if highest is not None and highest >= _TABLE:
        raise ValueError(f"{last} is no mask value")
    claimed = "rest" if highest is None else tuple(range(int(first), highest + 1))
    return Category(int(first), str(name), values=claimed)  # type: ignore[arg-type]


def _category(item: dict[str, Any]) -> Category:
    for key in item:
        near = difflib.get_close_matches(key.lower().replace("_", ""), _FIELDS, 1, 0.8)
        if near and near[0] not in item:  # name_en beside name is another field
            raise ValueError(f"{key!r} is no field of a category; did you mean {near[0]!r}?")
    if (isthing := item.get("isthing", False)) not in (True, False):
        raise ValueError(f"isthing of {item['name']} is {isthing!r}, neither true nor false")
    number = int(item["id"])
    red, green, blue = (int(v) for v in item.get("color", (0, 0, 0)))
    values = item.get("values", (number,))
    return Category(
        number,
        str(item["name"]),
        (red, green, blue),
        bool(isthing),
        "rest" if values == "rest" else tuple(_color_or_number(value) for value in values),
    )


def _color_or_number(value: Any) -> int | str:
    if type(value) is int or (isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value)):
        return value
    raise ValueError(f"{value!r} is no mask value")


def _value(entry: Any) -> int | str:
    """Return an ignored value as it is: a number, a colour, or the name of a category."""
    if type(entry) is not int and not isinstance(entry, str):
        raise TypeError(f"{entry!r} is no mask value and no name")
    return entry

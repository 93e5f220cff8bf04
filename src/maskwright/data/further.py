"""Data folders besides the main one (a synthetic twin, another camera): their rows, labels in the main's values."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskwright.artifacts import IMPORTED
from maskwright.data.categories import positions, read_label, recognise_categories
from maskwright.data.formats import Content, Row, Source, read_source
from maskwright.data.formats.files import name_of
from maskwright.data.images import COLOR, color_value, read_values
from maskwright.data.kind import with_objects
from maskwright.errors import DataError, problem
from maskwright.progress import track
from maskwright.recipe.data import DataSpec, FurtherSpec
from maskwright.types import IGNORE, Array, Categories, Category, LabelMap


def further_rows(spec: DataSpec, categories: Categories) -> tuple[list[Row], list[str]]:
    """Return the rows of all further folders, whose files are `@/further-1/NAME` and so on; and `Source.notes` of them.

    Args:
        spec: the data section.
        categories: of the main folder; each category of a further one has to be among them, by its name.

    Raises:
        DataError: a category of a further folder that the main one doesn't have.
    """
    rows, notes = list[Row](), list[str]()
    for number, further in enumerate(spec.further, 1):
        root = Path(further.root).expanduser().resolve()
        source = read_source(root, further.format)
        named = categories_of(spec, further)
        own = with_objects(recognise_categories(source, root, named), named)
        table = _values_by_position(own, categories, root)
        name = f"further-{number}"
        chosen = _holding(source.rows, root, own, further, categories) if further.holds else list(source.rows)
        rows += [_row(row, root, name, further, _reader(row, root, own, table)) for row in chosen]
        notes += [f"{root}: {note}" for note in source.notes]
        if further.holds:
            wanted = f" {'and' if further.holds_rule == 'all' else 'or'} ".join(further.holds)
            notes.append(f"{root}: {len(chosen)} of {len(source.rows)} images hold {wanted} and are taken")
    return rows, notes


def categories_of(spec: DataSpec, further: FurtherSpec) -> DataSpec:
    """Return the data section by which a further folder's own categories are recognised."""
    own = {"root": further.root, "format": further.format, "map": further.map}
    return DataSpec(**own, classes=spec.classes, task=spec.task, target=spec.target)


def mask_values(categories: Categories) -> tuple[list[int], int]:
    """Return a mask value that reads as each category, and one that is ignored.

    Raises:
        DataError: nothing is ignored, so that pixels without a category can't be written.
    """
    claimed = {_number(v) for c in categories.items if c.values != "rest" for v in c.values}
    ignored = [_number(v) for v in categories.ignore]
    free = next(value for value in range(IGNORE) if value not in claimed and value not in ignored)
    values = [free if c.values == "rest" else _number(c.values[0]) for c in categories.items]
    return values, ignored[0] if ignored else -1


def _row(row: Row, root: Path, name: str, further: FurtherSpec, render: Callable[[], Content]) -> Row:
    stem = f"{name}/{name_of(row.image)}"
    return Row(
        f"{IMPORTED}images/{stem}{Path(row.image).suffix}",
        f"{IMPORTED}masks/{stem}.png" if row.mask else None,
        f"{IMPORTED}instances/{stem}.png" if row.instances else None,
        further.part if further.part is not None else row.part,
        row.meta | ({"domain": further.domain} if further.domain is not None else {}),
        render,
    )


def _holding(
    rows: Sequence[Row], root: Path, own: Categories, further: FurtherSpec, categories: Categories
) -> list[Row]:
    """Return the rows whose masks hold the wanted categories; reads every mask, and keeps none."""
    categories.positions(further.holds, where=f"data.further, holds of {root}")
    wanted = [name for name in further.holds if name in own.names]
    rule = all if further.holds_rule == "all" else any

    def holds(row: Row) -> bool:
        label = _positions(row, row.render() if row.render is not None else Content(), root, own)
        if label is None or not label.size:
            return False
        share = np.bincount(label.ravel(), minlength=IGNORE + 1) / label.size
        return rule(name in wanted and share[own.names.index(name)] > further.holds_share for name in further.holds)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        kept = list(track(pool.map(holds, rows), "choose images", len(rows)))
    return [row for row, keeps in zip(rows, kept, strict=True) if keeps]


def _positions(row: Row, made: Content, root: Path, own: Categories) -> LabelMap | None:
    """Return the (H, W) label of a row in the positions of its own folder's categories; None without a mask."""
    if made.mask is not None:
        return positions(made.mask, own)
    if row.mask is None:
        return None
    image = made.image if made.image is not None else root / row.image
    return read_label(root / row.mask, own, like=image if isinstance(image, Path) else None)


def _reader(row: Row, root: Path, own: Categories, table: Array) -> Callable[[], Content]:
    def render() -> Content:
        made = row.render() if row.render is not None else Content()
        image = made.image if made.image is not None else root / row.image
        like = image if isinstance(image, Path) else None
        ids = made.instances
        if ids is None and row.instances is not None:
            ids = read_values(root / row.instances, like=like)
        label = _positions(row, made, root, own)
        return Content(image, None if label is None else _as_mask(table[label], row.image), ids)

    return render


def _values_by_position(own: Categories, categories: Categories, root: Path) -> Array:
    """Return (256,) mask values of the main folder by the position of a further folder's category."""
    if missing := [name for name in own.names if name not in categories.names]:
        raise DataError(
            problem(
                f"categories among {', '.join(categories.names)}",
                ", ".join(missing),
                where=f"{root}, data.further",
                next_move='give this folder a map with a line for each of its categories, such as {"map": '
                f'{{"{missing[0]}": null}}}} to ignore its pixels',
            )
        )
    values, ignored = mask_values(categories)
    table = np.full(256, ignored, np.int64)
    table[: len(own)] = [values[categories.names.index(name)] for name in own.names]
    return table


def _as_mask(values: Array, image: str) -> Array:
    """Return a mask as it is written: RGB where any value is a colour."""
    if values.size and values.min() < 0:
        raise DataError(
            problem(
                "pixels that have a category",
                "ignored ones, and no value that means ignored in the main folder",
                where=image,
                next_move="name one with --ignore, such as --ignore 255",
            )
        )
    if values.size == 0 or values.max() < COLOR:
        return values
    colors = np.where(values >= COLOR, values - COLOR, values * 0x010101)
    return np.stack([colors >> 16 & 255, colors >> 8 & 255, colors & 255], -1).astype(np.uint8)


def _number(value: int | str) -> int:
    return value if isinstance(value, int) else color_value(value)


def first_labelled(spec: DataSpec, source: Source) -> tuple[Category, ...] | None:
    """Return the categories of the first further folder, for a main one that has no labels; None if it has some."""
    if any(row.mask or row.instances for row in source.rows) or not spec.further or spec.categories is not None:
        return None
    further = spec.further[0]
    root = Path(further.root).expanduser().resolve()
    items = recognise_categories(read_source(root, further.format), root, categories_of(spec, further)).items
    return tuple(replace(item, values=(item.id,)) for item in items)

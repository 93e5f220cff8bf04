"""From mask values to category positions, and back; which categories a folder holds."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from maskwright.artifacts import IMPORTED
from maskwright.data.formats import Source
from maskwright.data.images import COLOR, color_value, palette_of, read_values
from maskwright.data.mislaid import move_them, names_of
from maskwright.data.void import check_void
from maskwright.errors import DataError, problem
from maskwright.progress import track
from maskwright.recipe.data import DataSpec
from maskwright.types import IGNORE, Array, Categories, Category, LabelMap

_UNKNOWN = 254
_TABLE = 65536
MANY = 64
"""Distinct mask values above which they number objects rather than categories."""


MAP_THEM = "add the values to data.categories.*.values in the recipe, or to --ignore; or mend the mask"


def read_label(path: Path, categories: Categories, *, like: Path | None = None, next_move: str = MAP_THEM) -> LabelMap:
    """Return a mask file as (H, W) uint8 category positions with `IGNORE`.

    Args:
        path: the mask file.
        categories: what its values mean.
        like: the image it belongs to, whose EXIF orientation it follows.
        next_move: what the error about unknown values advises.

    Raises:
        DataError: the file can't be read, or holds values that the recipe doesn't know.
    """
    values = read_values(path, like=like)
    label = positions(values, categories)
    if (label == _UNKNOWN).any():
        raise unknown_values(path, unknown_counts(values, label), categories, next_move=next_move)
    return label


def positions(values: Array, categories: Categories) -> LabelMap:
    """Return (H, W) uint8 positions of (H, W) int32 mask values; 254 where no category claims the value."""
    lowest, highest = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if lowest >= 0 and highest < _TABLE:
        return _lookup(categories, np.arange(highest + 1, dtype=np.int64))[values]
    found, inverse = np.unique(values, return_inverse=True)
    return _lookup(categories, found)[inverse.reshape(values.shape)]


def unknown_counts(values: Array, label: LabelMap) -> dict[int, int]:
    """Return {value: pixels} of the values that no category claims."""
    found, counts = np.unique(values[label == _UNKNOWN], return_counts=True)
    return {int(v): int(c) for v, c in zip(found, counts, strict=True)}


def unknown_values(path: Path, counts: dict[int, int], categories: Categories, *, next_move: str) -> DataError:
    """Return the error that names the file, the values, their pixels and the field that would map them."""
    listed = ", ".join(f"{shown_value(v)} ({n} px)" for v, n in list(counts.items())[:12])
    known = ", ".join(f"{c.name}: {c.values if c.values == 'rest' else list(c.values)}" for c in categories.items[:12])
    return DataError(
        problem(
            f"the values of the categories ({known}) or ignored ones {list(categories.ignore)}",
            f"{listed}{' …' if len(counts) > 12 else ''}",
            where=str(path),
            next_move=next_move,
        )
    )


def shown_value(value: int) -> str:
    """Return a mask value as a recipe names it: a number, or #rrggbb.

    Example:
        >>> shown_value(7), shown_value(COLOR + 0xFF0001)
        ('7', '#ff0001')
    """
    return str(value) if value < COLOR else f"#{value - COLOR:06x}"


def gray_as_numbers(values: set[int]) -> set[int]:
    """Return the values found in masks; colours that are all gray are what gray masks look like when saved as RGB.

    Example:
        >>> gray_as_numbers({COLOR + 0x000000, COLOR + 0x010101}) == {0, 1}
        True
    """
    grays = {_as_gray(value) for value in values}
    return values if None in grays else {gray for gray in grays if gray is not None}


def to_ids(label: LabelMap, categories: Categories) -> Array:
    """Return the category ids of a label map: uint8, or uint16 where ids exceed 254; `IGNORE` becomes 255 or 65535."""
    dtype = id_type(categories)
    table = np.full(256, np.iinfo(dtype).max, dtype)
    table[: len(categories)] = categories.ids
    return table[label]


def id_type(categories: Categories) -> type[np.uint8 | np.uint16]:
    """Return the type of label files that hold these categories' ids: uint8, or uint16 where ids exceed 254."""
    return np.uint8 if max(categories.ids) < IGNORE else np.uint16


def as_written(categories: Categories) -> Categories:
    """Return the categories for reading label files that we wrote: each value is the category's id."""
    top = IGNORE if max(categories.ids) < IGNORE else 65535
    return replace(categories, items=tuple(replace(c, values=(c.id,)) for c in categories.items), ignore=(top,))


def recognise_categories(source: Source, root: Path, spec: DataSpec) -> Categories:
    """Return the categories that the recipe, the folder or the masks' own values give, in this order.

    Args:
        source: what the folder holds, as it was read: nothing is rendered yet.
        root: the data folder.
        spec: the recipe's data section.

    Raises:
        DataError: names that don't exist, or values that can't be categories.
    """
    ignore = spec.ignore if spec.ignore is not None else source.ignore
    if spec.categories is not None:
        items = spec.categories
    elif spec.classes == "binary" or spec.target == "instances":
        items = _binary()
    else:
        items = source.categories or _from_masks(source, root, ignore)
    if spec.map is not None and spec.categories is None:
        items, ignore = mapped(items, spec.map, ignore)
    named = {c.name: c for c in (*(source.categories or ()), *items)}
    items, ignored = without_ignored(items, ignore, named=named)
    if spec.classes == "binary" and spec.ignore is None and spec.categories is None:
        check_void(source.categories or (), ignored)
    if isinstance(spec.classes, tuple):
        items = _chosen(items, spec.classes)
    items = _with_colors(items)
    left_out = default_left_out(items) if spec.leave_out is None else frozenset(spec.leave_out)
    return Categories(items, left_out, ignored)


def mapped(
    items: tuple[Category, ...], names: Mapping[str, str | None], ignore: tuple[int | str, ...]
) -> tuple[tuple[Category, ...], tuple[int | str, ...]]:
    """Return the categories under their new names, those of one name joined, and the ignored values.

    Args:
        items: as the folder has them.
        names: old → new; None: its pixels are ignored.
        ignore: mask values, colours and names that are ignored already.

    Raises:
        DataError: a category that is not mentioned, or a name that no category has.
    """
    if unmapped := [c.name for c in items if c.name not in names and c.name not in ignore]:
        raise DataError(
            problem(
                "a new name, or null, for each category of the folder",
                f"none for {', '.join(unmapped)}",
                where="data.map",
                next_move="add a line for each; the same name keeps it",
            )
        )
    known_names = [c.name for c in items]
    if unknown := [name for name in names if name not in known_names]:
        raise DataError(
            problem(
                f"names among {', '.join(known_names)}",
                ", ".join(unknown),
                where="data.map",
                next_move="mend or remove these lines",
            )
        )
    found: dict[str, Category] = {}
    dropped = tuple(value for c in items if names.get(c.name) is None for value in (c.values or (c.id,)))
    for item in items:
        if (new := names.get(item.name)) is None:
            continue
        known = found.get(new)
        values = item.values if known is None else (*_listed(known), *_listed(item))
        found[new] = replace(item if known is None else known, name=new, values=values)
    return tuple(found.values()), (*ignore, *dropped)


def _listed(category: Category) -> tuple[int | str, ...]:
    if category.values == "rest":
        raise DataError(
            problem(
                "categories that list their values",
                f"{category.name}, which claims the rest",
                where="data.map",
                next_move="map it to a name of its own",
            )
        )
    return category.values


def without_ignored(
    items: tuple[Category, ...], ignore: tuple[int | str, ...], *, named: Mapping[str, Category] | None = None
) -> tuple[tuple[Category, ...], tuple[int | str, ...]]:
    """Return the categories that have a value which isn't ignored, and the ignored values (names resolved).

    Raises:
        DataError: a name that no category has.
    """
    ignored = _ignored_values({c.name: c for c in items} if named is None else named, ignore)
    return tuple(c for c in items if not (set(_values_of(c)) and set(_values_of(c)) <= _as_ints(ignored))), ignored


def default_left_out(items: tuple[Category, ...]) -> frozenset[str]:
    """Return what is left out of means unless one says otherwise: the background of a binary task."""
    return frozenset({items[0].name} if len(items) == 2 and items[0].name == "background" else ())


def distinct_colors(n: int) -> list[tuple[int, int, int]]:
    """Return n RGB colours, hues by the golden ratio, the first one dark gray for backgrounds.

    Example:
        >>> distinct_colors(2)[0]
        (64, 64, 64)
    """
    hues = ((0.58 + 0.618034 * i) % 1 for i in range(max(n - 1, 0)))
    bright = [colorsys.hsv_to_rgb(h, 0.75 if i % 2 else 0.9, 0.95 if i % 3 else 0.75) for i, h in enumerate(hues)]
    return [(64, 64, 64), *((int(r * 255), int(g * 255), int(b * 255)) for r, g, b in bright)][:n]


def _lookup(categories: Categories, values: Array) -> LabelMap:
    """Return the position of each of the given mask values. A gray colour that nobody claims counts as its number."""
    claimed = {v for c in categories.items for v in _values_of(c)} | _as_ints(categories.ignore)
    if values.size and values.max() >= COLOR:
        grays = [None if int(v) in claimed else _as_gray(int(v)) for v in values]
        values = np.array([v if gray is None else gray for v, gray in zip(values, grays, strict=True)])
    rest = [p for p, c in enumerate(categories.items) if c.values == "rest"]
    table = np.full(len(values), rest[0] if rest else _UNKNOWN, np.uint8)
    for position, category in enumerate(categories.items):
        if category.values != "rest":
            table[np.isin(values, _values_of(category))] = position
    table[np.isin(values, [_as_int(v) for v in categories.ignore])] = IGNORE
    return table


def _as_gray(value: int) -> int | None:
    """Return the gray value of a gray colour, the value itself if it is no colour, None for other colours."""
    if value < COLOR:
        return value
    red, green, blue = _rgb(value)
    return red if red == green == blue else None


def _rgb(value: int) -> tuple[int, int, int]:
    return value >> 16 & 255, value >> 8 & 255, value & 255


def _values_of(category: Category) -> list[int]:
    return [] if category.values == "rest" else [_as_int(v) for v in category.values]


def _as_int(value: int | str) -> int:
    return value if isinstance(value, int) else color_value(value)


def _as_ints(values: Iterable[int | str]) -> set[int]:
    return {_as_int(value) for value in values}


def _binary() -> tuple[Category, ...]:
    return (
        Category(0, "background", (64, 64, 64), values=(0,)),
        Category(1, "foreground", (230, 159, 0), isthing=False, values="rest"),
    )


def _ignored_values(by_name: Mapping[str, Category], ignore: tuple[int | str, ...]) -> tuple[int | str, ...]:
    values: list[int | str] = []
    for entry in ignore:
        if isinstance(entry, str) and entry in by_name:
            values += by_name[entry].values if by_name[entry].values != "rest" else ()
        elif isinstance(entry, str) and entry.isdecimal():
            values.append(int(entry))
        elif isinstance(entry, str) and not entry.startswith("#"):
            raise DataError(
                problem(
                    f"a mask value or one of {', '.join(by_name)}",
                    entry,
                    where="--ignore",
                    next_move="use a number, a #rrggbb colour or a name above",
                )
            )
        else:
            values.append(entry)
    return tuple(values)


def _chosen(items: tuple[Category, ...], names: tuple[str, ...]) -> tuple[Category, ...]:
    """Keep the named categories; everything else becomes background."""
    by_name = {c.name: c for c in items}
    if unknown := [n for n in names if n not in by_name]:
        raise DataError(
            problem(
                f"names among {', '.join(by_name)}", ", ".join(unknown), where="--classes", next_move="use names above"
            )
        )
    kept = [by_name[n] for n in names if n != "background"]
    ids = {c.id for c in kept}
    free = next(i for i in range(256) if i not in ids)
    return (Category(free, "background", (64, 64, 64), values="rest"), *kept)


def _from_masks(source: Source, root: Path, ignore: tuple[int | str, ...]) -> tuple[Category, ...]:
    """Return one category a value found in the masks."""
    labelled = [(r.mask, r.render) for r in source.rows if r.mask is not None]
    rendered = {Path(mask): render for mask, render in labelled if render is not None and mask.startswith(IMPORTED)}
    files = [root / mask for mask, _ in labelled if Path(mask) not in rendered]
    found = distinct_values(files, ignore, skip_unreadable=True)  # the audit names them
    found |= distinct_values(list(rendered), ignore, read=lambda path: cast(Array, rendered[path]().mask))
    if not found:
        move = "check that the masks belong there" if labelled else move_them(root, names_of(source))
        raise DataError(problem("masks with values", "none", where=f"{root}/masks", next_move=move))
    pngs = [path for path in files if path.suffix.lower() == ".png"][:8]
    return from_values(found, next(filter(None, map(palette_of, pngs)), None))


def distinct_values(
    files: Sequence[Path],
    ignore: tuple[int | str, ...] = (),
    *,
    skip_unreadable: bool = False,
    read: Callable[[Path], Array] = read_values,
) -> set[int]:
    """Return the values that occur in mask files, without the ignored ones; a gray RGB colour as its number.

    Args:
        files: the masks.
        ignore: values that don't count.
        skip_unreadable: pass over files that can't be read.
        read: how a mask is read.

    Raises:
        DataError: so many that they number objects, or a file that can't be read.
    """
    found: set[int] = set()
    for path in track(files, "look at values"):
        try:
            found |= set(np.unique(read(path)).tolist())
        except DataError:
            if not skip_unreadable:
                raise
        if len(found) > MANY + len(ignore):
            raise DataError(
                problem(
                    f"masks with at most {MANY} distinct values",
                    f"more ({', '.join(map(shown_value, sorted(found)[:8]))} …)",
                    where=str(path),
                    next_move="if the values number objects, move the masks to instances/; if everything but 0 is one "
                    "class, use --classes binary; else list the classes in classes.json",
                )
            )
    return gray_as_numbers(found) - _as_ints(v for v in ignore if isinstance(v, int) or v.startswith("#"))


def from_values(values: set[int], palette: dict[int, tuple[int, int, int]] | None = None) -> tuple[Category, ...]:
    """Return one category a mask value; 0 with at most one other is background and foreground.

    Args:
        values: found in masks, not empty.
        palette: colours of the values, where the masks have some.
    """
    highest = max(values)
    if len(values) <= 2 and 0 in values and highest < COLOR:
        return (
            Category(0, "background", (64, 64, 64), values=(0,)),
            Category(1 if highest in (0, 255) else highest, "foreground", (230, 159, 0), values=(highest or 1,)),
        )
    return _named(sorted(values), palette)


def _named(values: list[int], palette: dict[int, tuple[int, int, int]] | None) -> tuple[Category, ...]:
    if max(values) >= COLOR:
        names = [shown_value(v) for v in values]
        rows = enumerate(zip(values, names, strict=True))
        return tuple(Category(i, name, _rgb(v), values=(name,)) for i, (v, name) in rows)
    return tuple(Category(v, f"class_{v}", (palette or {}).get(v, (0, 0, 0)), values=(v,)) for v in values)


def _with_colors(items: tuple[Category, ...]) -> tuple[Category, ...]:
    """Give distinct colours where the folder has none worth the name."""
    if len({c.color for c in items}) == len(items):
        return items
    return tuple(replace(c, color=color) for c, color in zip(items, distinct_colors(len(items)), strict=True))

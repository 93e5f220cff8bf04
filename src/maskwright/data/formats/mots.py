"""MOTS PNG: PART/images beside PART/instances, 16 bits: category × 1000 + object; labels.txt names the categories."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from maskwright.data.formats.files import by_name
from maskwright.data.formats.lookup import no_files
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.images import read_values
from maskwright.errors import DataError, problem
from maskwright.types import Category

READS = ("*",)
_IGNORED = 10
"""The category of regions that don't count (10000); there are no more than nine others."""


def recognise(root: Path) -> bool:
    """Tell whether a folder there has images/ and instances/labels.txt."""
    return bool(_parts(root))


def read(root: Path) -> Source:
    """Return the rows; the part is the folder. Pixels without an object are background.

    Raises:
        DataError: the parts' lists of categories differ, or can't be read.
    """
    rows, leftovers, listed = list[Row](), list[str](), dict[str, list[str]]()
    if not (parts := _parts(root)):
        raise no_files("instances/labels.txt beside images/ in a folder", root)
    for part in parts:
        stated = root / part / "instances/labels.txt"
        try:
            listed[part] = stated.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            next_move = "write one name a line"
            raise DataError(problem("names", str(error), where=str(stated), next_move=next_move)) from None
        images, masks = by_name(root, f"{part}/images"), by_name(root, f"{part}/instances")
        for name, path in sorted(images.items()):
            if name not in masks:
                rows.append(Row(path, None, None, part))
                continue
            render = partial(_render, root / masks[name])
            rows.append(Row(path, f"@/masks/{part}/{name}.png", f"@/instances/{part}/{name}.png", part, render=render))
        leftovers += [path for name, path in sorted(masks.items()) if name not in images]
    if len({tuple(names) for names in listed.values()}) > 1:
        got = "; ".join(f"{part}: {', '.join(names)}" for part, names in listed.items())
        next_move = "give all parts the same list"
        raise DataError(problem("one list of categories", got, where=f"{root}: labels.txt", next_move=next_move))
    names = next(iter(listed.values()))
    things = tuple(Category(number, name, isthing=True, values=(number,)) for number, name in enumerate(names, 1))
    background = Category(0, "background", (64, 64, 64), values=(0,))
    return Source("mots", rows, (background, *things), (_IGNORED,) if len(names) < _IGNORED else (), leftovers)


def _parts(root: Path) -> list[str]:
    found = (path.parent.parent for path in root.glob("*/instances/labels.txt"))
    return sorted(path.name for path in found if (path / "images").is_dir())


def _render(path: Path) -> Content:
    ids = read_values(path)
    category = ids // 1000
    return Content(mask=category, instances=np.where((category > 0) & (category != _IGNORED), ids, 0))

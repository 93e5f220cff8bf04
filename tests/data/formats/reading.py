"""What tests of formats ask: the labels of a folder by names, whichever files hold them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskwright.artifacts import locate
from maskwright.data.categories import read_label, recognise_categories
from maskwright.data.formats import read_source
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image, read_values
from maskwright.data.imported import write_rows
from maskwright.recipe.data import DataSpec


class Reading(NamedTuple):
    """One image of a folder: category names a pixel (None ignored), ids, and what the row says."""

    image: np.ndarray
    names: list | None
    ids: np.ndarray | None
    part: str | None
    meta: dict[str, str]


def read_all(root: Path, scratch: Path, **data) -> dict[str, Reading]:
    """Return {image's name: what is read of it}; names as nested lists, row by row."""
    spec = DataSpec(root=str(root), **data)
    source = read_source(root, spec.format)
    categories = recognise_categories(source, root, spec)
    table = [*categories.names, *[None] * 256]
    found = {}
    for row in write_rows(source.rows, scratch):
        image = locate(root, scratch, row.image)
        label = None if row.mask is None else read_label(locate(root, scratch, row.mask), categories, like=image)
        ids = None if row.instances is None else read_values(locate(root, scratch, row.instances), like=image)
        names = None if label is None else [[table[value] for value in line] for line in label.tolist()]
        found[name_of(row.image)] = Reading(read_image(image), names, ids, row.part, row.meta)
    return found

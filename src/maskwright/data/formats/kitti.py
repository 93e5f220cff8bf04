"""KITTI's semantic and instance segmentation: training/image_2 beside semantic/ and instance/, the 19 categories."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from maskwright.data.formats.files import by_name
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.streets import CITYSCAPES, STREET_19, THINGS, VOID, street_categories
from maskwright.data.images import read_values

READS = ("training", "testing")
_THING_IDS = [CITYSCAPES[name][0] for name in sorted(THINGS)]


def recognise(root: Path) -> bool:
    """Tell whether training/ holds image_2/ beside semantic/ or instance/."""
    training = root / "training"
    return (training / "image_2").is_dir() and any((training / kind).is_dir() for kind in ("semantic", "instance"))


def read(root: Path) -> Source:
    """Return the rows: parts train and test; masks from semantic/ (label ids), else from instance/ (id × 256 + object).

    Raises:
        DataError: two files claim the same name.
    """
    rows, leftovers = list[Row](), list[str]()
    for folder, part in (("training", "train"), ("testing", "test")):
        images = by_name(root, f"{folder}/image_2")
        masks, ids = by_name(root, f"{folder}/semantic"), by_name(root, f"{folder}/instance")
        for name, path in sorted(images.items()):
            drawn = name in ids and name not in masks
            mask = f"@/masks/{folder}/{name}.png" if drawn else masks.get(name)
            if name not in ids:
                rows.append(Row(path, mask, None, part))
                continue
            render = partial(_render, root / ids[name], drawn=drawn)
            rows.append(Row(path, mask, f"@/instances/{folder}/{name}.png", part, render=render))
        leftovers += [path for table in (masks, ids) for name, path in sorted(table.items()) if name not in images]
    values = {name: (CITYSCAPES[name][0],) for name in STREET_19}
    return Source("kitti", rows, street_categories(values), (*VOID, 255), leftovers)


def _render(path: Path, *, drawn: bool) -> Content:
    ids = read_values(path)
    things = np.isin(ids // 256, _THING_IDS) & (ids % 256 > 0)
    return Content(mask=ids // 256 if drawn else None, instances=np.where(things, ids, 0))

"""SYNTHIA: RGB/ beside GT/LABELS/ (two 16-bit channels: class and object) or colour masks, as the 16 categories."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from maskwright.data.formats.files import by_name, first_file
from maskwright.data.formats.lookup import no_files
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.sidecars import read_dataset_meta
from maskwright.data.formats.streets import CITYSCAPES, STREET_16, STREET_19, hex_color, street_categories
from maskwright.errors import DataError, problem
from maskwright.types import Array, Category

READS = ("RGB", "RGBLeft", "GT", "GTLeft", "SemSeg", "label_colors.txt", "dataset_meta.json")
_LAYOUTS = (("RGB", "GT/LABELS"), ("RGB", "GT/COLOR"), ("RGB", "GT"), ("RGB", "SemSeg"), ("RGBLeft", "GTLeft"))
"""Images and masks of SYNTHIA-RAND-CITYSCAPES and the sequences, SYNTHIA-RAND, -AL and -SF."""

_IDS = {
    "road": 3,
    "sidewalk": 4,
    "building": 2,
    "wall": 21,
    "fence": 5,
    "pole": 7,
    "traffic light": 15,
    "traffic sign": 9,
    "vegetation": 6,
    "sky": 1,
    "person": 10,
    "rider": 17,
    "car": 8,
    "bus": 19,
    "motorcycle": 12,
    "bicycle": 11,
}
_VOID_IDS = (0, 13, 14, 16, 18, 20, 22)
"""void, parking slot, road work, terrain, truck, train, lane marking."""

_COLORS = {
    "road": "#804080",
    "sidewalk": "#0000c0",
    "building": "#800000",
    "fence": "#404080",
    "pole": "#c0c080",
    "traffic light": "#008080",
    "traffic sign": "#c08080",
    "vegetation": "#808000",
    "sky": "#808080",
    "person": "#404000",
    "car": "#400080",
    "bicycle": "#0080c0",
}
_VOID_COLORS = ("#000000", "#00af00", "#00ac00")
"""void, and lane markings as two of the sets write them."""

_SF_VOID = ("#000000", "#9dea32", "#480062", "#a76a1d")
"""void, road lines, other, road works."""


def recognise(root: Path) -> bool:
    """Tell whether one of the pairs of folders is there."""
    return _layout(root) is not None


def read(root: Path) -> Source:
    """Return the rows. Objects are kept whatever their pixels' class: trucks and trains have no class of their own.

    Raises:
        DataError: two files claim the same name, or a list of colours can't be read.
    """
    layout = _layout(root)
    if layout is None:
        raise no_files("one of SYNTHIA's pairs of folders, such as RGB/ and GT/LABELS/", root)
    images, masks = by_name(root, layout[0]), by_name(root, layout[1])
    numbered = layout[1] == "GT/LABELS"
    rows = [_row(root, name, path, masks.get(name), numbered) for name, path in sorted(images.items())]
    leftovers = [path for name, path in sorted(masks.items()) if name not in images]
    categories, ignore = _categories(root, layout[1])
    return Source("synthia", rows, categories, ignore, leftovers)


def read_two_channels(path: Path) -> tuple[Array, Array]:
    """Return class and object of each pixel of a GT/LABELS file, each (H, W) int32.

    The first two channels of an RGB, or the gray and the alpha channel of a two-channel PNG.

    Raises:
        DataError: it can't be read.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if array is None:
        next_move = "replace the file, or move it out of the folder"
        raise DataError(problem("a PNG with two channels", "no image", where=str(path), next_move=next_move))
    values = array.astype(np.int32)
    if values.ndim == 2:
        return values, np.zeros_like(values)
    if values.shape[2] == 4 and data[25] == 4:  # PNG colour type gray with alpha, which OpenCV spreads to four
        return values[..., 0], values[..., 3]
    return values[..., 2], values[..., 1]  # OpenCV has blue first


def _layout(root: Path) -> tuple[str, str] | None:
    for pair in _LAYOUTS:
        if all((root / folder).is_dir() for folder in pair) and first_file(root / pair[1], (".png",)) is not None:
            return pair
    return None


def _row(root: Path, name: str, image: str, mask: str | None, numbered: bool) -> Row:
    part = name.split("/", 1)[0] if "/" in name else None
    if mask is None or not numbered:
        return Row(image, mask, None, part)
    render = partial(_render, root / mask)
    return Row(image, f"@/masks/{name}.png", f"@/instances/{name}.png", part, render=render)


def _render(path: Path) -> Content:
    classes, objects = read_two_channels(path)
    return Content(mask=classes, instances=objects)


def _categories(root: Path, folder: str) -> tuple[tuple[Category, ...], tuple[int | str, ...]]:
    if (stated := read_dataset_meta(root / "dataset_meta.json")) is not None:
        return stated, ()
    if (root / "label_colors.txt").is_file():
        return _read_colors(root / "label_colors.txt"), ()
    if folder == "GT/LABELS":
        return street_categories({name: (_IDS[name],) for name in STREET_16}), _VOID_IDS
    if folder == "GTLeft":
        values: dict[str, tuple[int | str, ...]] = {n: (hex_color(CITYSCAPES[n][1]),) for n in STREET_19}
        values["bicycle"] = ("#770b20", "#770b1f")
        return street_categories(values), _SF_VOID
    return street_categories({name: (color,) for name, color in _COLORS.items()}), _VOID_COLORS


def _read_colors(path: Path) -> tuple[Category, ...]:
    """Read lines of `red green blue name`."""
    try:
        lines = [line.split(maxsplit=3) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = [((int(r), int(g), int(b)), name.strip()) for r, g, b, name in lines]
    except ValueError as error:
        next_move = "mend the line, or move the file out of the folder"
        raise DataError(
            problem("lines of red green blue name", str(error), where=str(path), next_move=next_move)
        ) from None
    return tuple(Category(i, name, color, values=(hex_color(color),)) for i, (color, name) in enumerate(found))

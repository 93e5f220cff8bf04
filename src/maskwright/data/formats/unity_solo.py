"""Unity Perception (SOLO): sequence.N/stepM.frame_data.json with captures, their semantic and instance masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.data.formats.files import MALFORMED, inside, read_json_file
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.streets import hex_color
from maskwright.data.images import color_value, read_values
from maskwright.errors import DataError, problem
from maskwright.types import Category

READS = ("*",)
_FRAMES = "sequence.*/*.frame_data.json"


def recognise(root: Path) -> bool:
    """Tell whether there is a frame's JSON in a folder sequence.N."""
    return next(root.glob(_FRAMES), None) is not None


def read(root: Path) -> Source:
    """Return the rows, one a capture; `sequence` and `step` are columns. Pixels of no colour are background.

    A capture without a semantic mask is unlabelled, whatever files lie beside it. Objects are those of the instance
    mask, by their instanceId, also of categories that have no colour in the semantic one.

    Raises:
        DataError: a JSON file can't be read, or colours of categories differ between frames.
    """
    colors: dict[str, str] = {}
    rows = []
    for path in sorted(root.glob(_FRAMES)):
        tree = read_json_file(path)
        try:
            rows += [_row(root, path, tree, capture, colors) for capture in tree["captures"]]
        except MALFORMED as error:
            got, next_move = f"{type(error).__name__}: {error}", "export the frame again"
            raise DataError(problem("captures with annotations", got, where=str(path), next_move=next_move)) from None
    background = Category(0, "background", (0, 0, 0), values=("#000000",))
    named = tuple(
        Category(number, name, _rgb(color), True, (color,))
        for number, (name, color) in enumerate(sorted(colors.items()), 1)
    )
    return Source("unity_solo", sorted(rows, key=lambda row: row.image), (background, *named))


def _row(root: Path, path: Path, tree: dict[str, Any], capture: dict[str, Any], colors: dict[str, str]) -> Row:
    folder = path.parent.relative_to(root).as_posix()

    def place(name: str) -> str:
        return inside(root, f"{folder}/{name}", where=path)

    meta = {"sequence": str(tree.get("sequence", "")), "step": str(tree.get("step", ""))}
    image = place(capture["filename"])
    mask, ids, render = None, None, None
    for annotation in capture.get("annotations", ()):
        kind = str(annotation["@type"]).rpartition(".")[2]
        if kind == "SemanticSegmentationAnnotation":
            mask = place(annotation["filename"])
            for item in annotation.get("instances", ()):
                color = _hex(item["pixelValue"])
                if colors.setdefault(str(item["labelName"]), color) != color:
                    raise ValueError(f"two colours of {item['labelName']}")
        if kind == "InstanceSegmentationAnnotation":
            ids = f"@/instances/{image.rpartition('.')[0]}.png"
            numbers = {_hex(item["color"]): _number(item["instanceId"]) for item in annotation.get("instances", ())}
            render = partial(_render, root / place(annotation["filename"]), numbers)
    return Row(image, mask, ids, None, meta, render)


def _hex(color: Any) -> str:
    red, green, blue = (int(value) for value in color[:3])
    if not 0 <= min(red, green, blue) <= max(red, green, blue) < 256:
        raise ValueError(f"{color} is no colour")
    return hex_color((red, green, blue))


def _number(value: Any) -> int:
    if not 0 <= int(value) < 1 << 31:
        raise ValueError(f"{value} is no number of an object")
    return int(value)


def _render(path: Path, numbers: dict[str, int]) -> Content:
    values = read_values(path)
    ids = np.zeros(values.shape, np.int32)
    for color, number in numbers.items():
        ids[values == color_value(color)] = number
    return Content(instances=ids)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)

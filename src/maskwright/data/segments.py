"""Tiles and strips of a TIFF in compressions that tifffile leaves to a package that isn't required: Pillow has some.

Each is made a small TIFF of its own, in memory, with the tags that say how it was compressed.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from maskwright.types import Array

_KEPT = (258, 259, 262, 277, 284, 317, 338, 339, 347, 530, 532)
"""Bits, compression, meaning of values, samples, planes, predictor, alpha, sample format, JPEG tables, subsampling."""

_SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 7: "B"}


def decode_segment(page: Any, data: bytes, size: tuple[int, int]) -> Array:
    """Return the (h, w, samples) pixels of a tile or strip.

    Args:
        page: tifffile's page.
        data: the compressed bytes.
        size: (h, w) of this tile or strip.

    Raises:
        OSError: Pillow can't decode it, either.
    """
    with Image.open(io.BytesIO(_as_file(page, data, size))) as image:
        pixels = np.asarray(image)
    return pixels.reshape(*size, -1)


def _as_file(page: Any, data: bytes, size: tuple[int, int]) -> bytes:
    order = page.parent.byteorder
    # width, length, offset, rows a strip, bytes: a strip of all rows, right behind the header
    stated: list[tuple[int, int, tuple[int, ...] | bytes]] = [
        (256, 4, (size[1],)),
        (257, 4, (size[0],)),
        (273, 4, (8,)),
        (278, 4, (size[0],)),
        (279, 4, (len(data),)),
    ]
    stated += [_copied(page.tags[code]) for code in _KEPT if code in page.tags]
    body = data + b"\0" * (len(data) % 2)
    start = 8 + len(body)
    beyond = start + 2 + 12 * len(stated) + 4
    entries, far = b"", b""
    for code, kind, values in sorted(stated):
        packed = values if isinstance(values, bytes) else struct.pack(order + _SIZES[kind][0] * len(values), *values)
        count = len(packed) // struct.calcsize(order + _SIZES[kind])
        if len(packed) > 4:
            place, far = struct.pack(f"{order}I", beyond + len(far)), far + packed + b"\0" * (len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", code, kind, count) + place
    mark = b"II" if order == "<" else b"MM"
    header = mark + struct.pack(f"{order}HI", 42, start)
    return header + body + struct.pack(f"{order}H", len(stated)) + entries + struct.pack(f"{order}I", 0) + far


def _copied(tag: Any) -> tuple[int, int, tuple[int, ...] | bytes]:
    """Return code, type and values of a tag."""
    value, kind = tag.value, int(tag.dtype)
    if isinstance(value, bytes):
        return int(tag.code), kind, value
    values = tuple(int(v) for v in value) if isinstance(value, tuple | list) else (int(value),)
    return int(tag.code), kind, values

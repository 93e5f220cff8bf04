"""Label Studio's run lengths of brush strokes: RGBA values of all pixels in a stream of bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem

_HALF = 128
_SIZES = (3, 4, 8, 16)
"""Bits of the lengths less one, as Label Studio's own encoder chooses them."""


def brush_to_mask(rle: Any, size: tuple[int, int], *, where: str) -> npt.NDArray[np.bool_]:
    """Return the pixels that a brush covers: those whose alpha, the fourth of their values, is at least half.

    The stream, the highest bit of each byte first: 32 bits number of values · 5 bits size of a value less one · four
    times 4 bits, sizes of lengths less one · then, until there are enough values: 1 bit, whether a run follows ·
    2 bits, which of the four sizes · the length less one · one value of a run, or so many values.

    Args:
        rle: the bytes, as a list of numbers.
        size: (H, W).
        where: file and object, for the message.

    Returns:
        (H, W) bool.

    Raises:
        DataError: no bytes, values of another size than 8 bits, a stream that ends too early, or another number of
            values than the image has.
    """
    height, width = size
    data = _to_bytes(rle, where)
    count, place = _read(data, 0, 32, where), 32
    if count != 4 * height * width:
        raise _wrong(f"4 values for each of {width}×{height} pixels, {4 * height * width}", f"{count}", where)
    if (bits := _read(data, place, 5, where) + 1) != 8:
        raise _wrong("values of 8 bits", f"{bits} bits", where)
    sizes = [_read(data, place + 5 + 4 * i, 4, where) + 1 for i in range(4)]
    place += 21
    values, done = np.empty(count, np.uint8), 0
    while done < count:
        begin = _read(data, place, 3, where)
        length = _read(data, place + 3, sizes[begin & 3], where) + 1
        place += 3 + sizes[begin & 3]
        stop = min(done + length, count)
        if begin & 4:
            values[done:stop] = _read(data, place, 8, where)
            place += 8
        else:
            values[done:stop] = _read_many(data, place, length, where)[: stop - done]
            place += 8 * length
        done = stop
    mask: npt.NDArray[np.bool_] = values.reshape(height, width, 4)[..., 3] >= _HALF
    return mask


def mask_to_brush(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Return the stream of bits of an (H, W) mask: all four values are 255 inside and 0 outside, as runs.

    `brush_to_mask` is the inverse.
    """
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], edges]).astype(int) if flat.size else np.empty(0, int)
    lengths = 4 * np.diff(np.concatenate([starts, [flat.size]]))
    bits = [f"{4 * flat.size:032b}{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for length, inside in zip(lengths.tolist(), flat[starts].tolist(), strict=False):
        while length:
            part = min(length, 1 << _SIZES[-1])
            which = next(place for place, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{which:02b}{part - 1:0{_SIZES[which]}b}{'1' * 8 if inside else '0' * 8}")
            length -= part
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8)) if text else []


def _to_bytes(rle: Any, where: str) -> bytes:
    try:
        return bytes(rle) if isinstance(rle, list) else bytes([256])
    except (TypeError, ValueError):
        raise _wrong("a list of bytes", repr(rle)[:40], where) from None


def _read(data: bytes, place: int, bits: int, where: str) -> int:
    """Return the number in some bits of a stream."""
    first, last = place >> 3, (place + bits + 7) >> 3
    if last > len(data):
        raise _wrong("a whole stream", f"one that is cut off after {len(data)} bytes", where)
    return int.from_bytes(data[first:last]) >> (8 * last - place - bits) & ((1 << bits) - 1)


def _read_many(data: bytes, place: int, count: int, where: str) -> npt.NDArray[np.uint8]:
    """Return so many values of 8 bits from any place in a stream."""
    first, last = place >> 3, (place + 8 * count + 7) >> 3
    if last > len(data):
        raise _wrong("a whole stream", f"one that is cut off after {len(data)} bytes", where)
    bits = np.unpackbits(np.frombuffer(data, np.uint8, last - first, first))
    return np.packbits(bits[place & 7 :][: 8 * count])


def _wrong(expected: str, got: str, where: str) -> DataError:
    return DataError(problem(expected, got, where=where, next_move="export the annotations again"))

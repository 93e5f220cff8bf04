"""Run-length encodings of masks: COCO's, as counts and as text, and Kaggle's pairs. Column by column, all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem

Mask = npt.NDArray[np.bool_]


def counts_to_mask(counts: Sequence[int] | npt.NDArray[np.int64], size: tuple[int, int], *, where: str) -> Mask:
    """Return the mask of COCO's uncompressed counts: runs of 0 and 1 by turns, column by column, 0 first.

    Args:
        counts: lengths of the runs; they must add up to the number of pixels.
        size: (H, W).
        where: file and object, for the message.

    Returns:
        (H, W) bool.

    Raises:
        DataError: the runs don't fill the mask.

    Example:
        >>> counts_to_mask([1, 2, 1], (2, 2), where="").tolist()
        [[False, True], [True, False]]
    """
    height, width = size
    lengths = checked_counts(counts, size, where=where)
    values = np.arange(len(lengths)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)


def checked_counts(
    counts: Sequence[int] | npt.NDArray[np.int64], size: tuple[int, int], *, where: str
) -> npt.NDArray[np.int64]:
    """Return counts as an array, once they are known to fill a mask; arguments and errors as in `counts_to_mask`."""
    height, width = size
    try:
        lengths = np.asarray(counts if len(counts) else [0])
    except (ValueError, TypeError, OverflowError):
        lengths = np.asarray(None)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise _wrong("a list of whole numbers", str(counts)[:60], where)
    if (lengths < 0).any() or int(lengths.sum()) != height * width:
        got = "a negative run" if (lengths < 0).any() else f"{int(lengths.sum())}"
        raise _wrong(f"runs that fill {height}×{width} = {height * width} pixels", got, where)
    return lengths.astype(np.int64)


def mask_to_counts(mask: Mask) -> list[int]:
    """Return COCO's uncompressed counts of an (H, W) bool mask; `counts_to_mask` is the inverse."""
    flat = np.asarray(mask, bool).T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    stops = [0, *edges.tolist(), flat.size]
    lengths = [b - a for a, b in pairwise(stops)]
    return [0, *lengths] if flat.size and flat[0] else lengths


def text_to_counts(text: str | bytes, *, where: str) -> list[int]:
    """Return the counts of COCO's compressed text: six bits a letter from `0` on, the low five of them data, the
    highest of a number's last letter its sign; from the fourth count on the difference to the count before the last.

    Raises:
        DataError: the text ends within a number or holds other letters.
    """
    data = text.encode("latin-1", "backslashreplace") if isinstance(text, str) else text
    counts, value, shift = list[int](), 0, 0
    for letter in data:
        bits = letter - 48
        if not 0 <= bits < 64:
            raise _wrong("letters from 0 to o", repr(chr(letter)), where)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise _wrong("whole numbers", "a text that is cut off", where)
    return counts


def counts_to_text(counts: Sequence[int]) -> str:
    """Return COCO's compressed text of counts; `text_to_counts` is the inverse."""
    letters = list[str]()
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr(48 + (bits | 32 if more else bits)))
    return "".join(letters)


def pairs_to_mask(text: str, size: tuple[int, int], *, where: str) -> Mask:
    """Return the mask of Kaggle's pairs: `start length start length …`, starts from 1, column by column.

    Args:
        text: the pairs; empty text is an empty mask.
        size: (H, W).
        where: file and row, for the message.

    Raises:
        DataError: an odd number of words, words that are no numbers, or runs outside the mask.

    Example:
        >>> pairs_to_mask("2 2", (2, 2), where="").tolist()
        [[False, True], [True, False]]
    """
    height, width = size
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise _wrong("numbers", text[:40], where) from None
    if len(numbers) % 2:
        raise _wrong("pairs of start and length", f"{len(numbers)} numbers", where)
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if len(numbers) and ((starts < 0).any() or (lengths < 0).any() or (starts > height * width - lengths).any()):
        raise _wrong(f"runs inside {height}×{width} pixels", text[:40], where)
    change = np.zeros(height * width + 1, np.int32)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + lengths, -1)
    return np.ascontiguousarray((np.cumsum(change[:-1]) > 0).reshape(width, height).T)


def mask_to_pairs(mask: Mask) -> str:
    """Return Kaggle's pairs of an (H, W) bool mask; `pairs_to_mask` is the inverse."""
    counts = mask_to_counts(mask)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1] + 1
    return " ".join(f"{starts[i]} {counts[i]}" for i in range(1, len(counts), 2) if counts[i])


def _wrong(expected: str, got: str, where: str) -> DataError:
    return DataError(problem(expected, got, where=where, next_move="export the annotations again"))

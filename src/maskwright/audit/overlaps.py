"""Images that share a strip, as tiles of a sliding window do: the same pixels at a shift, up to recompression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.types import Array

_LEAST, _WHOLE = 0.03, 0.97
"""Share of the smaller image that a strip covers: below it isn't looked for, above it is all of it."""

_NARROW, _TEMPLATE = 12, 256
"""Pixels of the least strip that is compared, beside the doubt about its place; of the largest part that finds it."""

_MIDDLE = 2048
"""Pixels a side of the middle of a strip that is compared; all of it where it is smaller."""

_BLOCK, _FINE, _COARSE = 8, 1.0, 6.0
"""Pixels of the blocks that are compared one by one, and of the smoothing between which their detail lies."""

_TEXTURE, _BLOCKS = 0.25, 12
"""Blocks whose detail is weaker than this share of the strip's say nothing; how many must say something."""

_ALIKE, _SHARE = 0.8, 0.9
"""Correlation of a block's detail from which it is the same, and the share of the blocks that must be."""

Shift = tuple[int, int]


@dataclass(frozen=True)
class Overlap:
    """Two images of which a part is the same, and none lies in the other.

    Attributes:
        first: position of one image.
        second: position of the other; larger than `first`.
        shift: where the second image's left upper corner lies in the first, x and y in pixels.
        share: of the smaller image that both show.
        correlation: median over the blocks of what both show, of their detail, -1..1.
    """

    first: int
    second: int
    shift: Shift
    share: float
    correlation: float


def shared_strip(
    sizes: tuple[tuple[int, int], tuple[int, int]],
    read: tuple[Callable[[], Array], Callable[[], Array]],
    shift: tuple[float, float],
    doubt: float,
) -> tuple[Shift, float, float] | None:
    """Return shift, share and correlation of what two images share, None if it isn't the same pixels.

    Neighbouring frames of a video show the same things, too, but no two blocks of them keep their pixels: things that
    are nearer move farther. So the detail of the strip is compared block by block at one whole-numbered shift.

    Args:
        sizes: (height, width) of both images.
        read: return them in gray, (H, W) float32; called only where a strip is possible.
        shift: where the second image's left upper corner would lie in the first one, x and y.
        doubt: pixels by which that may be wrong.
    """
    x, y = round(shift[0]), round(shift[1])
    if not _LEAST <= _share(sizes, (x, y)) <= _WHOLE:
        return None
    first, second = read[0](), read[1]()
    found = _placed(first, second, (x, y), ceil(doubt))
    if found is None or not _LEAST <= (share := _share(sizes, found)) <= _WHOLE:
        return None
    correlations = _blocks(*_common(first, second, found))
    if len(correlations) < _BLOCKS or float((correlations >= _ALIKE).mean()) < _SHARE:
        return None
    return found, share, float(np.median(correlations))


def _share(sizes: tuple[tuple[int, int], tuple[int, int]], shift: Shift) -> float:
    """Return how much of the smaller image both show."""
    (height, width), (rows, columns) = sizes
    wide = min(width, shift[0] + columns) - max(0, shift[0])
    high = min(height, shift[1] + rows) - max(0, shift[1])
    return max(wide, 0) * max(high, 0) / min(height * width, rows * columns)


def _placed(first: Array, second: Array, shift: Shift, doubt: int) -> Shift | None:
    """Return the shift by whole pixels, near a given one, under which the middle of the strip correlates best."""
    spans = []
    for offset, size, other in zip(shift, second.shape[::-1], first.shape[::-1], strict=True):
        start, end = max(0, doubt - offset), min(size, other - offset - doubt)
        cut = max(0, end - start - _TEMPLATE) // 2
        spans.append((start + cut, end - cut))
    (left, right), (top, bottom) = spans
    if min(right - left, bottom - top) < _NARROW:
        return None
    x, y = shift
    place = first[top + y - doubt : bottom + y + doubt, left + x - doubt : right + x + doubt]
    scores = cv2.matchTemplate(place, second[top:bottom, left:right], cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(np.argmax(np.nan_to_num(scores, nan=-1.0))), scores.shape)
    return x - doubt + int(column), y - doubt + int(row)


def _common(first: Array, second: Array, shift: Shift) -> tuple[Array, Array]:
    """Return the middle of what both images show, of the one and of the other."""
    x, y = shift
    left, right = _middle(max(0, -x), min(second.shape[1], first.shape[1] - x))
    top, bottom = _middle(max(0, -y), min(second.shape[0], first.shape[0] - y))
    return first[top + y : bottom + y, left + x : right + x], second[top:bottom, left:right]


def _middle(start: int, end: int) -> tuple[int, int]:
    cut = max(0, end - start - _MIDDLE) // 2
    return start + cut, end - cut


def _blocks(first: Array, second: Array) -> npt.NDArray[np.float64]:
    """Return the correlation of detail in each block of (h, w) that has any."""
    parts = []
    for picture in (first, second):
        fine = cv2.GaussianBlur(picture, (0, 0), _FINE)
        detail = fine - cv2.GaussianBlur(picture, (0, 0), _COARSE)
        rows, columns = (n // _BLOCK for n in detail.shape)
        cut = detail[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
        parts.append(cut.transpose(0, 2, 1, 3).reshape(rows * columns, -1).astype(np.float64))
    one, two = (part - part.mean(axis=1, keepdims=True) for part in parts)
    norms = np.linalg.norm(one, axis=1), np.linalg.norm(two, axis=1)
    told = np.logical_and(*(norm > max(_TEXTURE * float(np.sqrt((norm**2).mean())), 1e-6) for norm in norms))
    return np.asarray((one * two).sum(axis=1)[told] / (norms[0] * norms[1])[told], np.float64)

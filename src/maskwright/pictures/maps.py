"""Images as points of a map, so that one sees what lies where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskwright.pictures.colors import OKABE_ITO
from maskwright.types import Array

_FRAME = 3


def thumbnail_map(
    places: npt.NDArray[np.float64],
    thumbnails: Sequence[Array],
    marked: npt.NDArray[np.bool_],
    *,
    size: tuple[int, int] = (900, 1200),
) -> Array:
    """Return a picture in which each image lies at its place; marked ones on top, in a frame.

    Places farther out than 5 interquartile ranges are drawn at the border, so that one image can't squeeze all others.

    Args:
        places: (n, 2) finite, to the right and up.
        thumbnails: n small uint8 RGB pictures (h, w, 3), smaller than the map.
        marked: (n,) which ones get a frame.
        size: height and width in pixels.

    Returns:
        uint8 RGB (H, W, 3), white where nothing lies.
    """
    height, width = size
    result = np.full((height, width, 3), 255, np.uint8)
    if len(thumbnails) == 0:
        return result
    shares = np.stack([_share(places[:, 0]), 1 - _share(places[:, 1])], axis=1)
    for i in [*np.flatnonzero(~marked), *np.flatnonzero(marked)]:
        framed = _framed(thumbnails[i]) if marked[i] else thumbnails[i]
        h, w = framed.shape[:2]
        top, left = round(shares[i, 1] * (height - h)), round(shares[i, 0] * (width - w))
        result[top : top + h, left : left + w] = framed
    return result


def _share(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values as shares of their span, 0..1."""
    q1, q3 = np.quantile(values, [0.25, 0.75])
    kept = np.clip(values, q1 - 5 * (q3 - q1), q3 + 5 * (q3 - q1)) if q3 > q1 else values
    span = float(np.ptp(kept))
    return np.asarray((kept - kept.min()) / span if span else np.full(len(kept), 0.5))


def _framed(picture: Array) -> Array:
    height, width = picture.shape[:2]
    frame = np.empty((height + 2 * _FRAME, width + 2 * _FRAME, 3), np.uint8)
    frame[:] = OKABE_ITO[1]
    frame[_FRAME:-_FRAME, _FRAME:-_FRAME] = picture
    return frame

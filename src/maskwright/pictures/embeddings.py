"""Embeddings as pictures: three directions as colours, the same ones for a set of images, and balls around anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.labels import borders
from maskwright.pictures.colors import OKABE_ITO
from maskwright.pictures.instances import anchor_picture
from maskwright.types import Array

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Basis:
    """The three directions in which embeddings differ most, as red, green and blue.

    Attributes:
        middle: (E,) mean of the points.
        directions: (E, D) unit vectors, D = min(E, 3); of a direction and its opposite, the one whose largest part is
            above 0.
        low: (D,) 2nd percentile along each, which is 0 of its colour.
        high: (D,) 98th percentile, which is 255.
        shown: share of the points' variance along the directions, 0..1; NaN where they are all the same.
    """

    middle: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    shown: float

    @classmethod
    def of(cls, points: Array) -> Basis:
        """Return the basis of (N, E) finite points, N of at least 1; of all images of a set, to compare their colours.

        Raises:
            DataError: there is no point, or one isn't finite.
        """
        if points.ndim != 2 or len(points) == 0 or not np.isfinite(points).all():
            got = f"{points.shape}, {int(np.count_nonzero(~np.isfinite(points)))} values that aren't finite"
            next_move = "leave out the pixels that aren't finite"
            raise DataError(problem("finite points (N, E)", got, where="Basis.of", next_move=next_move))
        points = points.astype(np.float64)
        middle = points.mean(axis=0)
        points -= middle
        along, directions = np.linalg.eigh(points.T @ points)
        directions, total = directions[:, ::-1][:, :3], along.clip(0).sum()
        signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
        directions = directions * signs
        low, high = np.percentile(points @ directions, (2, 98), axis=0)
        shown = float(along[::-1][:3].clip(0).sum() / total) if total > 0 else float("nan")
        return cls(middle, directions, low, high, shown)

    def picture(self, embeddings: Array, mask: Mask | None = None) -> Array:
        """Return embeddings in the colours of this basis, uint8 (H, W, 3).

        Args:
            embeddings: (E, H, W) float; with fewer than three channels, the others stay at mid gray. Values that aren't
                finite are black.
            mask: (H, W) bool, the pixels that are shown; others are black. None: all.

        Raises:
            DataError: shapes that don't fit.
        """
        shown = _shown(embeddings, mask, channels=len(self.middle))
        picture = np.zeros((*shown.shape, 3), np.uint8)
        along = (embeddings[:, shown].T.astype(np.float64) - self.middle) @ self.directions
        colors, spread = np.full((len(along), 3), 128.0), self.high - self.low > 1e-12
        scaled = (along[:, spread] - self.low[spread]) / (self.high - self.low)[spread]
        colors[:, : along.shape[1]][:, spread] = 255 * np.clip(scaled, 0, 1)
        picture[shown] = colors.round().astype(np.uint8)
        return picture


def embedding_picture(embeddings: Array, mask: Mask | None = None) -> Array:
    """Return the three directions in which the embeddings of an image differ most as red, green and blue.

    Of several pictures each has its own colours; `Basis` has the same for all.

    Args:
        embeddings: (E, H, W) float, as of `Basis.picture`. What isn't finite doesn't count.
        mask: (H, W) bool, the pixels that are shown and count; None: all.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: shapes that don't fit.
    """
    shown = _shown(embeddings, mask)
    if not shown.any():
        return np.zeros((*shown.shape, 3), np.uint8)
    return Basis.of(embeddings[:, shown].T).picture(embeddings, mask)


def ball_picture(picture: Array, balls: npt.NDArray[np.bool_], anchors: Array) -> Array:
    """Return a picture with the outline of each anchor's ball in a colour of its own, two pixels wide, and its dot.

    Args:
        picture: (H, W, 3) uint8 RGB.
        balls: (K, H, W), as `anchor_balls` of `maskwright.cluster` has them. Where two overlap, the later one is drawn.
        anchors: (K, 2) rows and columns.
    """
    found = picture.copy()
    for number, ball in enumerate(balls):
        found[borders(ball)] = OKABE_ITO[number % len(OKABE_ITO)]
    return anchor_picture(found, anchors)


def _shown(embeddings: Array, mask: Mask | None, channels: int | None = None) -> Mask:
    """Return (H, W), where the embeddings are finite and wanted."""
    fitting = embeddings.ndim == 3 and channels in (None, len(embeddings))
    if not fitting or (mask is not None and mask.shape != embeddings.shape[1:]):
        got = f"{embeddings.shape}" + ("" if mask is None else f" and a mask {mask.shape}")
        next_move = "give both the same height and width"
        expected = f"({'E' if channels is None else channels}, H, W) embeddings"
        raise DataError(problem(expected, got, where="embedding_picture", next_move=next_move))
    finite: Mask = np.asarray(np.isfinite(embeddings).all(axis=0))
    return finite if mask is None else finite & mask

"""Scores of boundaries: Hausdorff distances, surface Dice, boundary F and boundary IoU, and the dental score.

Distances first (`surface_distances`), scores second, so that several scores cost one search. A surface is the pixels of
a mask that touch, over a side, a pixel outside of it or the image's edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from maskwright.errors import DataError, UsageError, problem
from maskwright.types import IGNORE, LabelMap, Spacing

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]

_NAN = float("nan")
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far each surface pixel of a mask is from the nearest surface pixel of the other mask.

    Attributes:
        to_prediction: (P,) float64, of each surface pixel of the truth; infinite where the prediction is empty.
        to_truth: (Q,) float64, of each surface pixel of the prediction; infinite where the truth is empty.
        diagonal: the image's diagonal in the unit of the distances, from corner to corner of the outermost pixels.
    """

    to_prediction: Distances
    to_truth: Distances
    diagonal: float

    @property
    def both_empty(self) -> bool:
        """True if neither the truth nor the prediction has a pixel."""
        return self.to_prediction.size == self.to_truth.size == 0

    @property
    def one_empty(self) -> bool:
        """True if exactly one of truth and prediction has no pixel."""
        return (self.to_prediction.size == 0) != (self.to_truth.size == 0)


def category_masks(truth: LabelMap, prediction: LabelMap, category: int) -> tuple[Mask, Mask]:
    """Return the (H, W) bool masks of one category; pixels whose truth is `IGNORE` are in neither."""
    return truth == category, (prediction == category) & (truth != IGNORE)


def surface_distances(truth: Mask, prediction: Mask, *, spacing: Spacing = (1.0, 1.0)) -> SurfaceDistances:
    """Measure two masks of one image against each other.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        spacing: height and width of a pixel.

    Raises:
        DataError: masks of different shapes, or not of two axes.
        UsageError: a spacing that isn't positive.

    Example:
        >>> left, right = np.array([[1, 0, 0, 0]], bool), np.array([[0, 0, 1, 1]], bool)
        >>> found = surface_distances(left, right)
        >>> found.to_prediction.tolist(), found.to_truth.tolist()
        ([2.0], [2.0, 3.0])
    """
    _check(truth, prediction)
    if not (spacing[0] > 0 and spacing[1] > 0):
        raise UsageError(
            problem(
                "two positive numbers", f"{spacing}", where="spacing", next_move="give the pixel's height and width"
            )
        )
    diagonal = float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
    a, b = _surface(truth), _surface(prediction)
    to_prediction = _nearest(a, b, truth.shape[1], spacing)
    return SurfaceDistances(to_prediction, _nearest(b, a, truth.shape[1], spacing), diagonal)


def hausdorff(distances: SurfaceDistances) -> float:
    """Hausdorff distance: the farthest that a surface pixel of either mask is from the other's surface.

    Returns:
        In the unit of the spacing. 0 where both are empty, the image's diagonal where one is.
    """
    return hausdorff_percentile(distances, 100)


def hd95(distances: SurfaceDistances) -> float:
    """The 95 % Hausdorff distance: `hausdorff_percentile` of 95, as MONAI's `compute_hausdorff_distance` has it."""
    return hausdorff_percentile(distances, 95)


def hausdorff_percentile(distances: SurfaceDistances, percentile: float) -> float:
    """The larger one of the percentiles of both directions' distances, with linear interpolation.

    Other definitions pool both directions before the percentile, or measure all pixels instead of surfaces; their
    values differ.

    Args:
        distances: of the two masks.
        percentile: 0..100; 100 is the Hausdorff distance.

    Returns:
        In the unit of the spacing. 0 where both are empty, the image's diagonal where one is.
    """
    if distances.both_empty:
        return 0.0
    if distances.one_empty:
        return distances.diagonal
    return float(max(np.percentile(d, percentile) for d in (distances.to_prediction, distances.to_truth)))


def surface_dice(distances: SurfaceDistances, tolerance: float, *, empty: float = _NAN) -> float:
    """Normalised surface dice (NSD): share of both surfaces' pixels that are within a tolerance of the other surface.

    Surface pixels count alike, as in MONAI's `compute_surface_dice` without subvoxels (Seidlitz 2022); DeepMind's
    `surface-distance` weighs them by the length of the contour.

    Args:
        distances: of the two masks.
        tolerance: in the unit of the spacing; a distance equal to it is within.
        empty: the score where both masks are empty.

    Returns:
        0..1; 0 where one mask is empty.
    """
    if distances.both_empty:
        return empty
    near = [int(np.count_nonzero(d <= tolerance)) for d in (distances.to_prediction, distances.to_truth)]
    return sum(near) / (distances.to_prediction.size + distances.to_truth.size)


def boundary_f(distances: SurfaceDistances, tolerance: float, *, empty: float = _NAN) -> float:
    """Boundary F (Csurka 2013): harmonic mean of the shares of either surface within a tolerance of the other.

    Args:
        distances: of the two masks.
        tolerance: in the unit of the spacing; a distance equal to it is within. Csurka's is 0.75 % of the diagonal.
        empty: the score where both masks are empty.

    Returns:
        0..1; 0 where one mask is empty.
    """
    if distances.both_empty:
        return empty
    if distances.one_empty:
        return 0.0
    recall, precision = (float(np.mean(d <= tolerance)) for d in (distances.to_prediction, distances.to_truth))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_iou(truth: Mask, prediction: Mask, *, width: int | None = None, empty: float = _NAN) -> float:
    """Boundary IoU (Cheng 2021): IoU of the parts of either mask that are near their own border.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        width: pixels of a mask within this chessboard distance of its outside count; the image's edge is outside.
            None: 2 % of the image's diagonal, rounded, at least 1, as in the paper's code.
        empty: the score where both masks are empty.

    Returns:
        0..1; 0 where one mask is empty.

    Raises:
        DataError: masks of different shapes, or not of two axes.
    """
    _check(truth, prediction)
    if width is None:
        width = max(1, round(0.02 * float(np.hypot(*truth.shape))))
    a, b = _rim(truth, width), _rim(prediction, width)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else empty


def dental_score(truth: Mask, prediction: Mask, *, empty: float = _NAN) -> float:
    """Score of the STS challenge: 0.4 Dice + 0.3 IoU + 0.3 (1 - Hausdorff distance / image diagonal), in pixels.

    The challenge doesn't say what it divides the distance by; the diagonal keeps the score in 0..1.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        empty: Dice and IoU where both masks are empty; the distance is 0 there, so with 1 the score is 1.

    Returns:
        0..1; 0 where one mask is empty.

    Raises:
        DataError: masks of different shapes, or not of two axes.
    """
    distances = surface_distances(truth, prediction)
    both, either = int(np.count_nonzero(truth & prediction)), int(np.count_nonzero(truth | prediction))
    iou, dice = (both / either, 2 * both / (either + both)) if either else (empty, empty)
    return dental_mix(dice, iou, hausdorff(distances), distances.diagonal)


def dental_mix(dice: float, iou: float, distance: float, diagonal: float) -> float:
    """Mix `dental_score` from its parts, the Hausdorff distance and the image's diagonal in pixels."""
    apart = distance / diagonal if diagonal else 0.0
    return 0.4 * dice + 0.3 * iou + 0.3 * (1 - apart)


def _check(truth: Mask, prediction: Mask) -> None:
    if truth.ndim == 2 and truth.shape == prediction.shape:
        return
    raise DataError(
        problem(
            "two (H, W) masks of one shape",
            f"{truth.shape} and {prediction.shape}",
            where="boundary scores",
            next_move="scale the prediction to the truth's size, and score one image and category at a time",
        )
    )


def _surface(mask: Mask) -> npt.NDArray[np.intp]:
    """Return the ascending positions of surface pixels in the flat mask."""
    if mask.size == 0:
        return np.empty(0, np.intp)
    binary = np.ascontiguousarray(mask != 0).view(np.uint8)
    inner = cv2.erode(binary, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.flatnonzero(binary > inner)


def _nearest(of: npt.NDArray[np.intp], to: npt.NDArray[np.intp], width: int, spacing: Spacing) -> Distances:
    """Return the distance of each pixel to the nearest of others; those that are in both are 0 without a search."""
    distances = np.zeros(of.size)
    if of.size == 0 or to.size == 0:
        return np.full(of.size, np.inf)
    apart = np.flatnonzero(~np.isin(of, to, assume_unique=True))
    if apart.size:
        # a tree for one query: what a tighter one saves costs more to build
        tree = cKDTree(_places(to, width, spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
        distances[apart] = tree.query(_places(of[apart], width, spacing))[0]
    return distances


def _places(positions: npt.NDArray[np.intp], width: int, spacing: Spacing) -> Distances:
    return np.stack(np.divmod(positions, width), axis=1) * np.asarray(spacing, np.float64)


def _rim(mask: Mask, width: int) -> Mask:
    if mask.size == 0:
        return mask
    binary = np.ascontiguousarray(mask != 0).view(np.uint8)
    square = np.ones((2 * width + 1,) * 2, np.uint8)
    inner = cv2.erode(binary, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(binary > inner)

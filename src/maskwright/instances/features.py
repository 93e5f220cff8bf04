"""Numbers of each instance of an image by which true ones are told from false ones."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from maskwright.errors import DataError, problem
from maskwright.labels import relabel_consecutive
from maskwright.measure.shapes import convex_area, perimeter
from maskwright.types import Array

FEATURES = (
    "log_area",
    "log_roundness",
    "solidity",
    "eccentricity",
    "spread",
    "separation",
    "agreement",
    "disagreement",
    "contrast",
    "border",
    "stability",
)
"""Columns of `instance_features`, in order."""

_BAND = 2
"""Width of the bands on both sides of an outline, in pixels."""
_DISC = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)

Ids = npt.NDArray[np.integer[Any]]


def instance_features(
    instances: Ids,
    *,
    image: Array | None = None,
    embeddings: Array | None = None,
    probabilities: Array | None = None,
    categories: npt.ArrayLike | None = None,
    stability: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float64]:
    """Return (K, F) numbers of the K instances, in the order of their ids; the columns are `FEATURES`.

    - log_area: ln of its pixels, at the size that is looked at: as many in a large image as in a small one
    - log_roundness: ln(1 + perimeter² / area)
    - solidity: area / area of the convex hull
    - eccentricity: of the ellipse of the same second moments, 0 for a disc, 1 for a line
    - spread: root mean square distance of its embeddings to their mean
    - separation: distance of that mean to the nearest one of another instance of the image
    - agreement: mean probability of its category inside
    - disagreement: share of its pixels where another category is more probable
    - contrast: distance of the mean colours on the two sides of its outline, two pixels each, in units of the image's
      standard deviation; pixels of other instances count as outside
    - border: 1 if it touches the image's border, else 0
    - stability: how well another network's embeddings have it, the median IoU of `anchor_ious`

    NaN where what a number needs isn't given, or isn't there: no other instance, nothing outside, an image of one
    colour.

    Args:
        instances: (H, W) ids, 0 background.
        image: (H, W, C), any numbers.
        embeddings: (E, H, W).
        probabilities: (C, H, W) in 0..1.
        categories: (K,) position of each instance's category; needed with `probabilities`.
        stability: (K,) of `anchor_ious`.

    Raises:
        DataError: sizes or the number of categories don't fit.
    """
    numbered = relabel_consecutive(instances)
    boxes = ndimage.find_objects(numbered)
    count, found = len(boxes), np.full((len(boxes), len(FEATURES)), np.nan)
    _check(instances.shape, count, image, embeddings, probabilities, categories)
    if count == 0:
        return found
    column = {name: found[:, place] for place, name in enumerate(FEATURES)}
    for place, box in enumerate(boxes):
        found[place, :3] = _shape(numbered[box] == place + 1)
        column["border"][place] = _touches(box, numbered.shape)
    column["eccentricity"][:] = _eccentricities(numbered, count)
    if image is not None:
        column["contrast"][:] = _contrasts(numbered, boxes, image)
    if embeddings is not None:
        column["spread"][:], column["separation"][:] = _embedded(numbered, count, embeddings)
    if probabilities is not None:
        positions = np.asarray(categories, np.int64)
        column["agreement"][:], column["disagreement"][:] = _agreement(numbered, probabilities, positions)
    if stability is not None:
        column["stability"][:] = stability
    return found


def agreement(instances: Ids, probabilities: Array, categories: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (K,) the mean probability of each instance's category inside it, in the order of the ids.

    Args:
        instances: (H, W) ids, 0 background.
        probabilities: (C, H, W) in 0..1.
        categories: (K,) position of each instance's category.

    Raises:
        DataError: sizes or the number of categories don't fit.
    """
    numbered, positions = relabel_consecutive(instances), np.asarray(categories, np.int64)
    _check(instances.shape, int(numbered.max(initial=0)), None, None, probabilities, positions)
    return np.asarray(_agreement(numbered, probabilities, positions)[0]) if len(positions) else np.zeros(0)


def truly_matched(
    instances: Ids,
    truth: Ids,
    *,
    iou: float = 0.5,
    unknown: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float64]:
    """Return (K,) for each instance, in the order of the ids: 1 if a true one overlaps it by more than `iou`, else 0.

    NaN for one that has no match and lies for more than half on unknown pixels: it may be one that nobody drew.

    Args:
        instances: (H, W) ids, 0 background.
        truth: (H, W) ids of the true instances, 0 elsewhere.
        iou: at least ½, so that no two instances have the same match.
        unknown: (H, W) bool, pixels that may belong to anything: void, or unlabelled in a partial annotation.
    """
    assert iou >= 0.5, "matches are unique from ½ on"
    _check(instances.shape, 0, truth[..., None], None, None, None)
    ours, theirs = relabel_consecutive(instances), relabel_consecutive(truth)
    count, others = int(ours.max(initial=0)), int(theirs.max(initial=0))
    if count == 0:
        return np.zeros(0)
    blank = np.zeros(ours.shape, bool) if unknown is None else unknown & (theirs == 0)
    pairs, overlaps = np.unique(ours.astype(np.int64) * (others + 1) + theirs, return_counts=True)
    rows, columns = np.divmod(pairs, others + 1)
    areas = np.bincount(ours.ravel(), minlength=count + 1)
    true_areas = np.bincount(theirs.ravel(), minlength=others + 1)
    void = np.bincount(ours[blank], minlength=count + 1)
    unions = areas[rows] - void[rows] + true_areas[columns] - overlaps
    hits = (rows > 0) & (columns > 0) & (overlaps > iou * unions)
    found = np.zeros(count + 1)
    found[2 * void > areas] = np.nan
    found[rows[hits]] = 1
    return found[1:]


def _shape(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the first three numbers of a mask."""
    area = int(np.count_nonzero(mask))
    return math.log(area), math.log1p(perimeter(mask) ** 2 / area), area / convex_area(mask)


def _eccentricities(numbered: Array, count: int) -> npt.NDArray[np.float64]:
    """Return the eccentricity of each instance, of the eigenvalues of its pixels' second moments."""
    places = np.stack(np.nonzero(numbered))
    owner = numbered[*places] - 1
    sizes = np.bincount(owner, minlength=count)
    means = np.stack([np.bincount(owner, line, count) for line in places]) / sizes
    rows, columns = places - means[:, owner]
    high, wide, mixed = (
        np.bincount(owner, product, count) / sizes for product in (rows * rows, columns * columns, rows * columns)
    )
    half, apart = (high + wide) / 2, np.hypot((high - wide) / 2, mixed)
    large, small = half + apart, np.maximum(half - apart, 0)
    return np.asarray(np.sqrt(1 - np.divide(small, large, out=np.ones(count), where=large > 0)))


def _touches(box: tuple[slice, ...], size: tuple[int, ...]) -> float:
    return float(any(part.start == 0 or part.stop == length for part, length in zip(box, size, strict=True)))


def _contrasts(numbered: Array, boxes: list[Any], image: Array) -> npt.NDArray[np.float64]:
    """Return the contrast of each instance."""
    colours = image.astype(np.float64)
    deviation = math.sqrt(float(colours.var(axis=(0, 1)).sum()))
    found = np.full(len(boxes), np.nan)
    if deviation == 0:
        return found
    for place, box in enumerate(boxes):
        wide = tuple(slice(max(0, part.start - _BAND), part.stop + _BAND) for part in box)
        part = colours[wide]
        mask = np.zeros((part.shape[0] + 2, part.shape[1] + 2), np.uint8)
        mask[1:-1, 1:-1] = numbered[wide] == place + 1
        inner = mask & (1 - cv2.erode(mask, _DISC, iterations=_BAND, borderType=cv2.BORDER_REPLICATE))
        outer = cv2.dilate(mask, _DISC, iterations=_BAND) & (1 - mask)
        around = outer[1:-1, 1:-1] > 0
        if around.any():
            apart = part[inner[1:-1, 1:-1] > 0].mean(axis=0) - part[around].mean(axis=0)
            found[place] = math.sqrt(float((apart**2).sum())) / deviation
    return found


def _embedded(numbered: Array, count: int, embeddings: Array) -> tuple[Array, Array]:
    """Return spread and separation of each instance."""
    inside = numbered > 0
    owner = numbered[inside] - 1
    points = embeddings[:, inside].astype(np.float64)  # (E, P)
    if not np.isfinite(points).all():
        raise DataError(
            problem(
                "finite embeddings",
                "NaN or infinite ones",
                where="features of instances",
                next_move="train the network anew: its training has diverged",
            )
        )
    sizes = np.bincount(owner, minlength=count)
    means = np.stack([np.bincount(owner, values, count) for values in points], axis=1) / sizes[:, None]  # (K, E)
    squares = ((points - means.T[:, owner]) ** 2).sum(axis=0)
    spread = np.sqrt(np.bincount(owner, squares, count) / sizes)
    if count < 2:
        return spread, np.full(count, np.nan)
    nearest = np.asarray(KDTree(means).query(means, k=2)[0])
    return spread, nearest[:, 1]


def _agreement(numbered: Array, probabilities: Array, positions: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Return agreement and disagreement of each instance."""
    inside = numbered > 0
    owner, count = numbered[inside] - 1, len(positions)
    values = probabilities[:, inside].astype(np.float64)
    own = values[positions[owner], np.arange(len(owner))]
    sizes = np.bincount(owner, minlength=count)
    other = values.max(axis=0) > own
    return np.bincount(owner, own, count) / sizes, np.bincount(owner, other, count) / sizes


def _check(
    size: tuple[int, ...],
    count: int,
    image: Array | None,
    embeddings: Array | None,
    probabilities: Array | None,
    categories: npt.ArrayLike | None,
) -> None:
    sizes = [image.shape[:2]] if image is not None else []
    sizes += [maps.shape[1:] for maps in (embeddings, probabilities) if maps is not None]
    if wrong := [found for found in sizes if found != size]:
        raise DataError(
            problem(
                f"maps of the instance map's size, {size}",
                str(wrong[0]),
                where="features of instances",
                next_move="give all maps of one image at one size",
            )
        )
    if probabilities is not None and (categories is None or len(np.asarray(categories)) != count):
        given = "none" if categories is None else str(len(np.asarray(categories)))
        raise DataError(
            problem(
                f"{count} categories, one for each instance",
                given,
                where="features of instances",
                next_move="give the position of each instance's category, in the order of the ids",
            )
        )

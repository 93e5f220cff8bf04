"""The post-processing of the STAS solution: thresholds on components, closing, holes, small areas, in loosening stages.

Each step looks only at the box around the pixels that it can change.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.postprocess.areas import Sides, enclosed
from maskwright.postprocess.checks import check_probabilities
from maskwright.recipe.steps import StagedSpec, StageSpec
from maskwright.types import Array, LabelMap

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice]


def select(foreground: Array, stage: StageSpec) -> LabelMap:
    """Foreground by drop, high and lower thresholds on 8-connected components.

    Pixels below `drop` are set to 0. A component of pixels above 0 is kept if one of them is above `high` and the share
    of its pixels above 0.9 × `high` is at least `ratio`. In components that are kept, pixels above `lower` are
    foreground. Thresholds are compared in the precision of `foreground`, the share in double precision.

    Args:
        foreground: (H, W) float probabilities in 0..1.
        stage: the thresholds.

    Returns:
        (H, W) uint8: 1 is foreground.

    Raises:
        DataError: probabilities that aren't finite, or outside of 0..1.

    Example:
        >>> some = StageSpec(drop=0.1, high=0.4, lower=0.2)
        >>> select(np.float32([[0.5, 0.3, 0.1, 0.0, 0.3]]), some).tolist()
        [[1, 1, 0, 0, 0]]
    """
    check_probabilities(foreground)
    label = np.zeros(foreground.shape, np.uint8)
    box, selected = _selected(foreground, stage)
    label[box] = selected
    return label


def staged(foreground: Array, spec: StagedSpec | None = None) -> LabelMap:
    """Select, close, fill, drop small areas; loosen the thresholds while little foreground is found.

    Each stage starts from the probabilities: `select`; a closing by a square as MATLAB's (outside of the image the
    dilation sees 0, the erosion 1); `enclosed` with an 8-connected background; 8-connected areas with few pixels are
    dropped. With enough foreground, or after the last stage, its result stands. If the first stage selects most of the
    image, nothing is foreground.

    Args:
        foreground: (H, W) float probabilities in 0..1.
        spec: the thresholds and sizes; None: those of the report.

    Returns:
        (H, W) uint8: 1 is foreground.

    Raises:
        DataError: probabilities that aren't finite, or outside of 0..1.
    """
    spec = spec or StagedSpec()
    check_probabilities(foreground)
    label = np.zeros(foreground.shape, np.uint8)
    for number, stage in enumerate(spec.stages):
        box, selected = _selected(foreground, stage)
        if number == 0 and np.count_nonzero(selected) > spec.most * foreground.size:
            return label
        outer, cleaned = _cleaned(selected, box, foreground.shape, spec)
        if number == len(spec.stages) - 1 or np.count_nonzero(cleaned) >= spec.enough:
            label[outer] = cleaned
            break
    return label


def _selected(foreground: Array, stage: StageSpec) -> tuple[Box, Mask]:
    """Return the box around all that can be foreground, and what is."""
    likely = foreground >= stage.drop
    if stage.drop == 0:
        likely &= foreground > 0
    box = _box_around(likely)
    likely, inside = likely[box], foreground[box]
    if likely.size == 0:
        return box, likely
    binary = np.ascontiguousarray(likely).view(np.uint8)
    count, numbered, boxes, _ = cv2.connectedComponentsWithStats(binary, connectivity=8, ltype=cv2.CV_32S)
    strong = inside > 0.9 * stage.high
    numbers, values = numbered[strong], inside[strong]
    strengths = np.bincount(numbers, minlength=count)
    peaks = np.zeros(count, bool)
    peaks[numbers[values > stage.high]] = True
    keep = peaks & (strengths / np.maximum(boxes[:, cv2.CC_STAT_AREA], 1) >= stage.ratio)
    keep[0] = False
    if not keep.any():
        return box, np.zeros(likely.shape, bool)
    return box, keep[numbered] & (inside > stage.lower)


def _cleaned(selected: Mask, box: Box, shape: tuple[int, ...], spec: StagedSpec) -> tuple[Box, Mask]:
    """Return the box around all that closing and filling can reach, and what stays there."""
    inner = _box_around(selected)
    selected = selected[inner]
    if selected.size == 0:
        return inner, selected
    # one pixel more than a dilation reaches, so that the erosion sees background at the sides inside of the image
    margin = spec.closing // 2 + 1
    outer, canvas = _widened(selected, _shifted(inner, box), margin, shape)
    closed = cv2.morphologyEx(canvas, cv2.MORPH_CLOSE, np.ones((spec.closing, spec.closing), np.uint8))
    mask = np.asarray(closed).view(np.bool_)
    inside = _sides_inside(outer, shape)
    if spec.order == "fill_first":
        return outer, _without_small(enclosed(mask, edges=spec.edges, background=8, inside=inside), spec.pixels)
    return outer, enclosed(_without_small(mask, spec.pixels), edges=spec.edges, background=8, inside=inside)


def _without_small(mask: Mask, pixels: int) -> Mask:
    binary = np.ascontiguousarray(mask).view(np.uint8)
    _, numbered, boxes, _ = cv2.connectedComponentsWithStats(binary, connectivity=8, ltype=cv2.CV_32S)
    keep = boxes[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    return mask if keep[1:].all() else keep[numbered]


def _box_around(mask: Mask) -> Box:
    if mask.size == 0:
        return slice(0, 0), slice(0, 0)
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _shifted(inner: Box, box: Box) -> Box:
    rows, columns = (slice(i.start + b.start, i.stop + b.start) for i, b in zip(inner, box, strict=True))
    return rows, columns


def _widened(mask: Mask, box: Box, margin: int, shape: tuple[int, ...]) -> tuple[Box, npt.NDArray[Any]]:
    """Return the box with a margin, cut off at the image's edges, and the mask in it as uint8."""
    rows, columns = (
        slice(max(side.start - margin, 0), min(side.stop + margin, length))
        for side, length in zip(box, shape, strict=True)
    )
    canvas = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    top, left = box[0].start - rows.start, box[1].start - columns.start
    canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return (rows, columns), canvas


def _sides_inside(box: Box, shape: tuple[int, ...]) -> Sides:
    rows, columns = box
    return columns.start > 0, columns.stop < shape[1], rows.start > 0, rows.stop < shape[0]

"""One sparse overlap table of two id maps, or of masks that may overlap: the source of PQ, AP and best Dice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.types import Array

Integers = npt.NDArray[np.int64]

_BITS = 31
_LARGEST = (1 << _BITS) - 1
_BLOCK = 1 << 18
"""Pixels compared at once."""
_TABLE = 1 << 20
"""Pairs of ids up to which a block counts in a full table instead of sorting."""
_PLACES = 16
_SHIFT = np.uint64(64 - _PLACES)
_FACTORS = tuple(np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xFF51AFD7ED558CCD))
"""Odd and spread over 64 bits."""


@dataclass(frozen=True, eq=False)
class Segments:
    """What the ids of one map mean, in the order in which the annotation lists them.

    Attributes:
        ids: (K,) int64, distinct, 1..2³¹ - 1.
        categories: (K,) int64 category positions.
        crowd: (K,) bool, groups of objects that are not told apart; all False for predictions.
        scores: (K,) float64 confidence, only read by AP; NaN where there is none.
    """

    ids: Integers
    categories: Integers
    crowd: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        assert self.ids.ndim == 1, "ids in one row"
        assert self.ids.shape == self.categories.shape == self.crowd.shape == self.scores.shape, "one row a segment"

    @classmethod
    def of(
        cls,
        ids: npt.ArrayLike,
        categories: npt.ArrayLike,
        *,
        crowd: npt.ArrayLike | None = None,
        scores: npt.ArrayLike | None = None,
        where: str = "segments",
    ) -> Segments:
        """Build from any sequences.

        Args:
            ids: (K,) of the segments.
            categories: (K,) positions, or one for all.
            crowd: (K,); None: none is.
            scores: (K,) confidence; None: unknown.
            where: the image's name, for error messages.

        Raises:
            DataError: an id twice, or below 1 or above 2³¹ - 1.

        Example:
            >>> Segments.of([7, 9], 0).categories.tolist()
            [0, 0]
        """
        numbers = np.asarray(ids, np.int64).reshape(-1)
        if len(np.unique(numbers)) < len(numbers) or (
            len(numbers) and not 1 <= numbers.min() <= numbers.max() <= _LARGEST
        ):
            raise DataError(
                problem(
                    "distinct segment ids from 1 to 2147483647",
                    f"{numbers[:10].tolist()}",
                    where=where,
                    next_move="number the segments of an image from 1",
                )
            )
        size = len(numbers)
        return cls(
            numbers,
            np.broadcast_to(np.asarray(categories, np.int64), size),
            np.zeros(size, bool) if crowd is None else np.asarray(crowd, bool),
            np.full(size, np.nan) if scores is None else np.asarray(scores, np.float64),
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class SegmentOverlaps:
    """Pixels that each pair of a true and a predicted segment shares. Pairs that share none have no row.

    Attributes:
        truth_ids: (T,) int64, rising: the ids in the truth without 0.
        prediction_ids: (P,) int64, rising: the same for the prediction.
        truth_area: (T,) int64 pixels.
        prediction_area: (P,) int64 pixels.
        truth: (M,) int64, of each pair the position in `truth_ids`.
        prediction: (M,) int64, of each pair the position in `prediction_ids`.
        pixels: (M,) int64 that the pair shares.
        on_zero: (P,) int64 pixels of each prediction where the truth is 0.
        on_void: (P,) int64 pixels of each prediction where the truth was said to be void.
    """

    truth_ids: Integers
    prediction_ids: Integers
    truth_area: Integers
    prediction_area: Integers
    truth: Integers
    prediction: Integers
    pixels: Integers
    on_zero: Integers
    on_void: Integers


Side = Literal["truth", "prediction"]


def segment_overlaps(
    truth: Array, prediction: Array, *, void: Array | None = None, where: str = "segment_overlaps"
) -> SegmentOverlaps:
    """Count the pixels of every pair of true and predicted id.

    Pixels are gone through in runs of equal pairs, so the time is that of comparing neighbours, not that of sorting
    pixels. Temporary memory is bounded by a block of pixels and by the number of pairs.

    Args:
        truth: (H, W) integers, 0..2³¹ - 1: a panoptic or instance map; 0 is no segment.
        prediction: the same for the prediction.
        void: (H, W) bool, pixels that do not count as any truth; they are taken out of the true segments. None: none.
        where: the image's name, for error messages.

    Returns:
        The table; without rows where there is no segment.

    Raises:
        DataError: maps of different shapes, not of integers, or with ids below 0 or above 2³¹ - 1.

    Example:
        >>> table = segment_overlaps(np.array([[0, 5, 5]]), np.array([[2, 2, 5]]))
        >>> table.pixels.tolist(), table.on_zero.tolist()
        ([1, 1], [1, 0])
    """
    _check(truth, prediction, void, where)
    flat = None if void is None else void.ravel()
    blocks = list(_blocks(truth.ravel(), prediction.ravel(), flat, where))
    if not blocks:
        blocks = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    keys, pixels = _summed(np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks]))
    return _from_keys(keys, pixels)


def mask_overlaps(
    truth: Array, masks: Array, *, void: Array | None = None, where: str = "mask_overlaps"
) -> SegmentOverlaps:
    """Count the pixels of predicted masks that may overlap each other.

    Args:
        truth: (H, W) integers, an id map as in `segment_overlaps`, or (T, H, W) bool masks that may overlap; these get
            the ids 1..T.
        masks: (P, H, W) bool predictions; they get the ids 1..P.
        void: (H, W) bool, as in `segment_overlaps`; of true masks these pixels are taken out.
        where: the image's name, for error messages.

    Returns:
        The table. Masks without pixels keep their row, with area 0. `on_zero` counts pixels of no true segment.

    Raises:
        DataError: shapes that do not fit, or types that are neither integers nor bool.
    """
    stacked = truth.ndim == 3
    for single in (masks, truth) if stacked else (masks,):
        _check_masks(single, truth.shape[-2:], where)
    blank = np.zeros(truth.shape[-2:], np.int64)
    _check(blank if stacked else truth, blank, void, where)
    known = np.ones(blank.size, bool) if void is None else ~void.ravel()
    if stacked:
        ids, areas, rows = _over_stack(truth.reshape(len(truth), blank.size), masks, known)
    else:
        ids, areas, rows = _over_map(truth.ravel(), masks, known, where)
    shared = np.array([row[0] for row in rows], np.int64).reshape(len(masks), len(ids))
    columns, positions = np.nonzero(shared)
    return SegmentOverlaps(
        truth_ids=ids,
        prediction_ids=np.arange(1, len(masks) + 1),
        truth_area=areas,
        prediction_area=np.array([row[1] for row in rows], np.int64),
        truth=positions,
        prediction=columns,
        pixels=shared[columns, positions],
        on_zero=np.array([row[2] for row in rows], np.int64),
        on_void=np.array([row[3] for row in rows], np.int64),
    )


def listed(present: Integers, segments: Segments, n: int, *, side: Side, where: str) -> Integers:
    """Return of each id in a map the row that lists it.

    Args:
        present: (K,) ids in the map.
        segments: what is listed.
        n: number of categories.
        side: of the map, for the error.
        where: the image's name, for the error.

    Raises:
        DataError: ids in the map that no row lists, or categories outside 0..n - 1.
    """
    outside = segments.categories[(segments.categories < 0) | (segments.categories >= n)]
    if len(outside):
        raise DataError(
            problem(
                f"category positions 0..{n - 1}",
                f"{np.unique(outside)[:10].tolist()} in the {side}",
                where=where,
                next_move="map the categories of the segments to positions",
            )
        )
    order = np.argsort(segments.ids)
    place = np.searchsorted(segments.ids, present, sorter=order)
    found = place < len(order)
    found[found] = segments.ids[order[place[found]]] == present[found]
    if not found.all():
        raise DataError(
            problem(
                f"every id of the {side} to be listed with its category",
                f"{present[~found][:10].tolist()} in the map only",
                where=where,
                next_move="list these segments, or set their pixels to 0",
            )
        )
    return order[place]


def _blocks(truth: Array, prediction: Array, void: Array | None, where: str) -> Iterator[tuple[Integers, Integers]]:
    """Yield the pairs of each block as keys, with their pixels."""
    for start in range(0, truth.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        t, p = truth[part], prediction[part]
        changes = (t[1:] != t[:-1]) | (p[1:] != p[:-1])
        if void is not None:
            changes |= void[part][1:] != void[part][:-1]
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        lengths = np.diff(starts, append=t.size)
        t, p = t[starts], p[starts]
        _check_ids(t, "truth", where)
        _check_ids(p, "prediction", where)
        t = t.astype(np.int64) + 1  # 1 is no segment, 0 is void
        if void is not None:
            t[void[part][starts]] = 0
        yield _counted(t, p.astype(np.int64), lengths)


def _counted(t: Integers, p: Integers, lengths: Integers) -> tuple[Integers, Integers]:
    """Return the distinct pairs of the runs of a block as keys, with their pixels."""
    (of_t, t), (of_p, p) = _compact(t), _compact(p)
    if len(of_t) * len(of_p) > _TABLE:
        return _summed((of_t[t] << _BITS) | of_p[p], lengths)
    t *= len(of_p)
    t += p
    table = np.bincount(t, lengths)  # float64, exact for pixels of a block
    found = np.flatnonzero(table)
    row, column = np.divmod(found, len(of_p))
    return (of_t[row] << _BITS) | of_p[column], table[found].astype(np.int64)


def _compact(values: Integers) -> tuple[Integers, Integers]:
    """Return the distinct values, and of each value its position among them.

    Values are few and often large. A multiplicative hash sends them to a small table; where two share a place, another
    factor is tried, and after the last the values are sorted.
    """
    for factor in _FACTORS:
        places = (values.view(np.uint64) * factor) >> _SHIFT
        table = np.full(1 << _PLACES, -1, np.int64)
        table[places] = values
        if np.array_equal(table[places], values):
            taken = np.flatnonzero(table >= 0)
            positions = np.empty(len(table), np.int64)
            positions[taken] = np.arange(len(taken))
            return table[taken], positions[places]
    return np.unique(values, return_inverse=True)


def _summed(keys: Integers, pixels: Integers) -> tuple[Integers, Integers]:
    """Return the distinct keys, rising, and the sum of the pixels of each."""
    if not len(keys):
        return keys, pixels
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    return keys[starts], np.add.reduceat(pixels[order], starts)


def _from_keys(keys: Integers, pixels: Integers) -> SegmentOverlaps:
    truth, prediction = (keys >> _BITS) - 1, keys & _LARGEST
    in_truth, in_prediction = truth > 0, prediction > 0
    truth_ids, prediction_ids = np.unique(truth[in_truth]), np.unique(prediction[in_prediction])

    def areas(ids: Integers, of: Integers, chosen: npt.NDArray[np.bool_]) -> Integers:
        total = np.zeros(len(ids), np.int64)
        np.add.at(total, np.searchsorted(ids, of[chosen]), pixels[chosen])
        return total

    both = in_truth & in_prediction
    return SegmentOverlaps(
        truth_ids=truth_ids,
        prediction_ids=prediction_ids,
        truth_area=areas(truth_ids, truth, in_truth),
        prediction_area=areas(prediction_ids, prediction, in_prediction),
        truth=np.searchsorted(truth_ids, truth[both]),
        prediction=np.searchsorted(prediction_ids, prediction[both]),
        pixels=pixels[both],
        on_zero=areas(prediction_ids, prediction, in_prediction & (truth == 0)),
        on_void=areas(prediction_ids, prediction, in_prediction & (truth < 0)),
    )


_MaskRow = tuple[Integers, int, int, int]
"""Of one mask: pixels shared with each true segment, its area, pixels on none, pixels on void."""


def _over_stack(truth: Array, masks: Array, known: Array) -> tuple[Integers, Integers, list[_MaskRow]]:
    rows = []
    for mask in masks:
        inside = np.flatnonzero(mask)
        valid = inside[known[inside]]
        hits = truth[:, valid]
        bare = len(valid) - int(np.count_nonzero(hits.any(axis=0)))
        rows.append((np.count_nonzero(hits, axis=1), len(inside), bare, len(inside) - len(valid)))
    return np.arange(1, len(truth) + 1), np.count_nonzero(truth & known, axis=1).astype(np.int64), rows


def _over_map(truth: Array, masks: Array, known: Array, where: str) -> tuple[Integers, Integers, list[_MaskRow]]:
    found, compact = np.unique(np.where(known, truth, truth.dtype.type(0)), return_inverse=True)
    _check_ids(found, "truth", where)
    ids = found[found > 0].astype(np.int64)
    position = compact + (len(found) == len(ids))  # 0 for no segment
    areas = np.bincount(position, minlength=len(ids) + 1)[1:]
    rows = []
    for mask in masks:
        inside = np.flatnonzero(mask)
        valid = inside[known[inside]]
        counts = np.bincount(position[valid], minlength=len(ids) + 1)
        rows.append((counts[1:], len(inside), int(counts[0]), len(inside) - len(valid)))
    return ids, areas, rows


def _check(truth: Array, prediction: Array, void: Array | None, where: str) -> None:
    integers = truth.dtype.kind in "iu" and prediction.dtype.kind in "iu"
    masked = void is None or (void.shape == truth.shape and void.dtype == bool)
    if integers and truth.shape == prediction.shape and masked:
        return
    extra = "" if void is None else f", void {void.dtype} {void.shape}"
    raise DataError(
        problem(
            "truth and prediction as id maps of one shape and integer type, void pixels as bool of that shape",
            f"{truth.dtype} {truth.shape} and {prediction.dtype} {prediction.shape}{extra}",
            where=where,
            next_move="convert both to ids (such as uint32) at the truth's size",
        )
    )


def _check_masks(masks: Array, size: tuple[int, ...], where: str) -> None:
    if masks.ndim == 3 and masks.dtype == bool and masks.shape[1:] == size:
        return
    raise DataError(
        problem(
            f"bool masks (K, {', '.join(map(str, size))})",
            f"{masks.dtype} {masks.shape}",
            where=where,
            next_move="threshold the masks at the truth's size",
        )
    )


def _check_ids(ids: Array, side: Side, where: str) -> None:
    if not len(ids) or (ids.min() >= 0 and ids.max() <= _LARGEST):
        return
    raise DataError(
        problem(
            "ids from 0 to 2147483647",
            f"{ids.min()} to {ids.max()} in the {side}",
            where=where,
            next_move="number the segments of an image from 1",
        )
    )

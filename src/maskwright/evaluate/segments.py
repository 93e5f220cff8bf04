"""One image of segments measured: panoptic maps or instance maps, all from one table of what their ids share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from maskwright.errors import DataError, problem
from maskwright.evaluate.measure import Measured, columns_of
from maskwright.metrics import (
    Detections,
    SegmentOverlaps,
    Segments,
    cityscapes_detections,
    coco_detections,
    count_difference,
    panoptic_counts,
    segment_overlaps,
    symmetric_best_dice,
)
from maskwright.metrics.evidence import SEGMENTS
from maskwright.metrics.segments import listed
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import IGNORE, Array, Categories, LabelMap

Zero = Literal["void", "background"]

_LOOKED_UP = 1 << 24
"""Ids below which categories are looked up in a table of all ids; larger ones are sorted first."""


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """An id map with what its ids are.

    Attributes:
        ids: (H, W) integers, 0 for no segment.
        segments: what the ids are.
        areas: pixels that an annotation states of ids; what isn't stated is not checked.
    """

    ids: Array
    segments: Segments
    areas: Mapping[int, int] = field(default_factory=dict)


def measure_segments(
    truth: SegmentMap,
    prediction: SegmentMap,
    categories: Categories,
    spec: EvaluateSpec,
    *,
    zero: Zero = "void",
    void: Array | None = None,
    where: str,
) -> Measured:
    """Measure one image of segments.

    Args:
        truth: true segments; crowds are groups that are not told apart.
        prediction: predicted segments, with scores for AP.
        categories: of the segments; with `zero="background"` the first one is the background, which has none.
        spec: which families, and their definitions.
        zero: what 0 means in the truth: void, as in panoptic maps, or background, as in instance maps.
        void: (H, W) bool, pixels of the truth that don't count, whatever their id. None: none.
        where: the image's name, for error messages.

    Raises:
        DataError: maps of other shapes, ids that aren't listed, or areas other than those stated.
    """
    n, true, found = len(categories), truth.segments, prediction.segments
    overlaps = segment_overlaps(truth.ids, prediction.ids, void=void, where=where)
    if void is None:
        _check_areas(overlaps.truth_ids, overlaps.truth_area, truth.areas, f"the truth of {where}")
        _check_areas(overlaps.prediction_ids, overlaps.prediction_area, prediction.areas, f"the prediction of {where}")
    columns: dict[str, Array] = {}
    if "panoptic" in spec.families:
        counts = panoptic_counts(overlaps, true, found, n, zero=zero, where=where)
        columns |= {name: getattr(counts, name.removeprefix("segments_")) for name in SEGMENTS}
    rows = _rows(overlaps, true, found, n, where)
    if zero == "void":
        table = _table(overlaps, rows, n)
    else:
        table = _table_with_background(overlaps, rows, n, _known(truth.ids, void))
    detections = None
    if "instances" in spec.families:
        things = categories.things
        crowd = true.crowd[listed(overlaps.truth_ids, true, n, side="truth", where=where)]
        columns |= _instance_columns(overlaps, rows, crowd, zero, n, things)
        if not np.isnan(found.scores).any():
            detections = _detections(overlaps, true, found, n, spec, zero, where)
    if {"boundary", "dental", "keras"} & set(spec.families):
        empty = IGNORE if zero == "void" else 0
        labels = _labels(truth, empty)
        if void is not None:
            labels[void] = IGNORE
        columns |= columns_of(table, labels, _labels(prediction, empty), categories, spec)
    return Measured(table, columns, detections=detections)


def _check_areas(ids: Array, pixels: Array, stated: Mapping[int, int], where: str) -> None:
    if not stated:
        return
    there = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
    wrong = [(number, area) for number, area in stated.items() if there.get(number, 0) != area]
    if wrong:
        listed = ", ".join(f"{number}: {area} stated, {there.get(number, 0)} there" for number, area in wrong[:5])
        raise DataError(
            problem(
                "segments_info that agrees with the PNG",
                f"other areas of {len(wrong)} segments ({listed}{' …' if len(wrong) > 5 else ''})",
                where=where,
                next_move="write the annotations and the PNGs together again; PNGs must not be scaled or compressed",
            )
        )


_Rows = tuple[Array, Array]
"""The category of each true and of each predicted id of a table."""


def _rows(overlaps: SegmentOverlaps, true: Segments, found: Segments, n: int, where: str) -> _Rows:
    return (
        true.categories[listed(overlaps.truth_ids, true, n, side="truth", where=where)],
        found.categories[listed(overlaps.prediction_ids, found, n, side="prediction", where=where)],
    )


def _table(overlaps: SegmentOverlaps, rows: _Rows, n: int) -> Array:
    """Return the (n, n + 1) overlap table of the categories; what no segment is predicted on is in the last column."""
    table = np.zeros((n, n + 1), np.int64)
    of_truth, of_prediction = rows
    np.add.at(table, (of_truth[overlaps.truth], of_prediction[overlaps.prediction]), overlaps.pixels)
    bare = overlaps.truth_area.copy()
    np.subtract.at(bare, overlaps.truth, overlaps.pixels)
    np.add.at(table[:, n], of_truth, bare)
    return table


def _table_with_background(overlaps: SegmentOverlaps, rows: _Rows, n: int, known: int) -> Array:
    """Return the same where both 0 are the first category; `known` pixels count."""
    table = _table(overlaps, rows, n)
    table[:, 0], table[:, n] = table[:, n], 0
    np.add.at(table[0], rows[1], overlaps.on_zero)
    table[0, 0] = known - table.sum()
    return table


def _instance_columns(
    overlaps: SegmentOverlaps, rows: _Rows, crowd: Array, zero: Zero, n: int, things: list[int]
) -> dict[str, Array]:
    """Return best Dice and difference in count of each thing's instances, NaN for stuff.

    Crowds are no instances, nor are predictions more than half of which lie on void or on crowds of their category, as
    panoptic quality has it. NaN, too, of a thing of which an image has crowds alone: nobody counted them.
    """
    of_truth, of_prediction = rows
    columns = {name: np.full(n, np.nan) for name in ("sbd", "count_difference")}
    unknown = overlaps.on_void + (overlaps.on_zero if zero == "void" else 0)
    grouped = crowd[overlaps.truth] & (of_truth[overlaps.truth] == of_prediction[overlaps.prediction])
    np.add.at(unknown, overlaps.prediction[grouped], overlaps.pixels[grouped])
    counted = np.where(crowd, -1, of_truth), np.where(2 * unknown > overlaps.prediction_area, -1, of_prediction)
    for thing in things:
        own = _of_category(overlaps, counted, thing)
        if len(own.truth_ids) or not (crowd & (of_truth == thing)).any():
            columns["sbd"][thing] = symmetric_best_dice(own)
            columns["count_difference"][thing] = count_difference(own)
    return columns


def _of_category(overlaps: SegmentOverlaps, rows: _Rows, category: int) -> SegmentOverlaps:
    """Return the table of one category's segments alone."""
    true, found = (np.flatnonzero(row == category) for row in rows)
    both = (rows[0][overlaps.truth] == category) & (rows[1][overlaps.prediction] == category)
    return SegmentOverlaps(
        truth_ids=overlaps.truth_ids[true],
        prediction_ids=overlaps.prediction_ids[found],
        truth_area=overlaps.truth_area[true],
        prediction_area=overlaps.prediction_area[found],
        truth=np.searchsorted(true, overlaps.truth[both]),
        prediction=np.searchsorted(found, overlaps.prediction[both]),
        pixels=overlaps.pixels[both],
        on_zero=overlaps.on_zero[found],
        on_void=overlaps.on_void[found],
    )


def _detections(
    overlaps: SegmentOverlaps, true: Segments, found: Segments, n: int, spec: EvaluateSpec, zero: Zero, where: str
) -> Detections:
    if spec.ap_definition == "coco":
        return coco_detections(overlaps, true, found, n, where=where)
    if zero == "void":
        overlaps = replace(overlaps, on_void=overlaps.on_void + overlaps.on_zero)
    return cityscapes_detections(overlaps, true, found, n, where=where)


def _known(ids: Array, void: Array | None) -> int:
    return ids.size - (0 if void is None else int(np.count_nonzero(void)))


def _labels(image: SegmentMap, zero: int) -> LabelMap:
    """Return the (H, W) uint8 category positions of an id map."""
    ids, segments = image.ids, image.segments
    highest = int(ids.max()) if ids.size else 0
    if highest < _LOOKED_UP:
        table = np.full(highest + 1, zero, np.uint8)
        inside = segments.ids <= highest
        table[segments.ids[inside]] = segments.categories[inside]
        return table[ids]
    found, inverse = np.unique(ids, return_inverse=True)
    order = np.argsort(segments.ids)
    table = np.full(len(found), zero, np.uint8)
    places = np.searchsorted(segments.ids, found[found > 0], sorter=order)
    table[found > 0] = segments.categories[order[places]]
    return table[inverse.reshape(ids.shape)]

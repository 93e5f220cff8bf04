"""One image measured with its objects: its categories as ever, and its segments beside the true ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskwright.evaluate.measure import Measured, measure
from maskwright.evaluate.segments import SegmentMap, measure_segments
from maskwright.labels import InstanceMap
from maskwright.metrics import Segments, panoptic_map
from maskwright.panoptic import PanopticMap
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import IGNORE, Categories, LabelMap, Probabilities


def measure_objects(
    truth: LabelMap,
    objects: InstanceMap | None,
    label: LabelMap,
    found: PanopticMap,
    categories: Categories,
    spec: EvaluateSpec,
    *,
    stuff: bool,
    probabilities: Probabilities | None = None,
    where: str,
) -> Measured:
    """Measure one image.

    Args:
        truth: (H, W) uint8 positions with `IGNORE`.
        objects: (H, W) true ids, 0 for none; None: nobody told them apart, and pixels of a thing are one group.
        label: (H, W) uint8 predicted positions.
        found: what is predicted.
        categories: of all of these.
        spec: which families.
        stuff: segments of stuff count, too, as in panoptic segmentation; else the first category is the background,
            and pixels of things without an id don't count.
        probabilities: (C, H, W), for calibration.
        where: the image's name, for error messages.
    """
    base = measure(truth, label, categories, spec, probabilities=probabilities, where=where)
    families = tuple(family for family in spec.families if family in ("panoptic", "instances"))
    if not families:
        return base
    ids = np.zeros(truth.shape, np.int32) if objects is None else objects
    things = categories.things
    if stuff:
        known, segments = panoptic_map(truth, ids, len(categories), things=things, where=where)
        true, void = SegmentMap(known, segments), None
    else:
        thing = np.isin(truth, things)
        known, segments = panoptic_map(
            np.where(thing, truth, IGNORE), ids, len(categories), things=things, loose="void", where=where
        )
        true, void = SegmentMap(known, segments), (truth == IGNORE) | (thing & (ids == 0))
    segmented = measure_segments(
        true,
        _segments(found, things, stuff=stuff),
        categories,
        spec.model_copy(update={"families": families}),
        zero="void" if stuff else "background",
        void=void,
        where=where,
    )
    uncounted = [thing for thing in things if (truth == thing).any() and not ids[truth == thing].any()]
    for name in ("sbd", "count_difference"):
        if name in segmented.columns:  # nobody told the objects of this image apart
            segmented.columns[name][uncounted] = np.nan
    columns = base.columns | segmented.columns | _loose(label, found, len(categories), things)
    return replace(base, columns=columns, detections=segmented.detections)


def _loose(label: LabelMap, found: PanopticMap, count: int, things: list[int]) -> dict[str, npt.NDArray[np.int64]]:
    """Return (C,) predicted pixels of each thing, and how many of them are of no object."""
    isthing = np.isin(np.arange(count), things)
    pixels, loose = (np.bincount(own, minlength=256)[:count] for own in (label.ravel(), label[found.ids == 0]))
    return {"thing_pixels": pixels * isthing, "loose_pixels": loose * isthing}


def _segments(found: PanopticMap, things: list[int], *, stuff: bool) -> SegmentMap:
    """Return the predicted segments; stuff, of which AP knows nothing, is as sure as can be, a thing without a score
    comes last.
    """
    own = np.isin(found.segments.categories, things)
    scores = np.where(np.isnan(found.segments.scores), np.where(own, 0.0, 1.0), found.segments.scores)
    kept = np.ones(len(own), bool) if stuff else own
    segments = Segments.of(found.segments.ids[kept], found.segments.categories[kept], scores=scores[kept])
    return SegmentMap(found.ids if stuff else found.instances(things), segments)

"""Instances into a semantic map: the surest first, then what is stuff, then what is left of things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.data.formats.pieces import objects_of
from maskwright.errors import DataError, problem
from maskwright.labels import components
from maskwright.metrics.segments import Segments
from maskwright.panoptic.map import PanopticMap
from maskwright.recipe.panoptic import MergeSpec
from maskwright.types import IGNORE, Array, LabelMap

Mask = npt.NDArray[np.bool_]
Window = tuple[slice, slice]


def merge(
    semantic: Array,
    instances: Array,
    things: Sequence[int],
    rule: MergeSpec | None = None,
    *,
    scores: npt.ArrayLike | None = None,
    classes: npt.ArrayLike | None = None,
    void: Mask | None = None,
    where: str = "merge",
) -> PanopticMap:
    """Merge instances into a semantic map.

    Instances whose score is high enough are taken from the highest score to the lowest, equal ones in their order. One
    is dropped if too much of it lies in those before it, all their pixels counted; else it takes its pixels that are
    free. Then each category of stuff takes the free pixels that have its label, if these are enough. What is left of
    things is void or given away. Everything else is void.

    Args:
        semantic: (C, H, W) float probabilities, or (H, W) uint8 map of category positions with `IGNORE`.
        instances: (H, W) integer ids, 0 for none, or (K, H, W) bool masks that may overlap.
        things: positions of the categories that are things.
        rule: thresholds and choices; areas are shares of H · W, and an area as large as that is enough. None: the
            defaults, rule C.
        scores: (K,) in 0..1 of the masks, or of the ids in rising order; NaN or None: the instance has none, is not
            dropped for it, and comes after those that have one, larger areas first.
        classes: (K,) category positions likewise; needed if `rule.class_from` is "instance".
        void: (H, W) pixels of things that are not given away, whatever `rule.thing_leftover` says; None: none.
        where: the image's name, for error messages.

    Returns:
        The map: ids of instances first, in the order in which they were taken, then of components that were left, then
        of stuff. An instance without a pixel vanishes; with `class_from="vote"` one without a pixel of a thing, too.

    Raises:
        DataError: shapes that don't fit, probabilities that aren't finite, or classes that are no things or missing.

    Example:
        >>> found = merge(np.uint8([[0, 0, 1, 1]]), np.int32([[0, 5, 5, 5]]), things=[1])
        >>> found.ids.tolist(), found.segments.categories.tolist()
        ([[2, 2, 1, 1]], [1, 0])
    """
    rule = rule or MergeSpec()
    label = _label(semantic, where)
    found = _instances(label, instances, things, rule, scores, classes, where)
    canvas = _Canvas(np.zeros(label.shape, np.int32))
    used = np.zeros(label.shape, bool)
    for one in found:
        window, mask = one.window, one.mask
        area = int(np.count_nonzero(mask))
        if int(np.count_nonzero(mask & used[window])) > rule.overlap * area:
            continue
        free = mask & ~used[window]
        if int(np.count_nonzero(free)) < max(1.0, rule.thing_min_area * label.size):
            continue
        used[window] |= mask
        canvas.paint(free, one.category, one.score, window)
    _give_away(canvas, label if void is None else np.where(void, np.uint8(IGNORE), label), things, rule)
    _paint_stuff(canvas, label, things, rule)
    return canvas.done(where)


@dataclass(frozen=True)
class _Instance:
    """What may be taken: pixels in a window, a category, and a score or NaN."""

    window: Window
    mask: Mask
    category: int
    score: float


@dataclass
class _Canvas:
    """The ids painted so far, and what they are."""

    ids: npt.NDArray[np.int32]
    categories: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def paint(self, mask: Mask, category: int, score: float = np.nan, window: Window = np.s_[:, :]) -> None:
        self.categories.append(category)
        self.scores.append(score)
        self.ids[window][mask] = len(self.categories)

    def done(self, where: str) -> PanopticMap:
        """Return the map, without the ids whose pixels were all painted over."""
        segments = Segments.of(np.arange(1, len(self.categories) + 1), self.categories, scores=self.scores, where=where)
        return PanopticMap(self.ids, segments)


def _paint_stuff(canvas: _Canvas, label: LabelMap, things: Sequence[int], rule: MergeSpec) -> None:
    """Give each category of stuff the free pixels that have its label, if these are enough."""
    for category in np.setdiff1d(np.unique(label), [*things, IGNORE]):
        free = (label == category) & (canvas.ids == 0)
        if int(np.count_nonzero(free)) >= max(1.0, rule.stuff_min_area * label.size):
            canvas.paint(free, int(category))


def _label(semantic: Array, where: str) -> LabelMap:
    if semantic.ndim == 2 and semantic.dtype == np.uint8:
        return semantic
    if semantic.ndim != 3 or semantic.dtype.kind != "f" or not 0 < len(semantic) < IGNORE:
        expected, got = "(C, H, W) probabilities or an (H, W) uint8 label map", f"{semantic.dtype} {semantic.shape}"
    elif bad := semantic.size - int(np.count_nonzero(np.isfinite(semantic))):
        expected, got = "probabilities that are finite", f"{bad} of {semantic.size} values that are NaN or infinite"
    else:
        label: LabelMap = semantic.argmax(axis=0).astype(np.uint8)
        return label
    raise DataError(problem(expected, got, where=where, next_move="give the network's softmax or its argmax"))


def _instances(
    label: LabelMap,
    instances: Array,
    things: Sequence[int],
    rule: MergeSpec,
    scores: npt.ArrayLike | None,
    classes: npt.ArrayLike | None,
    where: str,
) -> list[_Instance]:
    """Return the instances whose score is high enough, the surest first."""
    masks = _masks(instances, label.shape, where)
    sure = np.full(len(masks), np.nan) if scores is None else np.asarray(scores, np.float64)
    stated = np.full(len(masks), IGNORE) if classes is None else np.asarray(classes)
    _check_stated(len(masks), sure, stated, things, rule, where)
    isthing = np.zeros(256, bool)
    isthing[list(things)] = True
    found = []
    for (window, mask), score, category in zip(masks, sure, stated, strict=True):
        if score < rule.score_threshold:  # not so for NaN
            continue
        inside = label[window]
        pixels = mask & isthing[inside] if rule.within == "things" else mask
        if rule.class_from == "vote":
            votes = np.bincount(inside[mask], minlength=256) * isthing
            category = votes.argmax() if votes.any() else IGNORE
        if category != IGNORE and pixels.any():
            found.append(_Instance(window, pixels, int(category), float(score)))
    areas = [int(np.count_nonzero(one.mask)) for one in found]
    bare = [bool(np.isnan(one.score)) for one in found]
    keys = [(b, -a if b else -one.score, i) for i, (one, a, b) in enumerate(zip(found, areas, bare, strict=True))]
    return [found[i] for *_, i in sorted(keys)]


def _masks(instances: Array, shape: tuple[int, ...], where: str) -> list[tuple[Window, Mask]]:
    """Return the window and the pixels of each instance, in the order of ids or masks."""
    ids = instances.ndim == 2 and instances.dtype.kind in "iu"
    if not (ids or (instances.ndim == 3 and instances.dtype == bool)) or instances.shape[-2:] != shape:
        raise DataError(
            problem(
                f"instances as integer ids {shape} or as (K, {shape[0]}, {shape[1]}) bool masks",
                f"{instances.dtype} {instances.shape}",
                where=where,
                next_move="bring them to the size of the semantic map, by nearest neighbours",
            )
        )
    return _windows(instances) if ids else [_cropped(mask) for mask in instances]


def _windows(ids: Array) -> list[tuple[Window, Mask]]:
    shapes = [drawn for _, drawn in objects_of(ids)] if ids.size else []
    return [(np.s_[d.top : d.top + d.pixels.shape[0], d.left : d.left + d.pixels.shape[1]], d.pixels) for d in shapes]


def _cropped(mask: Mask) -> tuple[Window, Mask]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return np.s_[:0, :0], mask[:0, :0]
    window = np.s_[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    return window, mask[window]


def _check_stated(
    count: int, scores: Array, classes: Array, things: Sequence[int], rule: MergeSpec, where: str
) -> None:
    asked = rule.class_from == "instance"
    if scores.shape != (count,) or classes.shape != (count,):
        got = f"{scores.shape} scores and {classes.shape} classes"
        expected = f"one score and one class for each of {count} instances"
    elif asked and count and not np.isin(classes, list(things)).all():
        expected = f"classes among the things {sorted(things)}, because class_from is instance"
        got = "none" if (classes == IGNORE).all() else f"{sorted(set(classes.tolist()) - set(things))}"
    else:
        return
    raise DataError(
        problem(expected, got, where=where, next_move="give them in the order of the ids, or let the pixels vote")
    )


def _give_away(canvas: _Canvas, label: LabelMap, things: Sequence[int], rule: MergeSpec) -> None:
    """Give pixels of things that no instance took to the nearest instance of the category, or number what is left."""
    if rule.thing_leftover == "void":
        return
    taken = np.append(IGNORE, canvas.categories).astype(np.uint8)[canvas.ids]
    for category in things:
        left = (label == category) & (canvas.ids == 0)
        if not left.any():
            continue
        if rule.thing_leftover == "components":
            for window, mask in _windows(components(left)[0]):
                if int(np.count_nonzero(mask)) >= rule.thing_min_area * label.size:
                    canvas.paint(mask, category, window=window)
        elif (taken == category).any():
            nearest = ndimage.distance_transform_edt(taken != category, return_distances=False, return_indices=True)
            canvas.ids[left] = canvas.ids[tuple(nearest[:, left])]

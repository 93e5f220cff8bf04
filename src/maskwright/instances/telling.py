"""From what networks say of an image to its objects: clustered at working size, cleaned up and merged at its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from maskwright.cluster import build_clusterer, cluster_things, join_across
from maskwright.data.formats.pieces import objects_of
from maskwright.data.intensity import resize_instances
from maskwright.errors import DataError, problem
from maskwright.instances.features import agreement
from maskwright.instances.objectness import ObjectScores
from maskwright.labels import InstanceMap, components, relabel_consecutive
from maskwright.panoptic import PanopticMap, count_votes, merge
from maskwright.postprocess import split_touching
from maskwright.postprocess.instances import erode_then_dilate, split_parts
from maskwright.recipe.instances import InstancesSpec
from maskwright.types import Array, LabelMap, Probabilities

Mask = npt.NDArray[np.bool_]


def tell_apart(
    probabilities: Probabilities,
    embeddings: Array,
    things: Sequence[int],
    spec: InstancesSpec,
    *,
    guide: LabelMap | None = None,
    device: str | None = None,
    where: str = "tell_apart",
) -> InstanceMap:
    """Return the objects of an image, at the size that the network works at.

    The pixels where a thing is the most probable category are clustered, each category apart from the others, unless
    `spec.across` has them all together.

    Args:
        probabilities: (C, h, w).
        embeddings: (E, h, w).
        things: positions of the categories that are things.
        spec: how they are clustered, which are too small, and what parts two that touch.
        guide: (h, w) uint8 positions inside of which is clustered; None: the most probable category of each pixel.
        device: where torch computes distances; None: NumPy does.
        where: the image's name, for error messages.

    Returns:
        (h, w) int32 ids from 1 on, 0 for none: nothing but 0 where no thing is probable. Constant embeddings are one
        object a category, or with `spec.apart` one for each of its components.

    Raises:
        DataError: probabilities or, where things are, embeddings that aren't finite; sizes that differ.
    """
    if bad := probabilities.size - int(np.count_nonzero(np.isfinite(probabilities))):
        raise DataError(
            problem(
                "probabilities that are finite",
                f"{bad} of {probabilities.size} values that are NaN or infinite",
                where=where,
                next_move="train anew with a lower learning rate: the training has diverged",
            )
        )
    label: LabelMap = probabilities.argmax(axis=0).astype(np.uint8) if guide is None else guide.copy()
    if spec.across and len(things):
        label[np.isin(label, things)] = things[0]  # one mask for all of them
    spec = spec.filled_in()

    def tidied(instances: InstanceMap, mask: Mask) -> InstanceMap:
        return join_across(_tidied(instances, mask, spec), embeddings, spec.border or 0.0)

    clusterer = build_clusterer(spec.cluster, device=device)
    return cluster_things(embeddings, label, things, clusterer, tidy=tidied, where=where)


def to_panoptic(
    label: LabelMap,
    instances: InstanceMap,
    probabilities: Probabilities,
    things: Sequence[int],
    spec: InstancesSpec,
    *,
    scores: ObjectScores | None = None,
    middles: Mapping[int, int] | None = None,
    where: str = "to_panoptic",
) -> PanopticMap:
    """Return the panoptic map of an image at its own size, each instance with its score.

    Instances are brought to the label's size, within the pixels of their category, cleaned up and merged into it. What
    post-processing added to a category goes to the nearest instance of the same connected component, if it has one.

    Args:
        label: (H, W) uint8 positions, after post-processing.
        instances: (h, w) int32 ids of `tell_apart`, at this or another size.
        probabilities: (C, H, W).
        things: positions of the categories that are things.
        spec: morphology and rule of merging.
        scores: objectness of the ids 1..K of `instances`, of which those below `spec.least`, or what it says itself,
            are left out; None: scores are the mean probability of the category inside.
        middles: things whose objects are told apart by the shape of what the label has of them, whatever `instances`
            says, and how far apart two middles are at least, in pixels; their scores are the mean probability, too.
        where: the image's name, for error messages.
    """
    large = to_size(label, instances, things, spec, added=label != probabilities.argmax(axis=0))
    last, rejected = int(instances.max(initial=0)), np.zeros(label.shape, bool)
    if scores is not None:
        least = scores.least if spec.least is None else spec.least
        rejected = np.isin(large, 1 + np.flatnonzero(scores.probabilities < least))
        large[rejected] = 0
    for thing, distance in (middles or {}).items():
        own = label == thing
        parts = _tidied(split_touching(own, distance), own, spec)
        large[own] = np.where(parts > 0, parts + max(last, int(large.max())), 0)[own]
        rejected &= ~own
    votes = count_votes(label, large, where=where)
    owners = votes.winners(things)
    sure = agreement(large, probabilities, owners)
    if scores is not None:
        judged = votes.ids <= last
        sure[judged] = scores.probabilities[votes.ids[judged] - 1]
    found = merge(label, large, things, spec.merge, scores=sure, classes=owners, void=rejected, where=where)
    return _all_scored(found, probabilities, things)


def _all_scored(found: PanopticMap, probabilities: Probabilities, things: Sequence[int]) -> PanopticMap:
    """Return the map whose objects all have a score: those that are components of what was left, too."""
    segments = found.segments
    bare = np.isin(segments.categories, things) & np.isnan(segments.scores)
    if not bare.any():
        return found
    order = np.flatnonzero(bare)[np.argsort(segments.ids[bare])]
    only = np.where(np.isin(found.ids, segments.ids[order]), found.ids, 0)
    scores = segments.scores.copy()
    scores[order] = agreement(only, probabilities, segments.categories[order])
    return replace(found, segments=replace(segments, scores=scores))


def _tidied(instances: InstanceMap, mask: Mask, spec: InstancesSpec) -> InstanceMap:
    """Return the instances of one category without fragments, whose pixels go to what is beside them, renumbered.

    Pixels of no cluster stay free.
    """
    if not instances.any():
        return instances
    instances = split_parts(instances) if spec.apart else instances
    numbered, count = components(mask)
    pairs, place, areas = np.unique(
        numbered[mask].astype(np.int64) * (int(instances.max()) + 1) + instances[mask],
        return_inverse=True,
        return_counts=True,
    )
    owner, own = np.divmod(pairs, int(instances.max()) + 1)
    large = (own > 0) & (areas >= spec.smallest * _usual(owner, np.where(own > 0, areas, 0), count))
    totals = np.bincount(own[large], areas[large], minlength=int(instances.max()) + 1)
    large &= totals[own] >= spec.minimum
    kept = np.zeros_like(instances)
    kept[mask] = np.where(large, own, 0)[place]
    return relabel_consecutive(_given_away(kept, numbered, (instances > 0) & (kept == 0)))


def _given_away(instances: InstanceMap, numbered: InstanceMap, free: Mask) -> InstanceMap:
    """Return the map in which free pixels went to the nearest instance of their component, if it has any."""
    given = instances.copy()
    for number, drawn in objects_of(np.where(np.isin(numbered, np.unique(numbered[free])), numbered, 0)):
        window = np.s_[drawn.top : drawn.top + drawn.pixels.shape[0], drawn.left : drawn.left + drawn.pixels.shape[1]]
        here = np.where(numbered[window] == number, instances[window], 0)
        if here.any():
            nearest = ndimage.distance_transform_edt(here == 0, return_distances=False, return_indices=True)
            wanted = drawn.pixels & free[window]
            given[window][wanted] = here[tuple(nearest[:, wanted])]
    return given


def _usual(owner: Array, areas: Array, count: int) -> npt.NDArray[np.float64]:
    """Return, for each part of an instance, the usual area in its component: that in which its middle pixel lies."""
    usual = np.zeros(count + 1)
    order = np.lexsort((areas, owner))
    starts = np.searchsorted(owner[order], np.arange(count + 2))
    for number in range(1, count + 1):
        own = areas[order[starts[number] : starts[number + 1]]]
        if len(own):
            usual[number] = own[np.searchsorted(np.cumsum(own), own.sum() / 2)]
    return usual[owner]


def to_size(
    label: LabelMap, instances: InstanceMap, things: Sequence[int], spec: InstancesSpec, *, added: Mask | None = None
) -> InstanceMap:
    """Return the instances at the label's size, each within the pixels of the thing that most of its pixels are, or of
    any thing with `spec.across`.

    Ids stay; what the label leaves no pixel of is gone.

    Args:
        label: (H, W) uint8 positions.
        instances: (h, w) int32 ids of `tell_apart`, at this or another size.
        things: positions of the categories that are things.
        spec: erosion and dilation.
        added: (H, W), what was of another category when it was clustered: goes to the nearest of its component.
    """
    ratio = max(own / small for own, small in zip(label.shape, instances.shape, strict=True))
    # enlarged by nearest neighbours, an edge is as rough as a pixel was large: what is free beside it is filled
    reach = 1 if label.shape == instances.shape else 2 * math.ceil(ratio) + 1
    large = resize_instances(instances, (label.shape[0], label.shape[1]))
    votes = count_votes(label, large)
    owner = np.full(int(large.max(initial=0)) + 1, -1)
    owner[votes.ids] = votes.winners(things)
    found = np.zeros(label.shape, np.int32)
    for group in [list(things)] if spec.across else [[category] for category in things]:
        own = np.isin(label, group)
        kept = np.where(own & np.isin(owner[large], group), large, np.int32(0))
        if spec.erosion > 1 or max(spec.dilation, reach) > 1:
            kept = erode_then_dilate(kept, erosion=spec.erosion, dilation=max(spec.dilation, reach), mask=own)
        if added is not None and (free := own & added & (kept == 0)).any():
            kept = _given_away(kept, components(own)[0], free)
        found[own] = kept[own]
    return found

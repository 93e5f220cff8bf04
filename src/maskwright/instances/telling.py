"""From what networks say of an image to its objects: clustered at working size, cleaned up and merged at its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from maskwright.cluster import build_clusterer, cluster_things
from maskwright.data.intensity import resize_instances
from maskwright.errors import DataError, problem
from maskwright.instances.features import agreement
from maskwright.labels import InstanceMap, relabel_consecutive
from maskwright.panoptic import PanopticMap, count_votes, merge
from maskwright.postprocess.instances import erode_then_dilate, remove_small_parts, split_parts
from maskwright.recipe.instances import InstancesSpec
from maskwright.types import Array, LabelMap, Probabilities


def tell_apart(
    probabilities: Probabilities,
    embeddings: Array,
    things: Sequence[int],
    spec: InstancesSpec,
    *,
    device: str | None = None,
    where: str = "tell_apart",
) -> InstanceMap:
    """Return the objects of an image, at the size that the network works at.

    The pixels where a thing is the most probable category are clustered, each category apart from the others.

    Args:
        probabilities: (C, h, w).
        embeddings: (E, h, w).
        things: positions of the categories that are things.
        spec: how they are clustered, and which are too small.
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
    label: LabelMap = probabilities.argmax(axis=0).astype(np.uint8)
    clusterer = build_clusterer(spec.cluster, device=device)
    found = cluster_things(embeddings, label, things, clusterer, minimum=spec.minimum, where=where)
    return split_parts(remove_small_parts(found, spec.minimum)) if spec.apart else found


def to_panoptic(
    label: LabelMap,
    instances: InstanceMap,
    probabilities: Probabilities,
    things: Sequence[int],
    spec: InstancesSpec,
    *,
    where: str = "to_panoptic",
) -> PanopticMap:
    """Return the panoptic map of an image at its own size, each instance with its score.

    Instances are brought to the label's size, within the pixels of their category, cleaned up and merged into it. The
    score is the mean probability of the category inside.

    Args:
        label: (H, W) uint8 positions, after post-processing.
        instances: (h, w) int32 ids of `tell_apart`, at this or another size.
        probabilities: (C, H, W).
        things: positions of the categories that are things.
        spec: morphology and rule of merging.
        where: the image's name, for error messages.
    """
    large = relabel_consecutive(_cleaned(label, instances, things, spec))
    owners = count_votes(label, large, where=where).winners(things)
    scores = agreement(large, probabilities, owners)
    return merge(label, large, things, spec.merge, scores=scores, classes=owners, where=where)


def _cleaned(label: LabelMap, instances: InstanceMap, things: Sequence[int], spec: InstancesSpec) -> InstanceMap:
    """Return the instances at the label's size, each within the pixels of the thing that most of its pixels are."""
    ratio = max(own / small for own, small in zip(label.shape, instances.shape, strict=True))
    # enlarged by nearest neighbours, an edge is as rough as a pixel was large: what is free beside it is filled
    reach = 1 if label.shape == instances.shape else 2 * math.ceil(ratio) + 1
    large = resize_instances(instances, (label.shape[0], label.shape[1]))
    votes = count_votes(label, large)
    owner = np.full(int(large.max(initial=0)) + 1, -1)
    owner[votes.ids] = votes.winners(things)
    found = np.zeros(label.shape, np.int32)
    for category in things:
        own = label == category
        kept = np.where(own & (owner[large] == category), large, np.int32(0))
        if spec.erosion > 1 or max(spec.dilation, reach) > 1:
            kept = erode_then_dilate(kept, erosion=spec.erosion, dilation=max(spec.dilation, reach), mask=own)
        found[own] = kept[own]
    return found

"""Objects that are learned from without a mask: which ones can be relied on, and what they say of the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.instances.telling import to_size
from maskwright.labels import InstanceMap
from maskwright.panoptic import count_votes, vote_labels
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.selftrain import ObjectLabelsSpec
from maskwright.types import IGNORE, LabelMap

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class ObjectLabels(NamedTuple):
    """What is learned from an image whose objects were predicted.

    Attributes:
        label: (H, W) uint8 positions with `IGNORE`.
        before: the same before objects voted.
        ids: (H, W) int32 of the objects that can be relied on, 0 for none.
        found: (256,) how many objects of each category there were: of those that are kept, what they are learned as.
        kept: (256,) how many of these can be relied on.
        voted: (256,) pixels that the votes gave each category.
    """

    label: LabelMap
    before: LabelMap
    ids: InstanceMap
    found: Integers
    kept: Integers
    voted: Integers

    def counts(self) -> dict[str, Integers]:
        """Return the columns of the ledger."""
        return {"objects": self.found, "objects_kept": self.kept, "moved_by_votes": self.voted}


def object_labels(
    label: LabelMap,
    said: LabelMap,
    objects: InstanceMap,
    chances: Floats,
    things: Sequence[int],
    wanted: ObjectLabelsSpec,
    spec: InstancesSpec,
    *,
    stability: Floats | None = None,
    voters: InstanceMap | None = None,
) -> ObjectLabels:
    """Choose the objects that are learned from, let them vote, and blank the pixels of things that are of no such one.

    Args:
        label: (H, W) uint8 what is learned from of the categories, `IGNORE` where that isn't sure enough.
        said: (H, W) uint8 the most probable category of each pixel.
        objects: (h, w) int32 ids 1..K of `tell_apart`.
        chances: (K,) objectness of these.
        things: positions of the categories that are things.
        wanted: what an object must be.
        spec: erosion and dilation.
        stability: (K,) of these; needed if `wanted.stable` is stated.
        voters: (H, W) ids of the objects that vote, such as the true ones; None: those that are kept.
    """
    large = to_size(said, objects, things, spec)
    counted = count_votes(said, large)
    sure = np.zeros(int(objects.max(initial=0)) + 1, bool)
    sure[1:] = True if wanted.objectness is None else chances >= wanted.objectness
    if wanted.stable is not None:
        assert stability is not None, "stability is worked out where it is asked for"
        sure[1:] &= stability >= wanted.stable
    result, ids = label.copy(), np.where(sure[large], large, np.int32(0))
    if wanted.rest == "ignore":  # what is of an object that isn't sure, or of a thing and of no object at all
        result[np.where(large > 0, ~sure[large], np.isin(said, things))] = IGNORE
    before = result
    if wanted.votes != "none":
        result = vote_labels(result, ids if voters is None else voters, among=things)
    owners, taught = counted.winners(things), count_votes(result, large).winners(things)
    owners = np.where(sure[counted.ids] & (taught != IGNORE), taught, owners)
    return ObjectLabels(
        label=result,
        before=before,
        ids=ids,
        found=np.bincount(owners, minlength=256),
        kept=np.bincount(owners[sure[counted.ids]], minlength=256),
        voted=np.bincount(result[result != before], minlength=256),
    )

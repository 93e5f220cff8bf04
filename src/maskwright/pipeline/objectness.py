"""Objectness in a run: what tells true objects from false ones, learned from out-of-fold objects beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.artifacts import RunFolder, read_folds
from maskwright.data.formats.files import name_of
from maskwright.data.index import Index, scored
from maskwright.data.intensity import resize_instances, resize_label
from maskwright.data.store import ProbabilityStore
from maskwright.instances.features import truly_matched
from maskwright.instances.objectness import Objectness, fit_objectness
from maskwright.instances.store import read_features, read_objects
from maskwright.labels import InstanceMap
from maskwright.panoptic import count_votes
from maskwright.progress import track
from maskwright.split import HELD_OUT
from maskwright.types import IGNORE, LabelMap

JUDGES = "objectness.json"
"""Name of the file of a round's classifiers."""


@dataclass(frozen=True)
class Judges:
    """Classifiers of objects: one fitted on all folds, and of each fold the one that has seen none of its truth.

    Attributes:
        whole: for images that are in no fold.
        folds: fold → for its images, and for what its network learns from.
    """

    whole: Objectness
    folds: dict[int, Objectness]

    def of(self, fold: int) -> Objectness:
        """Return the one that may be asked about an image of a fold."""
        return self.folds.get(fold, self.whole)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "objectness": self.whole.to_plain(),
            "fold_objectness": {str(fold): one.to_plain() for fold, one in self.folds.items()},
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Judges | None:
        """Return what `to_plain` made, None where it holds none."""
        if plain.get("objectness") is None:
            return None
        folds = {int(fold): Objectness.from_plain(one) for fold, one in plain["fold_objectness"].items()}
        return cls(Objectness.from_plain(plain["objectness"]), folds)


def fit_judges(folder: RunFolder, whole: Index, number: int | None = None) -> Judges:
    """Fit classifiers on the out-of-fold objects of a round; without such, they are the default.

    What is fitted for a fold has seen nothing of its truth: objects of the other folds alone, each beside its own
    image's. The networks that predicted these were trained on the fold's masks, as those of all cross-fitting.

    Args:
        folder: of the run.
        whole: its index.
        number: of the round; None: the adopted one.
    """
    rows = scored(whole, read_folds(folder.folds).filter(pl.col("fold") != HELD_OUT))
    images, store = whole.only(rows["image"].to_list()), ProbabilityStore(folder.store("oof", number))
    folds, groups = rows["fold"].to_numpy(), rows["group"].to_list()
    if len(set(folds.tolist())) < 2:
        return Judges(Objectness(), {})
    found = [
        _cases(images, row, store)
        for row in track(range(len(images)), f"judge objects, round {number or 0}", len(images))
    ]
    features, truth = (np.concatenate(parts) for parts in list(zip(*found, strict=True))[:2])
    counts, missed = [len(one) for _, one, _ in found], np.array([count for _, _, count in found])
    group = np.repeat(np.unique(groups, return_inverse=True)[1], counts)

    def fitted(images: npt.NDArray[np.bool_]) -> Objectness:
        there = np.repeat(images, counts)
        return fit_objectness(features[there], truth[there], group[there], missed=int(missed[images].sum()))

    return Judges(
        fitted(np.ones(len(folds), bool)),
        {int(number): fitted(folds != number) for number in sorted(set(folds.tolist()))},
    )


def unknown_pixels(truth: LabelMap, ids: InstanceMap, things: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return (H, W) where nobody knows what is true: what is ignored, and things without an id."""
    return np.asarray((truth == IGNORE) | (np.isin(truth, things) & (ids == 0)))


def truly_matched_things(
    objects: InstanceMap, owners: Sequence[int], truth: LabelMap, ids: InstanceMap, things: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Return (K,) of each object, in the order of the ids: 1 where a true one of its category matches it, else 0.

    NaN where that isn't known: see `truly_matched`; unknown is what is ignored, and things that nobody numbered.

    Args:
        objects: (h, w) ids.
        owners: (K,) category positions.
        truth: (h, w) uint8 positions with `IGNORE`.
        ids: (h, w) ids of the true objects, 0 for none.
        things: positions of the categories that are things.
    """
    known = np.unique(objects[objects > 0])
    unknown = unknown_pixels(truth, ids, things)
    found = np.zeros(len(known))
    for thing in things:
        own = known[np.asarray(owners) == thing]
        true = np.where(truth == thing, ids, np.int32(0))
        mine = np.where(np.isin(objects, own), objects, np.int32(0))
        found[np.isin(known, own)] = truly_matched(mine, true, unknown=unknown)
    return found


def _cases(
    images: Index, row: int, store: ProbabilityStore
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]:
    """Return features and truth of an image's objects, at working size, and how many true ones none of them matches.

    None where nobody told its objects apart.
    """
    name = name_of(images.images[row])
    features, truth, ids = read_features(store, name), images.read_label(row), images.read_instances(row)
    if truth is None or ids is None:
        return features[:0], np.zeros(0), 0
    objects = read_objects(store, name)
    size = (objects.shape[0], objects.shape[1])
    things = images.categories.things
    owners = count_votes(store.read(name).argmax(0).astype(np.uint8), objects).winners(things).tolist()
    known = truly_matched_things(objects, owners, resize_label(truth, size), resize_instances(ids, size), things)
    there = len(np.unique(ids[np.isin(truth, things) & (ids > 0)]))
    return features, known, there - int(np.nansum(known))

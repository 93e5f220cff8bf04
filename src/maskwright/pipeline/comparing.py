"""Objects of the pool that a round learned from, beside the true ones, for studies: counts and pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.artifacts import MADE, RunFolder, write_bytes, write_table
from maskwright.data.categories import as_written, read_label
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids, read_image
from maskwright.data.index import Index
from maskwright.instances.features import truly_matched
from maskwright.labels import InstanceMap, relabel_consecutive
from maskwright.panoptic import count_votes
from maskwright.pictures import encode, fit, instance_picture, judged_picture, side_by_side, to_rgb8
from maskwright.pipeline import rounds, stages
from maskwright.pipeline.objectness import truly_matched_things, unknown_pixels
from maskwright.progress import track
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.types import LabelMap

_DRAWN = 6
"""Images that are drawn, of the first fold."""
_LONGEST = 320
_SCHEMA: dict[str, Any] = {
    "fold": pl.Int64,
    "image": pl.String,
    "category": pl.String,
    "true": pl.Int64,
    "false": pl.Int64,
    "unknown": pl.Int64,
    "missed": pl.Int64,
    "drawn": pl.Boolean,
}


class Compared(NamedTuple):
    """Objects of an image beside the true ones.

    Attributes:
        ids: (H, W) int32 1..K of those that something was learned from: a pixel of each is labelled as a thing.
        owners: (K,) category positions of the objects.
        right: (K,) 1 where one matches a true one of its category, 0 where none does, NaN where that isn't known.
        missed: (H, W) int32 the true objects that none matches, 0 for none.
        missing: (C,) how many of each category these are.
    """

    ids: InstanceMap
    owners: npt.NDArray[np.int64]
    right: npt.NDArray[np.float64]
    missed: InstanceMap
    missing: npt.NDArray[np.int64]


def compare(root: Path, spec: dict[str, Any]) -> None:
    """Compare what a round learned from with the truth: round-R/pseudo/compared.parquet, compared/NAME.jpg.

    Images of the pool without a true map are left out. A row is one category of one image, as one fold learned it.
    """
    folder, number = RunFolder(root), spec["round"]
    whole, method = stages.decided(folder, spec), SelftrainSpec.model_validate(spec["selftrain"]).method
    assert isinstance(method, PseudoLabelsSpec)
    place = root / f"round-{number}" / "pseudo"
    shutil.rmtree(place / "compared", ignore_errors=True)
    (place / "compared").mkdir(parents=True)
    found = list[dict[str, Any]]()
    with_truth = set(whole.table.drop_nulls([whole.label_column, "instances"])["image"])
    for fold in range(spec["split"]["folds"]):
        labels = rounds.label_files(folder, number, fold, rounds.last_ledger(folder, number, fold, method))
        objects = rounds.object_files(folder, labels)
        known = sorted(with_truth.intersection(labels))
        for row, image in enumerate(track(known, f"compare the pool, fold {fold}", len(known))):
            label = read_label(root / labels[image].removeprefix(MADE), as_written(whole.categories))
            ids = read_ids(root / objects[image].removeprefix(MADE)).astype(np.int32)
            one, drawn = compare_objects(whole, image, label, ids), fold == 0 and row < _DRAWN
            found += [{"fold": fold, "image": image, "drawn": drawn} | counts for counts in _counted(whole, one)]
            if drawn:
                write_bytes(place / "compared" / f"{name_of(image)}.jpg", _drawn(whole, image, one))
    write_table(place / "compared.parquet", pl.DataFrame(found, schema=_SCHEMA))


def compare_objects(whole: Index, image: str, label: LabelMap, ids: InstanceMap) -> Compared:
    """Return how the objects of an image of the pool compare with its true ones, which the index has.

    Args:
        whole: the index.
        image: of it.
        label: (H, W) uint8 positions that are learned from, `IGNORE` where nothing is.
        ids: (H, W) int32 ids that are learned from, 0 for none.
    """
    one, things = whole.only([image]), whole.categories.things
    truth, true = one.read_label(0), one.read_instances(0)
    assert truth is not None and true is not None
    taught = np.unique(ids[np.isin(label, things)])
    ids = relabel_consecutive(np.where(np.isin(ids, taught), ids, np.int32(0)))
    owners = count_votes(label, ids).winners(things)
    right = truly_matched_things(ids, owners.tolist(), truth, true, things)
    unknown = unknown_pixels(truth, true, things)
    missed, missing = np.zeros(truth.shape, np.int32), np.zeros(len(whole.categories), np.int64)
    for thing in things:
        theirs = relabel_consecutive(np.where(truth == thing, true, np.int32(0)))
        mine = np.where(np.isin(ids, 1 + np.flatnonzero(owners == thing)), ids, np.int32(0))
        mine[unknown] = 0  # as where these are matched: what nobody knows of makes none too large
        lost = 1 + np.flatnonzero(truly_matched(theirs, mine) == 0)
        missed = np.where(np.isin(theirs, lost), theirs + missed.max(), missed)
        missing[thing] = len(lost)
    return Compared(ids, owners, right, missed, missing)


def _counted(whole: Index, one: Compared) -> list[dict[str, Any]]:
    """Return the counts of each thing."""
    rows = []
    for thing in whole.categories.things:
        right = one.right[one.owners == thing]
        counts = {"true": right == 1, "false": right == 0, "unknown": np.isnan(right)}
        sums = {name: int(np.count_nonzero(where)) for name, where in counts.items()}
        rows.append({"category": whole.categories.names[thing], **sums, "missed": int(one.missing[thing])})
    return rows


def _drawn(whole: Index, image: str, one: Compared) -> bytes:
    """Return a JPEG of the image, its objects judged, and the true ones over it."""
    pixels, true = to_rgb8(fit(read_image(whole.path(image)), _LONGEST)), whole.only([image]).read_instances(0)
    assert true is not None
    known = np.where(np.isin(one.ids, 1 + np.flatnonzero(~np.isnan(one.right))), one.ids, np.int32(0))
    small, missed, theirs = (fit(own, _LONGEST) for own in (known, one.missed, true))
    judged = judged_picture(pixels, small, (1 + np.flatnonzero(one.right == 1)).tolist(), missed)
    return encode(side_by_side([pixels, judged, instance_picture(pixels, theirs)]), "jpeg", 85)

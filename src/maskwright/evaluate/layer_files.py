"""Folders with masks/ and instances/ as panoptic pairs: what each pixel is, and which object it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskwright.data.categories import read_label
from maskwright.data.images import read_ids
from maskwright.errors import DataError, problem
from maskwright.evaluate.label_files import UNKNOWN, LabelPair, check_sizes, label_pairs
from maskwright.evaluate.measure import Measured
from maskwright.evaluate.segments import SegmentMap, measure_segments
from maskwright.metrics import panoptic_map
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories

MASKS, INSTANCES = "masks", "instances"


@dataclass(frozen=True)
class LayerPair:
    """The label files and the id files of an image."""

    name: str
    labels: LabelPair
    ids: LabelPair


def has_layers(place: Path) -> bool:
    """Tell whether a folder holds masks/ and instances/."""
    return (place / MASKS).is_dir() and (place / INSTANCES).is_dir()


def layer_pairs(prediction: Path, truth: Path, *, partial: bool) -> list[LayerPair]:
    """Return the pairs of two folders that hold masks/ and instances/.

    Args:
        prediction: folder of the predicted ones.
        truth: folder of the true ones.
        partial: leave out images without prediction instead of refusing.

    Raises:
        DataError: a folder that lacks either, an image without prediction, or with a mask and no instances.
    """
    labels, ids = (
        {pair.name: pair for pair in label_pairs(prediction / part, truth / part, None, partial=partial)}
        for part in (MASKS, INSTANCES)
    )
    if single := sorted(labels.keys() ^ ids.keys()):
        raise DataError(
            problem(
                f"the same names in {MASKS}/ and {INSTANCES}/",
                f"{len(single)} in one of them only: {', '.join(single[:5])}",
                where=f"{prediction} and {truth}",
                next_move="add the missing files; an image without objects has a file of zeros",
            )
        )
    return [LayerPair(name, labels[name], ids[name]) for name in labels]


def measured_layers(
    pair: LayerPair, *, categories: Categories, predicted_as: Categories, spec: EvaluateSpec
) -> Measured:
    """Read a pair, join its layers and measure it: loose pixels of things are crowd in the truth, else void.

    Raises:
        DataError: files that can't be read, sizes that differ, or values that no category claims.
    """
    things = categories.things
    true = read_label(pair.labels.truth, categories, next_move=UNKNOWN)
    found = read_label(pair.labels.prediction, predicted_as, next_move=UNKNOWN)
    check_sizes(true, found, pair.labels)
    n, of_truth, of_prediction = len(categories), pair.ids.truth, pair.ids.prediction
    joined = panoptic_map(true, read_ids(of_truth), n, things=things, where=str(of_truth))
    other = panoptic_map(found, read_ids(of_prediction), n, things=things, loose="void", where=str(of_prediction))
    return measure_segments(SegmentMap(*joined), SegmentMap(*other), categories, spec, where=pair.name)

"""Objectness against the best thresholds for area and spread, at an equal loss of true objects.

Objects are those that embeddings part in the held-out images of dsb2018, and in images of another world: real nuclei,
by networks that learned from generated ones (`python -m benchmarks object_rounds`). An object is true where one of the
truth overlaps it by more than half. The classifier was fitted on out-of-fold objects of the images that the networks
learned from, and knows nothing of those that are looked at. Its rival keeps what has at least so many pixels and at
most so much spread of its embeddings; of all such pairs it has the best for the very images, in every resample: a gift.
The row is the number of false objects that are left in an image where 2, 5 or 10 % of the true ones are lost; one
threshold for all seeds. Intervals resample the images.

Runs are those of `instances` and of the row `source only` of `object_rounds`, looked for below --keep and made where
they are missing. Resumable: runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.instances import held_out, run_of
from benchmarks.object_rounds import FIRST, source_run
from benchmarks.object_worlds import WORLDS
from benchmarks.parts import labelled_part
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_json
from maskwright.data.images import read_ids
from maskwright.data.store import ProbabilityStore
from maskwright.instances import truly_matched
from maskwright.instances.features import FEATURES
from maskwright.instances.store import read_features, read_objects
from maskwright.labels import relabel_consecutive
from maskwright.pipeline.objectness import Judges
from maskwright.statistics import bootstrap, paired_difference

LOSSES = (0.02, 0.05, 0.1)
"""Shares of the true objects that are lost."""
_STEPS = 400
"""Thresholds that are tried of the classifier, and of area; of spread `_FEWER` of them, for each area."""
_FEWER = 40
_OLD = "area and spread"


@dataclass(frozen=True)
class Kept:
    """What is left of an image's objects at each of so many thresholds.

    Attributes:
        true: (images, thresholds) true objects that are kept.
        false: the same of the others.
        all_true: (images,) true objects.
    """

    true: np.ndarray
    false: np.ndarray
    all_true: np.ndarray

    def false_at(self, loss: float) -> Callable[[np.ndarray], np.ndarray]:
        """Return the false objects an image, the fewest of the thresholds that lose no more, by weights of images."""

        def score(weights: np.ndarray) -> np.ndarray:
            lost = 1 - (weights @ self.true) / (weights @ self.all_true)[:, None]
            false = (weights @ self.false) / weights.sum(1)[:, None]
            return np.asarray(np.where(lost <= loss + 1e-12, false, np.inf).min(1))

        return score


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks objectness", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=["dsb2018", "fluorescence", "stained"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="default: 1000 of dsb2018, 900 of the others")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    rows = record.read("objectness")
    for name in arguments.only:
        read = held_out_objects if name == "dsb2018" else foreign_objects
        found = [read(name, seed, arguments) for seed in arguments.seeds]
        images = np.concatenate([[len(one) for one in seed] for seed in found])
        assert len({len(seed) for seed in found}) == 1 and images.size, "the same images of every seed"
        plain, judged = by_thresholds(found), by_objectness(found)
        for loss in LOSSES:
            rows[f"{name}: {loss:.0%} of the true objects lost"] = to_row(plain, judged, loss, arguments)
        record.write("objectness", rows)


Objects = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of the K objects of an image: whether each is true, its objectness, ln of its area, its spread."""


def held_out_objects(name: str, seed: int, arguments: argparse.Namespace) -> list[Objects]:
    """Return the objects of the held-out images of a supervised run."""
    data = labelled_part(arguments.data / name, arguments.keep / "data" / name)
    own = argparse.Namespace(folder=name, steps=arguments.steps or 1000, holdout=0.3, settings=[], keep=arguments.keep)
    run = run_of(data, "ours", seed, own)
    return objects_of(run, "holdout", {image: data / "instances" / f"{image}.png" for image in held_out(run)})


def foreign_objects(name: str, seed: int, arguments: argparse.Namespace) -> list[Objects]:
    """Return the objects of another world's images, which were the pool of a run on generated ones."""
    own = argparse.Namespace(data=arguments.data, steps=(arguments.steps or 900) // FIRST, keep=arguments.keep)
    run = source_run(WORLDS[name], seed, own)
    truths = sorted((arguments.keep / "data" / name / "target" / "instances").iterdir())
    return objects_of(run, "pool", {f"unlabeled/{path.stem}": path for path in truths})


def objects_of(run: Path, part: str, truths: dict[str, Path]) -> list[Objects]:
    """Return the objects of each image of a store."""
    folder = RunFolder(run)
    store = ProbabilityStore(folder.store(part, 0))
    judges = Judges.from_plain(read_json(folder.tuned))
    assert judges is not None and judges.whole.weights, "a classifier that was fitted"
    found = []
    for name, path in truths.items():
        features, truth = read_features(store, name), relabel_consecutive(read_ids(path))
        true = truly_matched(read_objects(store, name), truth) > 0.5
        area, spread = (features[:, FEATURES.index(column)] for column in ("log_area", "spread"))
        found.append((true, judges.whole.predict(features), area, np.nan_to_num(spread)))
    return found


def by_objectness(seeds: Sequence[list[Objects]]) -> Kept:
    """Return what is left at thresholds of the objectness."""
    every = np.concatenate([judged for seed in seeds for _, judged, _, _ in seed])
    levels = np.unique(np.quantile(every, np.linspace(0, 1, _STEPS)))

    def kept(one: Objects) -> np.ndarray:
        return np.asarray(one[1][:, None] >= levels)

    return _counted(seeds, kept)


def by_thresholds(seeds: Sequence[list[Objects]]) -> Kept:
    """Return what is left at pairs of a least area and a largest spread."""
    areas, spreads = (
        np.unique(np.quantile(np.concatenate([one[k] for seed in seeds for one in seed]), np.linspace(0, 1, steps)))
        for k, steps in ((2, _STEPS), (3, _FEWER))
    )

    def kept(one: Objects) -> np.ndarray:
        large, dense = one[2][:, None] >= areas, one[3][:, None] <= spreads
        return np.asarray((large[:, :, None] & dense[:, None, :]).reshape(len(one[0]), -1))

    return _counted(seeds, kept)


def _counted(seeds: Sequence[list[Objects]], kept: Callable[[Objects], np.ndarray]) -> Kept:
    """Add up what is kept of each image over the seeds, and divide by their number."""
    true, false, every = [], [], []
    for images in zip(*seeds, strict=True):
        tables = [(kept(one), one[0]) for one in images]
        true.append(sum(table[own].sum(0) for table, own in tables) / len(seeds))
        false.append(sum(table[~own].sum(0) for table, own in tables) / len(seeds))
        every.append(sum(own.sum() for _, own in tables) / len(seeds))
    return Kept(np.stack(true), np.stack(false), np.array(every))


def to_row(plain: Kept, judged: Kept, loss: float, arguments: argparse.Namespace) -> Row:
    """Return how many false objects are left at a loss, against the rival's."""
    count, (score, other) = len(judged.all_true), (kept.false_at(loss) for kept in (judged, plain))
    found = bootstrap(score, count, rng=np.random.default_rng(0))
    gain = paired_difference(score, other, count, rng=np.random.default_rng(0))
    ones, details = np.ones((1, count)), dict[str, Any]()
    details["false objects an image without a threshold"] = float(judged.false[:, 0].mean())
    details["true objects an image"] = float(judged.all_true.mean())
    return Row(
        figure=found.value,
        unit=f"false objects an image, mean of {len(arguments.seeds)} seeds, {count} images",
        interval=(found.low, found.high),
        against=_OLD,
        other=float(other(ones)[0]),
        comparison=Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n),
        target="< 0",
        reached=bool(gain.high < 0),
        details=details,
    )


if __name__ == "__main__":
    main()

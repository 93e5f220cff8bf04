"""Objects as a run finds them against a U-Net with a watershed on its mask, at equal steps, on nuclei.

Both learn from the same images in the same two folds with the same encoder and decoder, crops and steps, and the mean
of the folds' networks is scored on the same held-out images of dsb2018; embeddings have a decoder of their own. `ours`
is a run as it comes, which parts objects by embeddings or by shape, whichever has the higher out-of-fold PQ;
`embeddings` are the same networks with `instances.by: embeddings`. The rival's mask is parted by scikit-image's
watershed on the distance to its border, from the peaks of the smoothed distance; how far apart two peaks are at least
is the best of five for the very images that are scored, a gift to the rival. Its components are a row, too. With
`--stardist PYTHON`, an interpreter that has StarDist, that is trained from scratch for as many steps as both folds'
networks together, on all of their images (`stardist_alone`). Intervals resample the held-out images.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from benchmarks import record
from benchmarks.few_label_sets import PRECISION, network
from benchmarks.parts import labelled_part
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_folds, read_json
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate import Overlaps, statistics_of
from maskwright.evaluate.segments import SegmentMap, measure_segments
from maskwright.instances import truly_matched
from maskwright.instances.features import agreement
from maskwright.labels import components, relabel_consecutive
from maskwright.metrics import Detections, Segments, coco_ap, mean_ap
from maskwright.predict import to_full_size
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import bootstrap, paired_difference
from maskwright.types import Categories, Category

OURS, EMBEDDINGS, WATERSHED, COMPONENTS = "ours", "embeddings", "watershed", "components"
STARDIST = "StarDist"
IOUS = (50, 60, 70, 80, 90)
METRICS = ("pq", "ap", "ap50", *(f"f1_{iou}" for iou in IOUS), "sbd")
DISTANCES = (3, 5, 7, 10, 14)
"""Least distances of two peaks in pixels, of which the rival gets the best."""
_CATEGORIES = Categories((Category(0, "background"), Category(1, "nucleus", isthing=True)), frozenset({"background"}))
_SPEC = EvaluateSpec(families=("panoptic", "instances"))
_QUICK = ("audit.crops=false", "audit.pictures=false", "predict.overlays=0", "evaluate.samples=100")
"""What changes no score."""
SMALL = (
    network(accelerator=False),
    *PRECISION,
    "train.scale=1",
    "train.crop=[128, 128]",
    "train.batch=8",
    "train.threads=1",
)
"""Networks and crops for a processor."""

Objects = tuple[np.ndarray, np.ndarray]
"""(H, W) ids 1..K and (K,) scores."""
Statistic = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks instances", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--folder", default="dsb2018", help="of --data")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000, help="of each of two folds")
    parser.add_argument("--holdout", type=float, default=0.3)
    parser.add_argument("--set", dest="settings", action="append", default=[], help="of both, such as train.crop=…")
    parser.add_argument("--stardist", type=Path, help="interpreter that has StarDist; default: no such row")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    data = labelled_part(arguments.data / arguments.folder, arguments.keep / "data" / arguments.folder)
    runs = {task: [run_of(data, task, seed, arguments) for seed in arguments.seeds] for task in ("ours", "rival")}
    runs[EMBEDDINGS] = [by_embeddings(run) for run in runs["ours"]]
    check_same_images([*runs["ours"], *runs["rival"]])
    truths = [read_truths(data, held_out(run)) for run in runs["ours"]]
    found = {name: [ours(run) for run in runs[name]] for name in (OURS, EMBEDDINGS)}
    found[COMPONENTS] = [parted(run, None) for run in runs["rival"]]
    tried = {d: [parted(run, d) for run in runs["rival"]] for d in DISTANCES}
    reached = {d: mean(figures(objects, truths), "pq")(np.ones((1, len(truths[0]))))[0] for d, objects in tried.items()}
    best = max(reached, key=lambda d: float(reached[d]))
    found[WATERSHED] = tried[best]
    details = {"steps": arguments.steps, "settings": arguments.settings, "seeds": arguments.seeds}
    more = {WATERSHED: {"least distance of peaks": best, "PQ at each": {str(d): float(v) for d, v in reached.items()}}}
    more[OURS] = {"chosen by each seed": [read_json(RunFolder(run).tuned).get("ways") for run in runs["ours"]]}
    if arguments.stardist is not None:
        found[STARDIST] = [
            starred(run, data, seed, arguments) for run, seed in zip(runs["ours"], arguments.seeds, strict=True)
        ]
    known, count = {name: figures(objects, truths) for name, objects in found.items()}, len(truths[0])
    rows = {
        f"{arguments.folder}, {metric}: {name}": to_row(name, metric, known, count, details | more.get(name, {}))
        for metric in METRICS
        for name in known
    }
    record.write("instances", record.read("instances") | rows, rivals=("scikit-image",))


def run_of(data: Path, task: str, seed: int, arguments: argparse.Namespace) -> Path:
    """Return the folder of a finished run."""
    kind = ["--task", "instances"] if task == "ours" else ["--classes", "binary"]
    words = [
        *("run", "--data", str(data), *kind, "--folds", "2"),
        *("--holdout", str(arguments.holdout), "--seed", str(seed)),
    ]
    settings = ["split.seed=0", f"train.steps={arguments.steps}", *arguments.settings]
    return finished([*words, *map("--set={}".format, settings)], arguments.keep / f"{arguments.folder}-{task}-{seed}")


def finished(words: list[str], plain: Path) -> Path:
    """Run a command to its end, small, where it says nothing else, and without what changes no score; return the run
    folder.
    """
    named = {word.removeprefix("--set=").partition("=")[0] for word in words if word.startswith("--set=")}
    own = [setting for setting in (*_QUICK, *SMALL) if setting.partition("=")[0] not in named]  # the last one holds
    words = [*words, *map("--set={}".format, own)]
    out = run_folder(plain, words)
    note = out.with_name(f"{out.name}.json")
    if not note.is_file():
        subprocess.run([sys.executable, "-m", "maskwright", *words, "--out", str(out)], check=True)
        note.write_text(json.dumps(words))
    return out


def by_embeddings(run: Path) -> Path:
    """Return a copy of a finished run in which embeddings part all objects: nothing is trained or predicted anew."""
    words, out = json.loads(run.with_name(f"{run.name}.json").read_text()), run.with_name(f"{run.name}-embeddings")
    note = out.with_name(f"{out.name}.json")
    words.append("--set=instances.by=embeddings")
    if not note.is_file():
        shutil.copytree(run, out, dirs_exist_ok=True)
        subprocess.run([sys.executable, "-m", "maskwright", *words, "--out", str(out), "--redo"], check=True)
        note.write_text(json.dumps(words))
    return out


def run_folder(plain: Path, words: list[str]) -> Path:
    """Return where the run of a command lies: each has its own folder; one kept from earlier is found by its note."""
    note = plain.with_name(f"{plain.name}.json")
    if note.is_file() and json.loads(note.read_text()) == words:
        return plain
    return plain.with_name(f"{plain.name}-{hashlib.blake2b(json.dumps(words).encode(), digest_size=4).hexdigest()}")


def check_same_images(runs: Sequence[Path]) -> None:
    """See that all runs held out the same images: scores are paired by their place.

    Raises:
        ValueError: they didn't.
    """
    first = held_out(runs[0])
    for run in runs[1:]:
        if others := sorted(set(first) ^ set(held_out(run))):
            raise ValueError(f"{run} and {runs[0]} hold out other images, such as {', '.join(others[:5])}")


def held_out(run: Path) -> list[str]:
    """Return the names of the held-out images."""
    folds = read_folds(RunFolder(run).folds)
    return sorted(name_of(image) for image, fold in folds.select("image", "fold").iter_rows() if fold == -1)


def read_truths(data: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Return the true ids of images."""
    return [relabel_consecutive(read_ids(data / "instances" / f"{name}.png")) for name in names]


def ours(run: Path, names: Sequence[str] | None = None) -> list[Objects]:
    """Return the objects that a run found in its held-out images, or in some of them."""
    folder = RunFolder(run).predictions / "instances"
    scores = dict[str, dict[int, float]]()
    with open(folder / "segments.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            scores.setdefault(row["name"], {})[int(row["id"])] = float(row["score"])
    found = []
    for name in held_out(run) if names is None else names:
        ids = read_ids(folder / f"{name}.png")
        present = np.unique(ids[ids > 0])
        found.append((relabel_consecutive(ids), np.array([scores[name][int(number)] for number in present])))
    return found


def parted(run: Path, distance: int | None) -> list[Objects]:
    """Return the objects of a semantic run's masks, by components or by watershed."""
    folder, found = RunFolder(run), []
    for name in held_out(run):
        mask = read_ids(folder.predictions / "labels" / f"{name}.png") > 0
        ids = relabel_consecutive(components(mask)[0] if distance is None else shed(mask, distance))
        likely = to_full_size(ProbabilityStore(folder.store("holdout")).read(name), (mask.shape[0], mask.shape[1]))
        found.append((ids, agreement(ids, likely, np.ones(int(ids.max(initial=0)), int))))
    return found


def starred(run: Path, data: Path, seed: int, arguments: argparse.Namespace) -> list[Objects]:
    """Return the objects that StarDist finds in the images that a run held out, trained on those that it learned."""
    out = arguments.keep / f"{arguments.folder}-stardist-{arguments.steps}-{seed}"
    folds = read_folds(RunFolder(run).folds)
    learned = sorted(
        name_of(image) for image, fold in folds.select("image", "fold").iter_rows() if fold is not None and fold >= 0
    )
    files = {path.stem: path for path in (data / "images").iterdir()}
    ids = {name: data / "instances" / f"{name}.png" for name in learned}
    job = {
        "learned": [(str(files[name]), str(ids[name])) for name in learned if ids[name].is_file()],
        "predicted": [(name, str(files[name])) for name in held_out(run)],
        "steps": 2 * arguments.steps,
        "seed": seed,
        "out": str(out),
    }
    if not (out / "scores.json").is_file():
        out.mkdir(parents=True, exist_ok=True)
        (out / "job.json").write_text(json.dumps(job))
        script = Path(__file__).with_name("stardist_alone.py")
        subprocess.run([str(arguments.stardist), str(script), str(out / "job.json")], check=True)
    scores = json.loads((out / "scores.json").read_text())
    found = []
    for name in held_out(run):
        numbers = read_ids(out / f"{name}.png")
        seen = np.unique(numbers[numbers > 0])  # one that others hide has no pixel
        found.append((relabel_consecutive(numbers), np.array(scores[name])[seen - 1]))
    return found


def shed(mask: np.ndarray, distance: int) -> np.ndarray:
    """Return the objects of a mask as scikit-image parts it."""
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1)
    peaks = peak_local_max(depth, min_distance=distance, labels=components(mask)[0], exclude_border=False)
    markers = np.zeros(mask.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, markers, mask=mask)


def figures(found: Sequence[list[Objects]], truths: Sequence[list[np.ndarray]]) -> list[dict[str, Statistic]]:
    """Return, of each seed, {metric: function of image weights}."""
    return [_figures(objects, own) for objects, own in zip(found, truths, strict=True)]


def mean(figures: Sequence[dict[str, Statistic]], metric: str) -> Statistic:
    """Return the mean of a metric over the seeds."""
    return lambda weights: np.mean([own[metric](weights) for own in figures], axis=0)


def to_row(
    name: str,
    metric: str,
    known: dict[str, list[dict[str, Statistic]]],
    count: int,
    details: dict[str, Any],
) -> Row:
    """Return a row: a method's metric, and ours against the watershed, over `count` images."""
    each, score = known[name], mean(known[name], metric)
    value = bootstrap(score, count, rng=np.random.default_rng(0))
    ones = np.ones((1, count))
    spread = [float(own[metric](ones)[0]) for own in each]
    if metric == "ap":
        details = details | {"at an IoU of": {f"{iou / 100}": float(mean(each, f"ap{iou}")(ones)[0]) for iou in IOUS}}
    row = Row(
        figure=value.value,
        unit=f"{metric}, mean of {len(each)} seeds, {count} held-out images",
        interval=(value.low, value.high),
        details=details | {"each seed": spread},
    )
    if name in (WATERSHED, COMPONENTS):
        return row
    rival = OURS if name == STARDIST else WATERSHED
    other = mean(known[rival], metric)
    gain = paired_difference(score, other, count, rng=np.random.default_rng(0))
    compared = Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n)
    return row.model_copy(update={"against": rival, "other": float(other(ones)[0]), "comparison": compared})


def _figures(objects: list[Objects], truths: list[np.ndarray]) -> dict[str, Statistic]:
    overlaps = Overlaps(_CATEGORIES, _SPEC)
    for number, ((ids, scores), truth) in enumerate(zip(objects, truths, strict=True)):
        true = SegmentMap(truth, Segments.of(np.arange(1, truth.max(initial=0) + 1), 1))
        own = SegmentMap(ids, Segments.of(np.arange(1, len(scores) + 1), 1, scores=scores))
        where = f"{number}"
        overlaps.put(where, measure_segments(true, own, _CATEGORIES, _SPEC, zero="background", where=where))
    evidence = overlaps.evidence()
    known = statistics_of(evidence, _CATEGORIES, _SPEC)
    found = {metric: known[metric][1] for metric in METRICS if metric in known}
    for place, iou in enumerate(IOUS):
        found[f"ap{iou}"] = _ap_at(evidence.detections, 2 * place)
    sizes = np.array(
        [[ids.max(initial=0) + truth.max(initial=0)] for (ids, _), truth in zip(objects, truths, strict=True)]
    )
    for metric in METRICS:
        if metric.startswith("f1_"):
            iou = int(metric.removeprefix("f1_")) / 100
            hits = np.array(
                [truly_matched(ids, truth, iou=iou).sum() for (ids, _), truth in zip(objects, truths, strict=True)]
            )
            found[metric] = lambda weights, hits=hits: 2 * (weights @ hits) / (weights @ sizes)[:, 0]
    return found


def _ap_at(detections: Detections, threshold: int) -> Statistic:
    """Return AP at one of the ten thresholds, as a function of image weights."""
    return lambda weights: mean_ap(coco_ap(detections, weights=weights)[..., [threshold]], [1])


if __name__ == "__main__":
    main()

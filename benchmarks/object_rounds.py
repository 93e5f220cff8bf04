"""Objects from another world, without a label of the target: rounds of self-training, step by step.

`fluorescence` and `stained`: generated nuclei (`python -m benchmarks nuclei`) → real ones of dsb2018; `scenes`: drawn
places with two kinds of things and three of stuff → others with other textures, light and noise. Half of the target's
images (of scenes, other places) are the pool, without a label, the other half is scored. `fields` (cwfid: crops and
weeds on soil) and `panoramas` (marsscapes: rocks among seven kinds of stuff) are few labels and many of one world: 6
and some 16 labelled images, others as the pool, a third of the fields or sols scored. Rows: `source only`, strongly
augmented, learns from the labelled source for thrice `--steps`, and all others go on from its networks: `source only,
gone on`, from the same labels for twice `--steps` more; `batch norm`, its statistics measured anew on the pool;
`self-trained`, a round of `--steps` with pseudo-labels, with neither votes nor a choice of objects; `guided`, objects
vote on the category of their pixels, too (not with nuclei, which are of one category); `objectness`, those alone are
learned from that are rather true than false; `two rounds` of that; `target labels`, the upper end, for twice `--steps`
from the labels of the pool. So no row learns longer than the one that goes on from the source's labels. All objects are
parted by embeddings, where there are several kinds of things across these; of several categories rounds learn from the
surest half of each (`class_share`), as was chosen after a look at the labels of the pool of `scenes`, not of what is
scored. `pq_dagger` takes stuff without a threshold. Scores are those of the mean of two folds' networks, the mean over
the seeds; intervals resample the groups of the target's images that are scored: places, sols, else each image is one.
Of the labels of the pool each network of `target labels` learns from half, as folds have it. Rounds are compared with
the best of the three rows without pseudo-labels, by PQ on the very images; `share of the gap` is the gain over it as a
share of that of target labels, and `share of the gap of source only` that over the networks which all go on from.
`panoramas` are made with --only panoramas, and `--rows "source only" "target labels"` for supervised networks alone.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import record
from benchmarks.object_worlds import TWO_WORLDS, WORLDS, World
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_json
from maskwright.checkpoint import KEY, load_trained, read_checkpoint
from maskwright.data.images import read_image
from maskwright.data.intensity import standardise, to_working
from maskwright.data.kind import OBJECT
from maskwright.evaluate import evaluate_folders
from maskwright.instances.source import object_source
from maskwright.metrics import PanopticCounts, panoptic_quality
from maskwright.metrics.panoptic import recognition_quality, segmentation_quality
from maskwright.pipeline.objectness import Judges
from maskwright.pipeline.stages import read_chain
from maskwright.predict import predict_folder
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import Statistic, bootstrap, paired_difference
from maskwright.train.unlabelled.norm import batch_norms

SOURCE, NORM, UPPER = "source only", "batch norm", "target labels"
LONGER = f"{SOURCE}, gone on"
BASELINES = (SOURCE, LONGER, NORM)
"""Rows without pseudo-labels."""
FIRST, MORE = 3, 2
"""Steps of the first training, and of those that go on from it with labels, as a multiple of a round's."""
GUIDED, CHOSEN, TWICE = "guided", "objectness", "two rounds"
ROUNDS: dict[str, tuple[int, str]] = {
    "self-trained": (1, "{objectness: null, votes: none}"),
    GUIDED: (1, "{objectness: null, votes: predicted}"),
    CHOSEN: (1, "{objectness: 0.5, votes: predicted}"),
    TWICE: (2, "{objectness: 0.5, votes: predicted}"),
}
"""Row → how many rounds, and selftrain.method.objects."""
ROWS = (SOURCE, LONGER, NORM, *ROUNDS, UPPER)
_DEFAULT = ("fluorescence", "stained", "scenes", "fields")
FALSE = "false objects an image"
METRICS = ("pq", "sq", "rq", "ap", "pq_dagger", FALSE)
_CLOSED = 0.25
"""Share of the gap that a row of two worlds is to close."""
_PLAIN = {"ap", "pq_dagger"}
"""Numbers without an interval."""
_SPEC = EvaluateSpec(families=("panoptic", "instances"), samples=100)
_QUICK = (
    "audit.crops=false",
    "audit.pictures=false",
    "predict.overlays=0",
    "postprocess.search=[]",
    "evaluate.samples=100",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks object_rounds", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(_DEFAULT), choices=list(WORLDS))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="of a round's training of a fold")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    if SOURCE not in arguments.rows:
        parser.error(f"--rows: {SOURCE!r} must be among them: the others are compared with it")
    rows = record.read("object_rounds")
    for name in arguments.only:
        world = WORLDS[name]
        world.make(arguments.data, arguments.keep / "data" / name)
        names = [row for row in ROWS if row in arguments.rows and (row != GUIDED or world.task == "panoptic")]
        done = {row: [measured(row, world, seed, arguments) for seed in arguments.seeds] for row in names}
        for row in done:
            for metric in (metric for metric in METRICS if metric in done[row][0]):
                rows[f"{name}, {metric}: {row}"] = to_row(row, metric, done, arguments, two_worlds=name in TWO_WORLDS)
        record.write("object_rounds", rows)


def measured(row: str, world: World, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return {metric: function of weights of the scored images} of a row, and numbers: `_PLAIN`."""
    data = arguments.keep / "data" / world.name
    first, (command, run) = source_run(world, seed, arguments), command_of(row, world, seed, arguments)
    found, start = run.with_name(f"{run.name}-found"), command_of(CHOSEN, world, seed, arguments)[1]
    start = start if row == TWICE and start.is_dir() else first
    if row != NORM and finish(command, run, start if row in ROUNDS else None):
        shutil.rmtree(found, ignore_errors=True)  # of a run before
    if not (found / "done").is_file():
        chosen = [RunFolder(run).checkpoints(fold, "last")[0] for fold in (0, 1)] if row != NORM else None
        pool = data / "source" / "unlabeled"
        predict(first if row == NORM else run, chosen or adapted(first, pool, run), data / "test" / "images", found)
        (found / "done").touch()
    return statistics(found, data / "test", world)


def source_run(world: World, seed: int, arguments: argparse.Namespace) -> Path:
    """Return the finished run of `source only`."""
    world.make(arguments.data, arguments.keep / "data" / world.name)
    command, run = command_of(SOURCE, world, seed, arguments)
    finish(command, run, None)
    return run


def command_of(row: str, world: World, seed: int, arguments: argparse.Namespace) -> tuple[list[str], Path]:
    """Return the words of a row's run, and its folder."""
    data, stem = arguments.keep / "data" / world.name, f"{world.name}-{arguments.steps}-{seed}"
    rounds, objects = ROUNDS.get(row, (0, ""))
    whole = arguments.steps * (MORE if row in (LONGER, UPPER) else FIRST)
    settings = [*world.settings, *_QUICK, f"train.steps={whole}", f"train.validate_every={whole}"]
    if row in (LONGER, UPPER):
        settings += [f"train.start={command_of(SOURCE, world, seed, arguments)[1]}", "train.start_unchecked=true"]
    if rounds:
        settings += [f"selftrain.length={1 / FIRST}", "selftrain.start=before"]
        settings += ["selftrain.adopt=always", "selftrain.aliens=keep"]
        settings += [f"selftrain.method={{kind: pseudo_labels, pixels: {world.pixels}, objects: {objects}}}"]
        settings += [f"selftrain.rounds={rounds}"]
    learned = data / ("target" if row == UPPER else "source")
    command = ["selftrain" if rounds else "run", "--data", str(learned), "--seed", str(seed), "--task", world.task]
    command += ["--folds", "2", "--holdout", "0", *(["--group-regex", world.group] if world.group else [])]
    command += [word for setting in settings for word in ("--set", setting)]
    return command, arguments.keep / f"{stem}-{row}".replace(", ", "-").replace(" ", "-")


def finish(command: list[str], run: Path, start: Path | None) -> bool:
    """Run a command to its end, in a copy of a finished run where there is one to start from; tell whether it ran."""
    note = run.with_name(f"{run.name}.json")
    if note.is_file() and json.loads(note.read_text()) == command:
        return False
    if start is not None and not run.exists():
        shutil.copytree(start, run)
    redo = ["--redo"] if start is not None else []  # of what comes after the trainings alone
    subprocess.run([sys.executable, "-m", "maskwright", *command, "--out", str(run), *redo], check=True)
    note.write_text(json.dumps(command))
    return True


def adapted(run: Path, pool: Path, out: Path) -> list[Path]:
    """Write the networks of a run with batch norm's statistics of the pool's images, measured one by one."""
    files = []
    for fold in (0, 1):
        known, images = load_trained(RunFolder(run).checkpoints(fold, "last")[0]), sorted(pool.iterdir())
        network, norms = known.network, batch_norms(known.network)
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over the images
            norm.train()
        for path in images:
            image = standardise(to_working(read_image(path), known.intensity, known.scale), known.intensity)
            high, wide = (side // 32 * 32 for side in image.shape[:2])
            with torch.no_grad():
                through = getattr(network, "both", network)  # embeddings have a decoder of their own
                through(torch.from_numpy(np.ascontiguousarray(image[:high, :wide].transpose(2, 0, 1)))[None])
        assert all(norm.num_batches_tracked for norm in norms)
        state = read_checkpoint(known.path)
        own = {f"step.network.{name}": value for name, value in network.state_dict().items()}
        files.append(out / f"fold-{fold}.ckpt")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        torch.save({KEY: state[KEY], "state_dict": own}, files[-1])
    return files


def predict(run: Path, checkpoints: Sequence[Path], images: Path, out: Path) -> None:
    """Predict images by the mean of networks as `maskwright predict RUN` does."""
    folder = RunFolder(run)
    recipe, tuned = load_recipe(folder.recipe), read_json(folder.tuned)
    judges = Judges.from_plain(tuned)
    source = object_source(checkpoints, recipe, None if judges is None else judges.whole)
    predict_folder(source, images, out, spec=recipe.predict, chain=read_chain(tuned["chain"]))


def statistics(found: Path, test: Path, world: World) -> dict[str, Any]:
    """Return {metric: function of weights of the images} of predicted files, and numbers: `_PLAIN`."""
    if world.task == "panoptic":
        scores = evaluate_folders(found, test / "truth", kind="panoptic", spec=_SPEC)
    else:
        scores = evaluate_folders(found / "instances", test / "instances", kind="instances", spec=_SPEC)
    names = scores.categories
    ordered = scores.per_image.sort("image", maintain_order=True)
    tp, fp, fn, iou = (
        ordered[f"segments_{name}"].cast(pl.Float64).fill_null(0).to_numpy().reshape(-1, len(names))
        for name in ("tp", "fp", "fn", "iou")
    )
    things = (tp + fp + fn).sum(0) > 0 if world.task == "instances" else np.ones(len(names), bool)
    counted = np.flatnonzero(things)

    def quality(kind: Callable[[PanopticCounts], np.ndarray]) -> Statistic:
        def score(weights: np.ndarray) -> np.ndarray:
            sums = [weights @ counts for counts in (iou, tp, fp, fn)]
            return np.asarray(np.nanmean(kind(PanopticCounts(*sums, np.zeros_like(sums[0])))[:, counted], axis=1))

        return score

    kinds = (("pq", panoptic_quality), ("sq", segmentation_quality), ("rq", recognition_quality))
    of_things = [position for position, name in enumerate(names) if name in _things(world)]
    plain = _PLAIN if world.task == "panoptic" else {"ap"}
    return {name: quality(kind) for name, kind in kinds} | {
        FALSE: lambda weights: (weights @ fp[:, of_things]).sum(1) / weights.sum(1),
        **{name: scores.scores.get(name, {"value": 0.0})["value"] for name in plain},  # no AP where nothing is found
        "groups": [world.group_of(Path(image).stem) for image in ordered["image"].unique(maintain_order=True)],
    }


def _things(world: World) -> set[str]:
    things = {category.name for category in world.categories if category.isthing}
    return things if world.task == "panoptic" else {OBJECT, "foreground"}


def to_row(
    row: str,
    metric: str,
    done: dict[str, list[dict[str, Any]]],
    arguments: argparse.Namespace,
    *,
    two_worlds: bool = False,
) -> Row:
    """Return a row's metric, its gain over the best baseline, of PQ the share of the gap and whether that is enough."""
    each, groups = done[row], done[row][0]["groups"]
    count, options = len(groups), {"groups": groups}
    details: dict[str, Any] = {"steps": arguments.steps, "seeds": arguments.seeds}
    if metric in _PLAIN:
        values = [one[metric] for one in each]
        return Row(figure=float(np.mean(values)), unit=f"mean of {len(each)} seeds", details=details | {"each": values})
    base = SOURCE if row in BASELINES else best_of(done)
    score, source = (mean_of([one[metric] for one in done[name]]) for name in (row, base))
    found = bootstrap(score, count, rng=np.random.default_rng(0), **options)
    details["each"] = [float(one[metric](np.ones((1, count)))[0]) for one in each]
    told = Row(
        figure=found.value,
        unit=f"mean of {len(each)} seeds, {count} images of {len(set(groups))} groups",
        interval=(found.low, found.high),
        details=details,
    )
    if row == SOURCE:
        return told
    gain = paired_difference(score, source, count, rng=np.random.default_rng(0), **options)
    if metric == "pq" and row not in (*BASELINES, UPPER) and UPPER in done:
        shares = {
            name: bootstrap(share_of_gap(row, before, done), count, rng=np.random.default_rng(0), **options)
            for name, before in (("share of the gap", base), (f"share of the gap of {SOURCE}", SOURCE))
        }
        details |= {name: {"value": s.value, "low": s.low, "high": s.high} for name, s in shares.items()}
        if two_worlds:
            told.target = "> 0, and a quarter of the gap"
            told.reached = bool(gain.low > 0 and shares["share of the gap"].value >= _CLOSED)
    compared = Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n)
    other = float(source(np.ones((1, count)))[0])
    return told.model_copy(update={"against": base, "other": other, "comparison": compared, "details": details})


def share_of_gap(row: str, base: str, done: dict[str, list[dict[str, Any]]]) -> Statistic:
    """Return the gain of a row's PQ over another's, as a share of that of target labels."""
    score, before, upper = (mean_of([one["pq"] for one in done[name]]) for name in (row, base, UPPER))
    return lambda weights: (score(weights) - before(weights)) / (upper(weights) - before(weights))


def best_of(done: dict[str, list[dict[str, Any]]]) -> str:
    """Return the row without pseudo-labels that has the highest PQ."""
    ones = {name: np.ones((1, len(done[name][0]["groups"]))) for name in BASELINES if name in done}
    return max(ones, key=lambda name: float(mean_of([one["pq"] for one in done[name]])(ones[name])[0]))


def mean_of(each: Sequence[Statistic]) -> Statistic:
    """Return the mean of functions of weights."""
    return lambda weights: np.asarray(np.mean([one(weights) for one in each], axis=0))


if __name__ == "__main__":
    main()

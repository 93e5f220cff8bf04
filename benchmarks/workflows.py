"""The workflows of source 4 side by side at an equal budget: which networks of a fold tell which things apart.

Drawn places with four kinds of things (stones, boulders, herbs, bushes) and three of stuff are the labelled source, the
same with other textures, light and noise the pool, and other such places are scored. Each workflow has `--before` steps
of a fold for the supervised training and `--steps` for one round of pseudo-labels, in which votes and objectness take
part, both shared out evenly among its networks; those of the round go on from the supervised ones, which are trained
once for all workflows that have one network then. `together` are stones with boulders, and herbs with bushes. A network
tells the pixels of all its things apart at once (`instances.across`); `alone` is `all` without that.
Scores are those of the networks after the round, without post-processing, the mean over the seeds; intervals resample
the places that are scored. `all` is what the others are compared with. In the rows stand the steps and the seconds of
all trainings, how many objects were found in the labelled places, out of fold, and how many true ones were found in
pieces, of one thing or of several.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks import record
from benchmarks.object_rounds import CHOSEN, FALSE, ROUNDS, finish, mean_of, statistics
from benchmarks.object_worlds import SIZED, WORLDS
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_table
from maskwright.data.formats.files import name_of
from maskwright.data.index import decided_index
from maskwright.data.intensity import resize_instances
from maskwright.data.store import ProbabilityStore
from maskwright.instances.store import read_objects
from maskwright.recipe.file import load_recipe
from maskwright.recipe.workflow import WORKFLOWS, Workflow, teams
from maskwright.statistics import bootstrap, paired_difference
from maskwright.types import Array

ALL, ALONE = "all", "alone"
TOGETHER = (("stone", "boulder"), ("herb", "bush"))
METRICS = ("pq", "sq", "rq", FALSE)
_QUICK = (
    "audit.crops=false",
    "audit.pictures=false",
    "predict.overlays=0",
    "postprocess.search=[]",
    "evaluate.samples=100",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks workflows", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    known = [*get_args(Workflow), ALONE]
    parser.add_argument("--only", nargs="*", default=known, choices=known)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--before", type=int, default=900, help="steps of the supervised networks of a fold together")
    parser.add_argument("--steps", type=int, default=450, help="of the round's networks of a fold together")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    world = WORLDS["sized_scenes"]
    world.make(arguments.data, arguments.keep / "data" / world.name)
    rows, done = record.read("workflows"), dict[str, list[dict[str, Any]]]()
    for workflow in dict.fromkeys([ALL, *arguments.only]):
        done[workflow] = [measured(workflow, seed, arguments) for seed in arguments.seeds]
        budget = f"{arguments.before} + {arguments.steps} steps"
        rows |= {f"{metric}: {workflow}, {budget}": to_row(workflow, metric, done, arguments) for metric in METRICS}
        record.write("workflows", rows)


def shared_out(workflow: str, before: int, steps: int) -> tuple[int, int]:
    """Return the steps of each supervised network of a fold, and of each of the round, of what all have together.

    Example:
        >>> [shared_out(workflow, 900, 450) for workflow in ("all", "icm", "base", "ccm", "mix")]
        [(900, 450), (900, 112), (900, 225), (450, 225), (900, 64)]
    """
    things = [category.name for category in SIZED if category.isthing]
    first, then = (len(teams(workflow, things, TOGETHER, number)) for number in (0, 1))  # type: ignore[arg-type]
    return before // first, steps // then


def supervised_run(seed: int, arguments: argparse.Namespace) -> Path:
    """Return the finished run of one network for all things, without a round."""
    run = arguments.keep / f"supervised-{arguments.before}-{seed}"
    finish(command_of("run", arguments.before, seed, arguments, []), run, None)
    return run


def command_of(command: str, steps: int, seed: int, arguments: argparse.Namespace, settings: list[str]) -> list[str]:
    """Return the words of a run whose supervised networks have so many steps each."""
    world = WORLDS["sized_scenes"]
    settings = [*world.settings, *_QUICK, f"train.steps={steps}", f"train.validate_every={steps}", *settings]
    words = [command, "--data", str(arguments.keep / "data" / world.name / "source"), "--seed", str(seed)]
    words += ["--task", world.task, "--folds", "2", "--holdout", "0", "--group-regex", world.group]
    return [*words, *(word for setting in settings for word in ("--set", setting))]


def measured(row: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return {metric: function of weights of the scored images}, and what the trainings were."""
    world, data = WORLDS["sized_scenes"], arguments.keep / "data" / "sized_scenes"
    workflow = ALL if row == ALONE else row
    steps, then = shared_out(workflow, arguments.before, arguments.steps)
    groups = ", ".join(f"[{', '.join(team)}]" for team in TOGETHER)
    settings = ["selftrain.adopt=always", "selftrain.aliens=keep", "selftrain.start=before"]
    settings += [f"selftrain.length={then / steps}"]
    settings += [f"selftrain.method={{kind: pseudo_labels, pixels: {world.pixels}, objects: {ROUNDS[CHOSEN][1]}}}"]
    settings += [f"instances.workflow={workflow}", f"instances.together=[{groups}]"]
    settings += ["instances.across=false"] if row == ALONE else []
    command = command_of("selftrain", steps, seed, arguments, settings)
    run = arguments.keep / f"{row}-{arguments.before}-{arguments.steps}-{seed}"
    divided = WORKFLOWS[workflow][0] != WORKFLOWS[ALL][0]  # type: ignore[index]
    found = run.with_name(f"{run.name}-found")
    if finish(command, run, None if divided else supervised_run(seed, arguments)):
        shutil.rmtree(found, ignore_errors=True)  # of a run before
    if not (found / "done").is_file():
        words = [sys.executable, "-m", "maskwright", "predict", str(run), str(data / "test" / "images")]
        subprocess.run([*words, "--out", str(found), "--redo"], check=True)
        (found / "done").touch()
    tables = [read_table(path) for path in sorted(run.glob("round-*/**/metrics.csv"))]
    told: dict[str, Any] = {
        "trainings": len(tables),
        "steps": [steps, then],
        "seconds": sum(float(t["seconds"].max()) for t in tables),
    }
    judge = json.loads((run / "tuned.json").read_text())["objectness"]
    told["objects out of fold"] = {name: judge[name] for name in ("instances", "true", "missed")} | in_pieces(run)
    return statistics(found, data / "test", world) | {"told": told}


def in_pieces(run: Path) -> dict[str, int]:
    """Return how many true objects of a run's labelled images were found in pieces, out of fold after its round."""
    folder, counts = RunFolder(run), np.zeros(2, int)
    images = decided_index(folder, load_recipe(run / "recipe.yaml").data).labelled
    store = ProbabilityStore(folder.store("oof", 1))
    for row, name in enumerate(map(name_of, images.images)):
        objects, true, label = read_objects(store, name), images.read_instances(row), images.read_label(row)
        assert true is not None and label is not None
        true = np.where(np.isin(label, images.categories.things), true, np.int32(0))
        counts += pieces(resize_instances(true, objects.shape), objects, store.read(name).argmax(0))  # type: ignore[arg-type]
    return {"in pieces of one thing": int(counts[0]), "in pieces of several things": int(counts[1])}


def pieces(true: Array, objects: Array, label: Array) -> tuple[int, int]:
    """Return how many true objects hold several found ones by more than half: of one thing, and of several.

    Args:
        true: (h, w) ids of the true objects, 0 for none.
        objects: (h, w) ids of the found ones.
        label: (h, w) what a pixel was taken for.
    """
    counts, sizes = [0, 0], np.bincount(objects.ravel())
    for number in np.unique(true[true > 0]):
        own, inside = np.unique(objects[true == number], return_counts=True)
        parts = own[(own > 0) & (2 * inside > sizes[own])]
        things = {int(np.bincount(label[objects == part]).argmax()) for part in parts}
        if len(parts) > 1:
            counts[len(things) > 1] += 1
    return counts[0], counts[1]


def to_row(workflow: str, metric: str, done: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> Row:
    """Return a workflow's metric, and its difference to that of one network for all things."""
    each, groups = done[workflow], done[workflow][0]["groups"]
    count = len(groups)
    score, plain = (mean_of([one[metric] for one in done[name]]) for name in (workflow, ALL))
    found, ones = bootstrap(score, count, groups=groups, rng=np.random.default_rng(0)), np.ones((1, count))
    details = {"each": [float(one[metric](ones)[0]) for one in each], "seeds": arguments.seeds}
    row = Row(
        figure=found.value,
        unit=f"mean of {len(each)} seeds, {count} images of {len(set(groups))} places, "
        f"{arguments.before} steps of a fold, and {arguments.steps} of its round",
        interval=(found.low, found.high),
        details=details | {"of each seed": [one["told"] for one in each]},
    )
    if workflow == ALL:
        return row
    gain = paired_difference(score, plain, count, groups=groups, rng=np.random.default_rng(0))
    compared = Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n)
    return row.model_copy(update={"against": ALL, "other": float(plain(ones)[0]), "comparison": compared})


if __name__ == "__main__":
    main()

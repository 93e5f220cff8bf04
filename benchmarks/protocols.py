"""The four protocols of pseudo-labels: labelled only, mixed, pretrained then fine-tuned on labels, or on both.

`maskwright selftrain --protocols` on mars_gray with its 549 unlabelled images (all labels that aren't held out), and on
teeth, which has none: there three quarters of the labels are not looked at, and their images are the pool. As in source
0 every protocol has the same steps after the supervised training, which all share and whose networks label; labelled
only is that training. Scores are those of two folds' networks on the held-out images, without post-processing, the mean
of the seeds; differences are to labelled only.

A protocol takes `--steps` (400) steps of .25 s for each of two folds; the three beside labelled only share its
training: some 14 minutes of steps a seed and set, with three seeds and `--jobs 2` about 45 minutes for both sets.
`--accelerator` as in `few_labels`.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks import record
from benchmarks.few_label_sets import PRECISION, SETS, SUPERVISED, Set, network
from benchmarks.few_labels import Measured, add_options, named, run_once, to_row
from benchmarks.parts import labelled_part
from benchmarks.rounds import held_out_tables
from maskwright.artifacts import read_json
from maskwright.recipe.selftrain import Protocol

NAMES = {"mars_gray": "mars_gray, 549 images without labels", "teeth": "teeth, a quarter of the labels"}
_SETTINGS = ("audit.crops=false", "audit.pictures=false", "postprocess.search=[]", "split.folds=2", "split.seed=0")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks protocols", description=__doc__)
    add_options(parser)
    parser.add_argument("--only", nargs="*", default=list(NAMES), choices=list(NAMES))
    parser.set_defaults(seeds=[0, 1, 2], steps=None)
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (4000 if arguments.accelerator else 400)
    rows = record.read("protocols")
    for name in arguments.only:
        outs = run_all(name, arguments)
        done: dict[str, Measured] = {}
        for protocol in get_args(Protocol):
            done[protocol] = read(SETS[name], protocol, outs, arguments)
        for protocol, own in done.items():
            against = None if protocol == "labelled_only" else done["labelled_only"]
            row = to_row(SETS[name], own, against, None, arguments)
            row.against = row.against.replace(SUPERVISED, "labelled_only")
            if protocol == "mixed":
                row.details["share of labelling that is the networks' time"] = [networks_of(out) for out in outs]
            rows[f"{named(NAMES[name], arguments)}: {protocol}"] = row
        record.write("protocols", rows)


def networks_of(out: Path) -> float | None:
    """Return which share of the seconds of labelling the pool the networks took, all folds together.

    None where it was cut short, and nobody knows.
    """
    share: float | None = read_json(out / "protocols" / "mixed" / "round-1" / "pseudo" / "seconds.json")["share"]
    return share


def run_all(name: str, arguments: argparse.Namespace) -> list[Path]:
    """Run all protocols with all seeds; return the run folders."""
    wanted, steps = SETS[name], arguments.steps
    data = arguments.data / wanted.folder
    if name == "teeth":
        data = labelled_part(data, arguments.keep / "data" / wanted.folder)
    settings = [
        *_SETTINGS,
        *PRECISION,
        *wanted.settings,
        network(accelerator=arguments.accelerator),
        f"train.steps={steps}",
    ]
    settings.append("train.accelerator=gpu" if arguments.accelerator else "train.threads=1")
    settings += ["split.labelled=1/4"] if name == "teeth" else []
    words = ["selftrain", "--protocols", "--data", str(data), *wanted.options]
    words += [word for setting in settings for word in ("--set", setting)]
    where = "-accelerated" if arguments.accelerator else ""
    outs = {seed: arguments.keep / f"{name}-protocols-{steps}-{seed}{where}" for seed in arguments.seeds}

    def one(seed: int) -> None:
        run_once([*words, "--seed", str(seed), "--set", f"split.labelled_seed={seed}"], outs[seed], networks=False)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(one, arguments.seeds))
    return list(outs.values())


def read(wanted: Set, protocol: str, outs: list[Path], arguments: argparse.Namespace) -> Measured:
    """Return what the networks of a protocol say of the held-out images."""
    found, groups = [], list[str]()
    for out in outs:
        run, number = (out, 0) if protocol == "labelled_only" else (out / "protocols" / protocol, 1)
        tables, groups = held_out_tables(run, number, arguments.data / wanted.folder, wanted.classes, wanted.binary)
        found.append(tables)
    trainings = (arguments.steps,) * (1 if protocol == "labelled_only" else 2)  # pretraining is a part of the second
    return Measured(np.stack(found), groups, trainings, sum(trainings), [])

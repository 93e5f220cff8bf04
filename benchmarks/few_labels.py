"""Learning from 1/16 and 1/8 of the labels with the rest as the pool: equal passes, four seeds, held-out groups.

Every method pays for what it trains. The budget is a number of passes through the network, forward ones and backward
ones at twice the cost, as many as `--steps` supervised steps have, for each of two folds; `Method.cost` says how it is
spent, and every row how many steps each of its trainings had. ST and ST++ have two and three trainings one after the
other; FixMatch and UniMatch the supervised training that they go on from, and one whose steps cost more. What is not
counted: labelling the pool (a forward pass an image and view). Scores are of the mean of the two folds' networks,
without post-processing, the mean of the seeds; intervals resample the groups of the held-out images.

`ours` is `maskwright selftrain` as it comes: the round is used where the interval of its out-of-fold gain lies above 0,
else the supervised networks of its first training. `selftrain_choice` says from the same runs how often that was right.

A step of either set takes some .13 s on one core (8 crops of 64×128, or 4 of 128×128, a U-Net on resnet10t). The budget
of 800 steps leaves UniMatch, whose steps cost 4.5 times as much, 144 of them after as many supervised ones; `--steps`
gives more. With four seeds a table of two shares are 52 runs of some four minutes: with `--jobs 2` two hours.
`--accelerator` trains a larger network (resnet34) on a GPU, 4 000 steps if --steps says nothing else.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import record
from benchmarks.few_label_sets import METHODS, OURS, PRECISION, SETS, SUPERVISED, Method, Set, network
from benchmarks.parts import RULES, Tables, labelled_part, statistic
from benchmarks.record import Comparison, Row
from benchmarks.rounds import held_out_tables, interval_of, rule_adopts, where_it_runs
from maskwright.statistics import bootstrap, paired_difference

FULL = "all labels"
_ON_PROCESSOR, _ON_ACCELERATOR = 800, 4000
_QUICK = ("audit.crops=false", "audit.pictures=false", "predict.overlays=0", "predict.pool=false")
_PLAIN = ("postprocess.search=[]", "evaluate.families=[]", "split.folds=2", "split.seed=0")
_POINT = 0.01


class Measured(NamedTuple):
    """What a method's runs came to.

    Attributes:
        tables: (seeds, images, C, C + 1) of what is delivered.
        groups: of the images.
        trainings: steps of each training of a fold, one after the other.
        cost: supervised steps of a fold that cost as much, together.
        adopted: by seed, whether the rule of adoption would have used the round; empty for a supervised training.
    """

    tables: Tables
    groups: list[str]
    trainings: tuple[int, ...]
    cost: int
    adopted: list[bool]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks few_labels", description=__doc__)
    add_options(parser)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--shares", nargs="*", help="of the labels, instead of the set's own")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    rows = record.read("few_labels")
    for name in arguments.only:
        full, key = measure(name, FULL, SUPERVISED, METHODS[SUPERVISED], arguments), named(name, arguments)
        rows[f"{key}, {FULL}: {SUPERVISED}"] = to_row(SETS[name], full, None, None, arguments)
        for share in arguments.shares or SETS[name].shares:
            done: dict[str, Measured] = {}
            best = f"{key}, {share} of the labels: ours against the best"
            rows.pop(best, None)  # of methods that are measured anew
            for label in dict.fromkeys([SUPERVISED, *arguments.methods]):
                done[label] = measure(name, share, label, METHODS[label], arguments)
                row = to_row(
                    SETS[name], done[label], done[SUPERVISED] if label != SUPERVISED else None, full, arguments
                )
                rows[f"{key}, {share} of the labels: {label}"] = above(row) if label == OURS else row
                record.write("few_labels", rows)
            if done.keys() == METHODS.keys():
                rows[best] = against_best(SETS[name], done)
    record.write("few_labels", rows)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the tables of rounds share."""
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--steps", type=int, help="supervised ones that the budget of a fold pays for")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--accelerator", action="store_true", help="a larger network, on a GPU")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")


def named(name: str, arguments: argparse.Namespace) -> str:
    """Return what a set is called in rows, which those of a larger network on a GPU don't replace."""
    return f"{name} (larger network, GPU)" if arguments.accelerator else name


def budget_of(arguments: argparse.Namespace) -> int:
    """Return the steps of a fold."""
    return int(arguments.steps or (_ON_ACCELERATOR if arguments.accelerator else _ON_PROCESSOR))


def measure(name: str, share: str, label: str, method: Method, arguments: argparse.Namespace) -> Measured:
    """Run a method with all seeds, and read what it predicts of the held-out images."""
    wanted, steps = SETS[name], method.steps(budget_of(arguments))
    words = command(wanted, share, method, steps, arguments)
    outs = {seed: run_folder(arguments, name, share, label, steps, seed) for seed in arguments.seeds}

    def one(seed: int) -> None:
        run_once([*words, "--seed", str(seed), "--set", f"split.labelled_seed={seed}"], outs[seed], networks=False)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(one, arguments.seeds))
    found, groups, adopted = [], list[str](), list[bool]()
    for out in outs.values():
        number = 0
        if method.selftrain is not None:
            adopted.append(rule_adopts(out))
            number = 1 if label != OURS or adopted[-1] else 0
        tables, groups = held_out_tables(out, number, arguments.data / wanted.folder, wanted.classes, wanted.binary)
        found.append(tables)
    return Measured(np.stack(found), groups, method.trainings(steps), budget_of(arguments), adopted)


def command(wanted: Set, share: str, method: Method, steps: int, arguments: argparse.Namespace) -> list[str]:
    """Return the words of a run, seed aside."""
    data = labelled_part(arguments.data / wanted.folder, arguments.keep / "data" / wanted.folder)
    settings = [*_QUICK, *_PLAIN, *PRECISION, *wanted.settings, network(accelerator=arguments.accelerator)]
    settings += [f"train.steps={steps}", "train.threads=1" if not arguments.accelerator else "train.accelerator=gpu"]
    if share != FULL:
        settings.append(f"split.labelled={share}")
    if method.selftrain is not None:
        settings += [f"selftrain={json.dumps({**method.selftrain, 'rounds': 1, 'adopt': 'always'})}"]
    words = ["run", "--data", str(data), *wanted.options]
    if wanted.held_out:
        words += ["--set", f"split.file={split_file(data, wanted.held_out)}"]
    return words + [word for setting in settings for word in ("--set", setting)]


def split_file(data: Path, held_out: str) -> Path:
    """Write which images are held out; return the file."""
    path = data.with_name(f"{data.name}-parts.csv")
    images = sorted(p.relative_to(data) for p in (data / "images").glob("**/*") if p.is_file())
    text = [("image", "part")] + [(i.as_posix(), "val" if i.stem.startswith(held_out) else "train") for i in images]
    if not path.is_file():  # written again, it would be another file to the runs
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(text)
    return path


def run_folder(arguments: argparse.Namespace, name: str, share: str, label: str, steps: int, seed: int) -> Path:
    """Return where a run lies."""
    where = "-accelerated" if arguments.accelerator else ""
    plain = f"{name}-{share}-{label}-{steps}-{seed}{where}".replace("/", "of").replace(" ", "_").replace("+", "p")
    return Path(arguments.keep) / plain


def run_once(words: Sequence[str], out: Path, *, networks: bool = True) -> None:
    """Run maskwright, unless the same words have been run into this folder to the end; without `networks`, the
    checkpoints, most of what it wrote, are removed then.
    """
    note = out.with_name(f"{out.name}.json")
    if note.is_file() and json.loads(note.read_text()) == list(words):
        return
    subprocess.run([sys.executable, "-m", "maskwright", *words, "--out", str(out)], check=True)
    note.write_text(json.dumps(list(words)))
    for checkpoint in () if networks else list(out.rglob("*.ckpt")):
        checkpoint.unlink()


def void_left_out(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return the mean IoU of all classes but the last; pixels whose truth is the last don't count."""
    return _mean_iou(np.tensordot(weights, tables, 1)[:, :-1, :-2])


def all_classes(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return the mean IoU of all classes that are anywhere."""
    return _mean_iou(np.tensordot(weights, tables, 1))


def _mean_iou(counted: np.ndarray) -> np.ndarray:
    """Return the (S,) means of (S, C, C + 1 or C) tables: truth, prediction."""
    right = np.diagonal(counted, axis1=1, axis2=2)
    union = counted.sum(2) + counted[:, :, : counted.shape[1]].sum(1) - right
    return np.nanmean(np.divide(right, union, out=np.full(union.shape, np.nan), where=union > 0), axis=1)


_RULES = {**RULES, "void_left_out": void_left_out, "all_classes": all_classes}


def score_of(wanted: Set, tables: Tables) -> Callable[[np.ndarray], np.ndarray]:
    """Return the mean over the seeds of a set's score, of resamples of the images."""
    return statistic(_RULES[wanted.rule], tables)


def to_row(
    wanted: Set, own: Measured, supervised: Measured | None, full: Measured | None, arguments: argparse.Namespace
) -> Row:
    """Return the row of a method: its score, its gain over the supervised training, its share of the full score."""
    score, n = score_of(wanted, own.tables), len(own.groups)
    options: dict[str, Any] = {"groups": own.groups}
    found = bootstrap(score, n, rng=np.random.default_rng(0), **options)
    each = [float(score_of(wanted, one[None])(np.ones((1, n)))[0]) for one in own.tables]
    details: dict[str, Any] = {
        "seeds": dict(zip(map(str, arguments.seeds), each, strict=True)),
        "steps of each training": list(own.trainings),
        "supervised steps that cost as much": own.cost,
        "ran on": where_it_runs(arguments.accelerator),
    }
    if own.adopted:
        details["adopted by the rule"] = dict(zip(map(str, arguments.seeds), own.adopted, strict=True))
    if full is not None:
        whole = score_of(wanted, full.tables)
        share = bootstrap(lambda w: score(w) / whole(w), n, rng=np.random.default_rng(0), **options)
        details["share of the score of all labels"] = interval_of(share)
    groups = len(set(own.groups))
    unit = f"{wanted.rule}, trainings of {' + '.join(map(str, own.trainings))} steps, mean of {len(own.tables)} seeds"
    unit += f", {n} held-out images of {groups} groups"
    row = Row(figure=found.value, unit=unit, interval=(found.low, found.high), details=details)
    if supervised is None:
        return row
    return row.model_copy(update=compared(wanted, own, supervised, SUPERVISED))


def compared(wanted: Set, own: Measured, other: Measured, name: str) -> dict[str, Any]:
    """Return the fields of a row that compare it with another."""
    one, two, n = score_of(wanted, own.tables), score_of(wanted, other.tables), len(own.groups)
    gain = paired_difference(one, two, n, groups=own.groups, rng=np.random.default_rng(0))
    difference = Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n)
    return {"against": name, "other": float(two(np.ones((1, n)))[0]), "comparison": difference}


def above(row: Row) -> Row:
    """Return ours with its target: above the supervised training, at the lower end of the interval."""
    low = None if row.comparison is None else row.comparison.low
    return row.model_copy(update={"target": "> 0 over supervised", "reached": low is not None and low > 0})


def against_best(wanted: Set, done: dict[str, Measured]) -> Row:
    """Return ours against the best of the others: not worse by more than a point, at the lower end of the interval."""
    n = len(done[OURS].groups)
    scores = {k: float(score_of(wanted, m.tables)(np.ones((1, n)))[0]) for k, m in done.items()}
    best = max((label for label in scores if label != OURS), key=scores.__getitem__)
    fields = compared(wanted, done[OURS], done[best], best)
    low = fields["comparison"].low
    return Row(
        figure=scores[OURS],
        unit=wanted.rule,
        target="≥ −0.01",
        reached=low is not None and low >= -_POINT,
        details={"scores": scores},
        **fields,
    )

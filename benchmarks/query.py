"""Labelling what `query` asks for against labelling at random: the same number, held-out groups, three seeds.

Of each set 30 % of the groups are held out, the same for all seeds. A seed draws the first labelled images (teeth: 12,
mars_gray: 24); all others are the pool. A run on these predicts the pool, `maskwright query` chooses as many again, and
a random draw does; the expert's answer is the truth. Two runs, alike but for what was chosen, learn from the doubled
labels. Scores are of the mean of two folds' networks on the images that all runs hold out, without post-processing, the
mean of the seeds; intervals resample the groups of these images, paired. `first` is the run before any answer, as a
measure of what twice the labels are worth. A run of 240 steps takes about three minutes on one core: with three runs a
seed, three seeds and two sets about an hour.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import record
from benchmarks.few_label_sets import PRECISION, network
from benchmarks.few_labels import run_once
from benchmarks.parts import RULES, Tables, statistic
from benchmarks.record import Comparison, Row
from benchmarks.rounds import held_out_of_all, held_out_tables
from maskwright.statistics import bootstrap, paired_difference

_QUICK = ("audit.crops=false", "audit.pictures=false", "predict.overlays=0", "postprocess.search=[]")
_PLAIN = ("evaluate.families=[]", "split.folds=2", "split.seed=0", "train.threads=1")
_HELD_OUT = 0.3
FIRST, RANDOM, OURS = "first", "random", "query"


class Set(NamedTuple):
    """Data of which few images are labelled at first.

    Attributes:
        classes: number of categories.
        binary: whether everything but 0 is foreground.
        rule: name in `parts.RULES`.
        group: column of meta.csv; None: each image for itself.
        start: images labelled at first; as many are asked for.
        options: of the command line.
        settings: of the recipe.
    """

    classes: int
    binary: bool
    rule: str
    group: str | None
    start: int
    options: tuple[str, ...]
    settings: tuple[str, ...]


SETS = {
    "teeth": Set(
        2,
        True,
        "mean_dice",
        None,
        12,
        ("--classes", "binary"),
        ("train.scale=[128, 128]", "train.crop=[128, 128]", "train.batch=4"),
    ),
    "mars_gray": Set(
        5,
        False,
        "terrain",
        "sol",
        24,
        ("--group", "sol", "--leave-out", "background"),
        ("train.scale=1", "train.crop=[64, 128]", "train.batch=8"),
    ),
}


class Drawn(NamedTuple):
    """What a seed begins with: image files relative to `images/`.

    Attributes:
        held_out: scored, never learned from.
        labelled: at first.
        pool: the others.
    """

    held_out: list[str]
    labelled: list[str]
    pool: list[str]


class Answered(NamedTuple):
    """The run that learned from what was chosen, and what was."""

    run: Path
    chosen: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks query", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    rows = record.read("query")
    for name in arguments.only:
        wanted, done = SETS[name], {seed: answered(name, seed, arguments) for seed in arguments.seeds}
        scored = held_out_of_all(one.run for arms in done.values() for one in arms.values())
        stacked, groups = dict[str, Tables](), list[str]()
        for arm in (FIRST, RANDOM, OURS):
            about = (arguments.data / name, wanted.classes, wanted.binary, scored)
            read = [held_out_tables(arms[arm].run, 0, *about) for arms in done.values()]
            stacked[arm], groups = np.stack([tables for tables, _ in read]), read[0][1]
        chosen = {f"seed {seed}": arms[OURS].chosen for seed, arms in done.items()}
        rows |= to_rows(name, stacked, groups, chosen, arguments)
        record.write("query", rows)


def answered(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Answered]:
    """Return what came of each way."""
    wanted, root = SETS[name], arguments.data / name
    drawn = draw(root, wanted, seed)
    first = _run(name, FIRST, seed, drawn, [], arguments)
    rng = np.random.default_rng([seed, 1])
    picked = {
        FIRST: [],
        RANDOM: sorted(rng.choice(drawn.pool, wanted.start, replace=False).tolist()),
        OURS: asked_for(first, wanted.start),
    }
    return {
        arm: Answered(first if arm == FIRST else _run(name, arm, seed, drawn, images, arguments), images)
        for arm, images in picked.items()
    }


def draw(root: Path, wanted: Set, seed: int) -> Drawn:
    """Return the held-out part, which is that of every seed, and what a seed labels at first."""
    files = sorted(p.relative_to(root / "images").as_posix() for p in (root / "images").glob("**/*") if p.is_file())
    groups = dict(zip(files, files, strict=True))
    if wanted.group is not None:
        with (root / "meta.csv").open(newline="") as file:
            known = {row["name"]: row[wanted.group] for row in csv.DictReader(file)}
        groups = {file: known[Path(file).with_suffix("").as_posix()] for file in files}
    names = sorted(set(groups.values()))
    order = np.random.default_rng(0).permutation(names)
    out = set(order[: max(1, round(_HELD_OUT * len(names)))].tolist())
    rest = [file for file in files if groups[file] not in out]
    mixed = np.random.default_rng([seed, 0]).permutation(rest).tolist()
    return Drawn([f for f in files if groups[f] in out], sorted(mixed[: wanted.start]), sorted(mixed[wanted.start :]))


def asked_for(run: Path, count: int) -> list[str]:
    """Return the images that the command chooses, as they are called in `images/`."""
    note = run.with_name(f"{run.name}-query.json")
    if not note.is_file():
        words = [sys.executable, "-m", "maskwright", "query", str(run), "-n", str(count), "--json"]
        note.write_text(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return [row["image"].removeprefix("unlabeled/") for row in json.loads(note.read_text())["images"]]


def _run(name: str, arm: str, seed: int, drawn: Drawn, more: Sequence[str], arguments: argparse.Namespace) -> Path:
    """Learn from the first labels and more; the pool is predicted where it is asked about. Return the run folder."""
    wanted, out = SETS[name], arguments.keep / f"{name}-{arm}-{arguments.steps}-{seed}"
    data = folder_of(arguments.data / name, out.with_name(f"{out.name}-data"), drawn, more, pool=arm == FIRST)
    settings = [*_QUICK, *_PLAIN, *PRECISION, *wanted.settings, network(accelerator=False)]
    settings += [f"train.steps={arguments.steps}", f"split.file={data / 'split.csv'}"]
    words = [word for setting in settings for word in ("--set", setting)]
    run_once(["run", "--data", str(data), *wanted.options, *words, "--seed", str(seed)], out)
    return out


def folder_of(root: Path, target: Path, drawn: Drawn, more: Iterable[str], *, pool: bool) -> Path:
    """Make a data folder of links: the held-out part, what is labelled, and the pool in `unlabeled/`."""
    if target.is_dir():
        return target
    growing = target.with_name(f".{target.name}")
    learned = [*drawn.labelled, *more]
    places = [("images", file) for file in [*drawn.held_out, *learned]]
    places += [("unlabeled", file) for file in drawn.pool] if pool else []
    links = [(growing / place / file, root / "images" / file) for place, file in places]
    masks = [Path(file).with_suffix(".png") for place, file in places if place == "images"]
    links += [(growing / "masks" / mask, root / "masks" / mask) for mask in masks]
    links += [(growing / file, root / file) for file in ("classes.json", "meta.csv") if (root / file).is_file()]
    for link, file in links:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    with (growing / "split.csv").open("w", newline="") as table:
        rows = [(f"images/{f}", "val") for f in drawn.held_out] + [(f"images/{f}", "train") for f in learned]
        csv.writer(table).writerows([("image", "part"), *rows])
    growing.rename(target)
    return target


def to_rows(
    name: str, found: dict[str, Tables], groups: list[str], chosen: dict[str, list[str]], arguments: argparse.Namespace
) -> dict[str, Row]:
    """Return a row for each way of doubling the labels: ours against random, random against none."""
    wanted, n, rows = SETS[name], len(groups), dict[str, Row]()
    for arm, other in ((OURS, RANDOM), (RANDOM, FIRST)):
        one, two = (statistic(RULES[wanted.rule], found[which]) for which in (arm, other))
        own = bootstrap(one, n, groups=groups, rng=np.random.default_rng(0))
        gain = paired_difference(one, two, n, groups=groups, rng=np.random.default_rng(0))
        each = [statistic(RULES[wanted.rule], table[None])(np.ones((1, n))) for table in found[arm]]
        details = {"seeds": dict(zip(map(str, arguments.seeds), (float(e[0]) for e in each), strict=True))}
        rows[f"{name}, {2 * wanted.start} labels, the second half by {arm}"] = Row(
            figure=own.value,
            unit=f"{wanted.rule}, {arguments.steps} steps, mean of {len(arguments.seeds)} seeds, {n} held-out images",
            interval=(own.low, own.high),
            against=other if other != FIRST else f"the first {wanted.start} labels alone",
            other=float(two(np.ones((1, n)))[0]),
            comparison=Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n),
            target="> 0" if arm == OURS else "",
            reached=gain.low > 0 if arm == OURS else None,
            details=details | ({"chosen": chosen} if arm == OURS else {}),
        )
    return rows


if __name__ == "__main__":
    main()

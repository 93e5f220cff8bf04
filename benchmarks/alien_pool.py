"""A pool from another world: glands (glas, gray) as the images without labels of Mars terrain (mars_gray).

Some 120 labelled images of mars_gray, whole sols, and 340 pieces of 128×64 cut from the 85 slides, as `unlabeled/`; two
fifths of the sols are held out. `maskwright selftrain` as it comes must not deliver anything worse than its supervised
training: the row is the difference of the two on the held-out images, whose interval must not reach below −0.01. Beside
it stands what the round would have done had it been adopted whatever it gains, for how many seeds the rule adopted it,
and the audit's shift of the pool (0: like the labelled images; 1: nothing in common) with the images that it calls
outliers. Out of fold and held out are images of Mars alone.

The budget is that of `few_labels`: what `--steps` (800) supervised steps of each of two folds cost pays for both
trainings, 616 steps and a quarter of that. A seed is some four minutes of steps.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from benchmarks import record
from benchmarks.few_label_sets import METHODS, OURS, PRECISION, SETS, network
from benchmarks.few_labels import Measured, add_options, budget_of, compared, named, run_once, score_of
from benchmarks.record import Row
from benchmarks.rounds import held_out_tables, rule_adopts, where_it_runs
from maskwright.artifacts import RunFolder, read_table

LABELLED, PIECES = 120, 4
POINT = 0.01
"""What may be lost at the lower end of the interval."""
_SIZE = (64, 128)
_SETTINGS = ("audit.crops=false", "audit.pictures=false", "postprocess.search=[]", "split.folds=2", "split.seed=0")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks alien_pool", description=__doc__)
    add_options(parser)
    arguments = parser.parse_args()
    data = make_folder(arguments.data, arguments.keep / "data" / "alien_pool")
    outs = run_all(data, arguments)
    wanted, truth = SETS["mars_gray"], arguments.data / "mars_gray"
    rounds = [[held_out_tables(out, r, truth, wanted.classes, False) for out in outs] for r in (0, 1)]
    groups, adopted = rounds[0][0][1], [rule_adopts(out) for out in outs]
    before, forced = (np.stack([tables for tables, _ in found]) for found in rounds)
    delivered = np.where(np.array(adopted)[:, None, None, None], forced, before)
    about: dict[str, Any] = {
        "adopted by the rule": dict(zip(map(str, arguments.seeds), adopted, strict=True)),
        "shift of the pool by the audit": dict(zip(map(str, arguments.seeds), map(shift_of, outs), strict=True)),
        "outliers by the audit": dict(zip(map(str, arguments.seeds), map(outliers_of, outs), strict=True)),
        "steps of each training": list(METHODS[OURS].trainings(steps_of(arguments))),
        "ran on": where_it_runs(arguments.accelerator),
    }
    rows = record.read("alien_pool")
    for name, tables in (("selftrain as it comes", delivered), ("adopted whatever it gains", forced)):
        own, other = (Measured(found, groups, (), 0, []) for found in (tables, before))
        fields = compared(wanted, own, other, "its supervised training")
        figure = float(score_of(wanted, tables)(np.ones((1, len(groups))))[0])
        unit = f"{wanted.rule}, {sum(adopted)} of {len(adopted)} seeds adopted by the rule"
        rows[named(name, arguments)] = Row(figure=figure, unit=unit, details=about, **fields)
    judged = rows[named("selftrain as it comes", arguments)]
    low = None if judged.comparison is None else judged.comparison.low
    judged.target, judged.reached = f"≥ −{POINT:g} at the lower end", low is not None and low >= -POINT
    record.write("alien_pool", rows)


def make_folder(root: Path, out: Path) -> Path:
    """Write the folder: labelled images of Mars as links, pieces of slides as the pool."""
    done = out / "meta.csv"
    if done.is_file():
        return out
    for name in ("images", "masks", "unlabeled"):
        (out / name).mkdir(parents=True, exist_ok=True)
    mars = root / "mars_gray"
    with (mars / "meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = draw_sols({row["name"]: row["sol"] for row in rows})
    files = {path.stem: path for path in (mars / "images").iterdir()}
    for name in chosen:
        link(files[name], out / "images" / files[name].name)
        link(mars / "masks" / f"{name}.png", out / "masks" / f"{name}.png")
    link(mars / "classes.json", out / "classes.json")
    rng = np.random.default_rng(0)
    for path in sorted((root / "glas" / "images").iterdir()):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert gray is not None, path
        for nth in range(PIECES):
            top, left = (int(rng.integers(0, side - own)) for side, own in zip(gray.shape, _SIZE, strict=True))
            piece = gray[top : top + _SIZE[0], left : left + _SIZE[1]]
            cv2.imwrite(str(out / "unlabeled" / f"{path.stem}_{nth}.png"), piece)
    with done.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "sol"])
        writer.writerows([row["name"], row["sol"]] for row in rows if row["name"] in chosen)
    return out


def draw_sols(groups: dict[str, str]) -> set[str]:
    """Return the names of whole groups, drawn until there are enough.

    Example:
        >>> len(draw_sols({f"{sol}_{k}": str(sol) for sol in range(50) for k in range(7)}))
        126
    """
    order, found = sorted({*groups.values()}), set[str]()
    for group in np.random.default_rng(0).permutation(order):
        if len(found) >= LABELLED:
            break
        found |= {name for name, own in groups.items() if own == group}
    return found


def shift_of(run: Path) -> float | None:
    """Return how far the audit finds the pool from the labelled images, 0 to 1; None where it found nothing to say."""
    table = read_table(RunFolder(run).audit / "parts.parquet")
    found = table.filter((pl.col("column") == "labels") & (pl.col("name") == "unlabelled"))["shift"].to_list()
    return found[0] if found else None


def outliers_of(run: Path) -> int:
    """Return how many images of the pool the audit calls outliers, which aren't learned from."""
    findings = read_table(RunFolder(run).findings)
    outliers = findings.filter(pl.col("kind").str.starts_with("outlier_"))["image"].unique()
    return sum(Path(image).parts[0] == "unlabeled" for image in outliers)


def link(source: Path, target: Path) -> None:
    """Make a symbolic link, unless it is there."""
    if not target.exists():
        target.symlink_to(source)


def steps_of(arguments: argparse.Namespace) -> int:
    """Return the steps of the supervised training."""
    return METHODS[OURS].steps(budget_of(arguments))


def run_all(data: Path, arguments: argparse.Namespace) -> list[Path]:
    """Run selftrain with all seeds; return the run folders. The round is kept whatever it gains."""
    steps = steps_of(arguments)
    settings = [*_SETTINGS, *PRECISION, *SETS["mars_gray"].settings, network(accelerator=arguments.accelerator)]
    settings += [f"train.steps={steps}", "selftrain.adopt=always", "evaluate.families=[]", "predict.overlays=0"]
    settings.append("train.accelerator=gpu" if arguments.accelerator else "train.threads=1")
    words = ["selftrain", "--data", str(data), "--group", "sol", "--leave-out", "background", "--holdout", "0.4"]
    words += [word for setting in settings for word in ("--set", setting)]
    where = "-accelerated" if arguments.accelerator else ""
    outs = {seed: arguments.keep / f"alien_pool-{steps}-{seed}{where}" for seed in arguments.seeds}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(
            pool.map(lambda seed: run_once([*words, "--seed", str(seed)], outs[seed], networks=False), arguments.seeds)
        )
    return list(outs.values())

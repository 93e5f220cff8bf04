"""What the default round of `maskwright selftrain` was chosen by: variants of it, on sets that no table reports.

Crops and weeds (cwfid, half of the labels), Mars panoramas (marsscapes, a quarter) and glands (glas, an eighth), the
rest of the labels not looked at; two folds, two seeds. All variants go on from the same supervised networks, in copies
of one run: `default` is the round as it comes; `strong colours` are those of UniMatch and ST++; `aligned` brings the
teacher's labels to the shares of the labelled crops; `every pixel` has no thresholds; `labels alone` is as long, with
no weight on the pool. A row is the gain over the supervised networks on the held-out images, the mean of the seeds;
intervals resample their groups. Beside it stands the out-of-fold gain of each seed, which the rule of adoption sees.

A run takes some five minutes on one core, a variant of it two more.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.few_label_sets import Method, Set
from benchmarks.few_labels import Measured, add_options, command, compared, run_folder, score_of
from benchmarks.object_rounds import finish
from benchmarks.record import Row
from benchmarks.rounds import held_out_tables
from maskwright.artifacts import read_json
from maskwright.recipe.unlabelled import OURS, OURS_LENGTH, STRONG

DEFAULT, STEPS = "default", 616
SETS = {
    "cwfid": Set(
        "cwfid",
        ["--holdout", "0.3"],
        "all_classes",
        3,
        False,
        ("1/2",),
        ("train.scale=0.25", "train.crop=[128, 160]", "train.batch=4"),
    ),
    "marsscapes": Set(
        "marsscapes",
        ["--group", "sol", "--ignore", "void", "--holdout", "0.3"],
        "all_classes",
        8,
        False,
        ("1/4",),
        ("train.scale=0.5", "train.crop=[128, 128]", "train.batch=4"),
    ),
    "glas": Set(
        "glas",
        ["--classes", "binary", "--group", "patient ID", "--holdout", "0.3"],
        "mean_dice",
        2,
        True,
        ("1/8",),
        ("train.scale=0.3", "train.crop=[128, 160]", "train.batch=4"),
    ),
}
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "strong colours": {"strong": [spec.model_dump(mode="json") for spec in STRONG]},
    "aligned": {"align": 1.0},
    "every pixel": {"adaptive": None, "threshold": 0.0},
    "labels alone": {"weight": 0.0},
}
_MASKS = {"marsscapes": "semantic"}
"""Folder of the masks of a set that has several."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks round_variants", description=__doc__)
    add_options(parser)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.set_defaults(seeds=[0, 1], steps=STEPS)
    arguments = parser.parse_args()
    rows = record.read("round_variants")
    for name in arguments.only:
        for label in VARIANTS:
            rows[f"{name}: {label}"] = to_row(name, label, arguments)
            record.write("round_variants", rows)


def to_row(name: str, label: str, arguments: argparse.Namespace) -> Row:
    """Return what a variant of the round gains over the supervised networks."""
    wanted = SETS[name]
    outs = [run(name, label, seed, arguments) for seed in arguments.seeds]
    truth = folder_of(arguments.data / wanted.folder, arguments.keep / "sets" / wanted.folder)
    read = [[held_out_tables(out, r, truth, wanted.classes, wanted.binary) for out in outs] for r in (0, 1)]
    groups = read[0][0][1]
    before, after = (Measured(np.stack([tables for tables, _ in found]), groups, (), 0, []) for found in read)
    score, ones = score_of(wanted, after.tables), np.ones((1, len(groups)))
    each = [[float(score_of(wanted, one[None])(ones)[0]) for one in own.tables] for own in (before, after)]
    gains = [new - old for old, new in zip(*each, strict=True)]
    expected = [read_json(out / "round-1" / "adopt.json")["gain"] for out in outs]
    return Row(
        figure=float(score(ones)[0]),
        unit=f"{wanted.rule}, mean of {len(outs)} seeds, {wanted.shares[0]} of the labels",
        details={
            "gain of each seed": gains,
            "out-of-fold gain of each seed": [{k: one[k] for k in ("value", "low", "high")} for one in expected],
            "steps": arguments.steps,
        },
        **compared(wanted, after, before, "its supervised training"),
    )


def run(name: str, label: str, seed: int, arguments: argparse.Namespace) -> Path:
    """Return the finished run of a variant; those after the first are made in copies of that one."""
    wanted = SETS[name]
    method = {**OURS.model_dump(mode="json"), **VARIANTS[label]}
    spec = Method({"method": method, "length": OURS_LENGTH})
    folder_of(arguments.data / wanted.folder, arguments.keep / "sets" / wanted.folder)
    own = argparse.Namespace(**{**vars(arguments), "data": arguments.keep / "sets"})
    words = command(wanted, wanted.shares[0], spec, arguments.steps, own)
    words += ["--seed", str(seed), "--set", f"split.labelled_seed={seed}"]
    out = run_folder(own, name, wanted.shares[0], label, arguments.steps, seed)
    finish(words, out, None if label == DEFAULT else run(name, DEFAULT, seed, arguments))
    return out


def folder_of(root: Path, out: Path) -> Path:
    """Return a folder of links to the images and the masks of a set."""
    out.mkdir(parents=True, exist_ok=True)
    known = {"images": "images", "masks": _MASKS.get(root.name, "masks"), "instances": "instances"}
    for name, source in {**known, "classes.json": "classes.json", "meta.csv": "meta.csv"}.items():
        several = name == "instances" and (root / known["masks"]).exists()  # objects aren't asked for
        if (root / source).exists() and not several and not (out / name).exists():
            (out / name).symlink_to(root / source)
    return out


if __name__ == "__main__":
    main()

"""The price of leaks: out-of-fold scores of the same training on naive and on clean folds, three seeds.

Naive folds know of no group (camvid: sequence, glas: patient, marsdata_rocks: frame with its copies) and no duplicate.
Resumable: what results/price_of_leaks.json has already is not run again (`--redo` starts afresh). `marsdata_rocks` is
learned with its flipped, turned and warped copies, but without the `_tup` ones, whose masks are shifted.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks import record
from benchmarks.record import Comparison, Row


class Job(NamedTuple):
    """A set with the options that it is run with, the metric of its price, and the size that it is worked at."""

    options: list[str]
    metric: str
    scale: float


JOBS = {
    "camvid": Job(["--ignore", "void", "--group", "sequence", "--folds", "3", "--set", "split.use_parts=false"],
                  "pooled_miou", 0.4),
    "marsdata_rocks": Job(["--classes", "binary", "--group", "group", "--folds", "3"], "mean_dice", 0.4),
    "glas": Job(["--classes", "binary", "--group", "patient ID", "--folds", "3"], "mean_dice", 0.35),
}  # fmt: skip


_QUICK = ("postprocess.search=[]", "audit.crops=false", "audit.pictures=false", "predict.overlays=0")
"""The most probable category is scored, on either side; and what changes no score."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks price_of_leaks", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=250, help="of the training of a fold; the same on any machine")
    parser.add_argument("--keep", type=Path, help="keep the run folders here; one that was cut short goes on")
    parser.add_argument("--redo", action="store_true")
    arguments = parser.parse_args()
    rows = {} if arguments.redo else record.read("price_of_leaks")
    for seed in arguments.seeds:
        for name in arguments.only:
            key = f"{name}, seed {seed}"
            if key not in rows:
                rows[key] = measure(name, arguments.data, seed, arguments.steps, arguments.keep)
                record.write("price_of_leaks", rows)


def measure(name: str, data: Path, seed: int, steps: int, keep: Path | None) -> Row:
    """Run one set with a seed through the command line; return the price."""
    job = JOBS[name]
    with tempfile.TemporaryDirectory() as temporary:
        out = (keep or Path(temporary)) / f"{name}-{seed}"
        root = data / name if name != "marsdata_rocks" else with_copies(data / name, (keep or Path(temporary)) / name)
        words = ["run", "--data", str(root), *job.options, "--holdout", "0"]
        words += ["--set", f"train.steps={steps}", "--set", f"train.scale={job.scale}", "--set", "train.threads=1"]
        words += [word for setting in _QUICK for word in ("--set", setting)]
        words += ["--seed", str(seed), "--set", "report.price_of_leaks=true", "--out", str(out), "--json"]
        ended = subprocess.run(
            [sys.executable, "-m", "maskwright", *words], stdout=subprocess.PIPE, text=True, check=True
        )
        price = json.loads((out / "predictions" / "price_of_leaks.json").read_text(encoding="utf-8"))
        return to_row(job.metric, price, {"split": json.loads(ended.stdout)["split"], "steps": steps})


def to_row(metric: str, price: dict, details: dict) -> Row:
    """Return a row: the naive score, against the clean one, and the paired difference."""
    found = price["metrics"][metric]
    difference = found["price"]
    return Row(
        figure=found["naive"]["value"],
        unit=f"{metric}, out of fold, naive folds",
        interval=(found["naive"]["low"], found["naive"]["high"]),
        against="clean folds",
        other=found["clean"]["value"],
        comparison=Comparison(kind="difference", **difference),
        details=details | {key: value for key, value in price.items() if key != "note"},
    )


def with_copies(root: Path, out: Path) -> Path:
    """Return a data folder of frames and their copies, with one meta.csv."""
    with open(root / "meta.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["variant"] != "tup"]
    images, masks = (find(root, kind) for kind in ("images", "masks"))
    kept = [row for row in rows if row["name"] in images and row["name"] in masks]
    for kind, files in (("images", images), ("masks", masks)):
        (out / kind).mkdir(parents=True, exist_ok=True)
        for row in kept:
            shutil.copyfile(files[row["name"]], out / kind / f"{row['name']}{files[row['name']].suffix}")
    shutil.copyfile(root / "classes.json", out / "classes.json")
    with open(out / "meta.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["name", "group"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
    return out


def find(root: Path, kind: str) -> dict[str, Path]:
    """Return name → file of the frames and of the copies."""
    files = [p for p in (*(root / kind).rglob("*"), *(root / "duplicates" / kind).rglob("*")) if p.is_file()]
    return {path.stem: path for path in files}

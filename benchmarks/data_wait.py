"""The share of training time in which the loop waits for data, images read from disk at every use."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks import record
from benchmarks.record import Row
from maskwright.recipe import load_recipe

SETS = {"teeth": ["--classes", "binary"], "camvid": ["--ignore", "void"]}
LIMIT = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks data_wait", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--steps", type=int, default=48)
    arguments = parser.parse_args()
    rows = record.read("data_wait")
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            words = ["train", "--data", str(arguments.data / name), "--out", str(run), *SETS[name], "--folds", "1"]
            words += ["--holdout", ".15", "--set", "split.use_parts=false", "--set", "train.cache=0"]
            words += [
                "--set",
                f"train.steps={arguments.steps}",
                "--set",
                f"train.validate_every={arguments.steps // 3}",
            ]
            subprocess.run([sys.executable, "-m", "maskwright", *words], check=True)
            curves = pl.read_csv(run / "round-0" / "fold-0" / "metrics.csv")
            train = load_recipe(run / "recipe.yaml").train
        share = float(curves["waited"].mean())  # type: ignore[arg-type]
        rows[name] = Row(
            figure=share,
            unit="of the time",
            target=f"≤ {LIMIT:.0%}",
            reached=share <= LIMIT,
            details={
                "by_epoch": curves["waited"].to_list(),
                "batch": train.batch,
                "crop": train.crop,
                "workers": train.workers,
                "seconds_per_step": round(float(curves["seconds"][-1]) / arguments.steps, 3),
            },
        )
    record.write("data_wait", rows)

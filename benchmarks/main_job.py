"""The main job on real folders, as a user types it: one fold with a held-out part, and five folds, within minutes.

The defaults were chosen with trials on `camvid` (its val part) and `glas` (among them the hold-out of seed 0), and one
comparison on `teeth`: read their figures as optimistic; judge by other seeds, and by `mars_gray`, which was not seen.

Resumable: what results/main_job.json has already is not run again (`--redo` starts afresh).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import record
from benchmarks.record import Row


class Job(NamedTuple):
    """A set with the options that it is run with.

    `reference`: what a plain script (smp U-Net resnet18, albumentations, 256×256, CE + Dice, bf16) came to when it was
    given the same minutes on all of the set, on other held-back images; `plain_script` compares on the same images.
    `folder`: the set, where the job isn't called as it is.
    """

    options: list[str]
    metric: str
    reference: float
    folder: str | None = None


JOBS = {
    "teeth": Job(["--classes", "binary", "--minutes", "8"], "mean_dice", 0.902),
    "glas": Job(["--classes", "binary", "--group", "patient ID", "--minutes", "8"], "mean_dice", 0.879),
    "glas, patients shared": Job(["--classes", "binary", "--minutes", "8"], "mean_dice", 0.879, "glas"),
    "mars_gray": Job(["--group", "sol", "--leave-out", "background", "--minutes", "5"], "pooled_miou", 0.396),
    "camvid": Job(["--ignore", "void", "--minutes", "8"], "pooled_miou", 0.413),
}

_SETTINGS = {"one fold": ["--folds", "1", "--holdout", ".15"], "five folds": ["--folds", "5"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks main_job", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--setting", nargs="*", default=list(_SETTINGS), choices=list(_SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep the run folders here")
    parser.add_argument("--redo", action="store_true")
    arguments = parser.parse_args()
    rows = {} if arguments.redo else record.read("main_job")
    for setting in arguments.setting:
        for name in arguments.only:
            key = f"{name}, {setting}, seed {arguments.seed}"
            if key not in rows:
                rows[key] = measure(name, setting, arguments.data, arguments.seed, arguments.keep)
                record.write("main_job", rows)


def measure(name: str, setting: str, data: Path, seed: int, keep: Path | None) -> Row:
    """Run one job through the command line; return what it scored and took."""
    job, split = JOBS[name], _SETTINGS[setting]
    if name == "camvid" and setting == "one fold":
        split = ["--folds", "1"]  # the folder's own parts: trained on train, scored on val
    with tempfile.TemporaryDirectory() as temporary:
        out = (keep or Path(temporary)) / run_name(name, setting, seed)
        if (out / "plan.json").exists():
            raise SystemExit(f"{out} holds a run: going on with it takes less time than a whole one; move it away")
        words = ["run", "--data", str(data / (job.folder or name)), *job.options, *split, "--seed", str(seed)]
        started = time.perf_counter()
        command = [sys.executable, "-m", "maskwright", *words, "--out", str(out), "--json"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - started
        summary = json.loads(ended.stdout)
        plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
        times = json.loads((out / "run.json").read_text(encoding="utf-8"))["seconds"]
        scores = summary["scores"]
        parts = {part: scores.get(f"{part}/{job.metric}") for part in ("oof", "holdout")}
        return to_row(
            job,
            setting,
            scores[job.metric],
            {
                "command": "maskwright " + " ".join(["run", "--data", job.folder or name, *words[3:]]),
                "parts": {part: score for part, score in parts.items() if score},
                "split": summary["split"],
                "tuned": {key: summary["tuned"][key] for key in ("adopted", "chain", "gain")},
                "plan": plan,
                "training_seconds": round(sum(value for key, value in times.items() if key.startswith("train-")), 1),
                "seconds": round(seconds, 1),
            },
        )


def run_name(name: str, setting: str, seed: int) -> str:
    """Return what the run folder of a job is called.

    Example:
        >>> run_name("glas, patients shared", "one fold", 0)
        'glas-patients-shared-one-fold-0'
    """
    return "-".join([*name.replace(",", "").split(), *setting.split(), str(seed)])


def to_row(job: Job, setting: str, score: dict[str, Any], details: dict[str, Any]) -> Row:
    """Return a row; the target is stated for one fold only."""
    one = setting == "one fold"
    return Row(
        figure=score["value"],
        unit=job.metric,
        interval=(score["low"], score["high"]),
        against="the plain script's reference on other images",
        other=job.reference,
        target="reference − .01" if one else "",
        reached=score["value"] >= job.reference - 0.01 if one else None,
        details=details,
    )

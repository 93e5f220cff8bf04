"""Runs killed with SIGKILL at random moments of every stage, then finished: the same numbers and files as undisturbed.

Each kill waits until its stage has begun, then strikes after a random share of the time that the stage took in the
undisturbed run. `demo` does the same three times to `maskwright demo`, at random moments.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.record import Row
from maskwright.data.synthetic import make_playground

SMALL = (
    "data.task=semantic",
    "model.encoder=resnet10t",
    "model.encoder_weights=none",
    "model.decoder_channels=[16, 16, 8]",
    "train.steps=24",
    "train.validate_every=4",
    "train.batch=2",
    "train.crop=[64, 96]",
    "train.scale=1",
    "train.precision=float32",
    "train.channels_last=false",
    "train.threads=1",
    "evaluate.samples=200",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", nargs="*", default=["stages", "demo"], choices=["stages", "demo"])
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    rows = record.read("kills")
    with tempfile.TemporaryDirectory() as folder:
        if "stages" in arguments.only:
            rows["a kill in every stage"] = stages(Path(folder), arguments.kills, rng)
        if "demo" in arguments.only:
            rows |= demo(Path(folder), rng)
    record.write("kills", rows)


def stages(folder: Path, kills: int, rng: random.Random) -> Row:
    """Kill a small run in each stage in turn, finish it, and compare it with an undisturbed one."""
    data, calm, killed = folder / "data", folder / "calm", folder / "killed"
    make_playground(data, labelled=30, unlabelled=6, size=(96, 128))
    run = ["run", "--data", str(data), "--folds", "2", "--holdout", ".2", "--group", "scene", "--json"]
    words = [sys.executable, "-m", "maskwright", *run, *(w for s in SMALL for w in ("--set", s)), "--out"]
    subprocess.run([*words, str(calm)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = json.loads((calm / "run.json").read_text())["seconds"]
    log = [
        kill_in([*words, str(killed)], killed, stage, share * seconds)
        for stage, seconds in took.items()
        for share in sorted(rng.random() for _ in range(-(-kills // len(took))))  # early ones first: it isn't done yet
        if not (killed / ".tasks" / f"{stage}.json").is_file()
    ]
    finished = subprocess.run([*words, str(killed)], check=True, capture_output=True, text=True)
    same = {
        "exit and scores": json.loads(finished.stdout)["scores"] == scores(calm),
        "label files": labels(killed) == labels(calm),
        "files": files(killed) == files(calm),
    }
    hit = Counter(entry["stage"] for entry in log if entry["killed"])
    missed = [stage for stage in took if not hit[stage]]
    details = {"kills": sum(hit.values()), "by stage": dict(hit), "without a kill": missed, "same": same, "log": log}
    return Row(
        figure=sum(same.values()),
        unit="of 3 the same",
        target="3, with a kill in every stage",
        reached=all(same.values()) and not missed,
        details=details,
    )


def kill_in(words: list[str], run: Path, stage: str, delay: float) -> dict[str, Any]:
    """Start a run, wait until a stage has begun, kill it after a delay; say whether it was still in that stage."""
    started = time.time()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not _has_begun(run, stage, started):
        time.sleep(0.002)
    time.sleep(delay)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = alive and not (run / ".tasks" / f"{stage}.json").is_file()
    return {"stage": stage, "after_seconds": round(delay, 3), "killed": killed}


def _has_begun(run: Path, stage: str, since: float) -> bool:
    """Whether a stage was begun since then; a run that was killed before left the file, too."""
    try:
        return (run / ".tasks" / f"{stage}.started.json").stat().st_mtime >= since
    except FileNotFoundError:
        return False


def demo(folder: Path, rng: random.Random) -> dict[str, Row]:
    """Kill the demo three times, finish it, and compare it with an undisturbed run of its recipe."""
    killed, calm = folder / "demo", folder / "calm-demo"
    words = [sys.executable, "-m", "maskwright", "demo", "--out", str(killed)]
    kills = [kill_after(words, 15 + rng.random() * 25) for _ in range(3)]
    started = time.perf_counter()
    subprocess.run(words, check=True)
    finish = time.perf_counter() - started
    run = ["run", "--recipe", str(killed / "run" / "recipe.yaml"), "--out", str(calm)]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "maskwright", *run], check=True)
    undisturbed = time.perf_counter() - started
    same = {
        "scores": scores(killed / "run") == scores(calm),
        "label files": labels(killed / "run") == labels(calm),
    }
    details = {"killed_after_seconds": kills, "finished_in_seconds": round(finish, 1), "same": same}
    return {
        "demo, three kills": Row(
            figure=sum(same.values()), unit="of 2 the same", target="2", reached=all(same.values()), details=details
        ),
        "undisturbed demo": Row(
            figure=round(undisturbed, 1), unit="s", target="< 180 s on two cores", reached=undisturbed < 180
        ),
    }


def kill_after(command: list[str], seconds: float) -> float:
    """Start a command and kill it; return the seconds it lived."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    started = time.perf_counter()
    while time.perf_counter() - started < seconds and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return round(time.perf_counter() - started, 1)


def scores(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "predictions" / "evaluation.json").read_text(encoding="utf-8"))
    return found


def labels(run: Path) -> dict[str, str]:
    """Return a hash of every predicted label file."""
    folder = run / "predictions" / "labels"
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.png"))
    }


def files(run: Path) -> list[str]:
    """Return the paths of all files of a run, hidden ones too: nothing may be orphaned."""
    return sorted(os.path.relpath(Path(at) / name, run) for at, _, names in os.walk(run) for name in names)

"""The demo killed with SIGKILL three times, then finished: the same numbers as an undisturbed run of its recipe."""

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import record
from benchmarks.record import Row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks demo_kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        killed, calm = Path(folder) / "killed", Path(folder) / "calm"
        demo = [sys.executable, "-m", "maskwright", "demo", "--out", str(killed)]
        kills = [kill_after(demo, 15 + rng.random() * 25) for _ in range(3)]
        started = time.perf_counter()
        subprocess.run(demo, check=True)
        finish = time.perf_counter() - started
        recipe = killed / "run" / "recipe.yaml"
        run = [sys.executable, "-m", "maskwright", "run", "--recipe", str(recipe), "--out", str(calm)]
        started = time.perf_counter()
        subprocess.run(run, check=True)
        undisturbed = time.perf_counter() - started
        same = {
            "scores": scores(killed / "run") == scores(calm),
            "label files": labels(killed / "run") == labels(calm),
        }
        details = {"killed_after_seconds": kills, "finished_in_seconds": round(finish, 1), "same": same}
    rows = {
        "same as undisturbed": Row(
            figure=sum(same.values()), unit="of 2", target="2", reached=all(same.values()), details=details
        ),
        "undisturbed demo": Row(
            figure=round(undisturbed, 1), unit="s", target="< 180 s on two cores", reached=undisturbed < 180
        ),
    }
    record.write("demo_kills", rows)


def kill_after(command: list[str], seconds: float) -> float:
    """Start a command and kill it; return the seconds it lived."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    started = time.perf_counter()
    while time.perf_counter() - started < seconds and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return round(time.perf_counter() - started, 1)


def scores(run: Path) -> dict:
    return json.loads((run / "predictions" / "evaluation.json").read_text(encoding="utf-8"))


def labels(run: Path) -> dict[str, str]:
    """Return a hash of every predicted label file."""
    folder = run / "predictions" / "labels"
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.png"))
    }

"""The report of a run of 1 000 images: size of the file, seconds that `maskwright report` takes."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import record
from benchmarks.kills import SMALL
from benchmarks.record import Row
from maskwright.data.synthetic import make_playground

LARGEST, LONGEST = 15.0, 20.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, nargs=2, default=(384, 512), help="height and width of an image")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "data", Path(folder) / "run"
        make_playground(data, labelled=arguments.images, unlabelled=8, size=tuple(arguments.side))
        settings = [word for setting in (*SMALL, "train.scale=0.25") for word in ("--set", setting)]
        words = ["run", "--data", str(data), "--out", str(run), "--folds", "2", "--holdout", ".2", *settings]
        subprocess.run([sys.executable, "-m", "maskwright", *words], check=True)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "maskwright", "report", str(run)], check=True)
        seconds = time.perf_counter() - started
        size = (run / "predictions" / "report.html").stat().st_size / 1e6
    rows = {
        f"size, {arguments.images} images": Row(
            figure=size, unit="MB", target=f"< {LARGEST:g} MB", reached=size < LARGEST
        ),
        f"time, {arguments.images} images": Row(
            figure=seconds, unit="s", target=f"< {LONGEST:g} s", reached=seconds < LONGEST
        ),
    }
    record.write("report", rows)

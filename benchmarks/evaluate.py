"""`evaluate` on 1 000 and 4 000 pairs of 1024×2048 label files: the same peak memory."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import record
from benchmarks.record import Comparison, Row

SIZE, CATEGORIES, DISTINCT = (1024, 2048), 19, 16
_MEASURE = """
import resource, sys, time
from maskwright.evaluate import evaluate_folders
from maskwright.recipe.predict import EvaluateSpec
started = time.perf_counter()
spec = EvaluateSpec(families=sys.argv[3].split(",") if sys.argv[3] else ())
found = evaluate_folders(sys.argv[1], sys.argv[2], spec=spec)
print(len(found.per_image), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks evaluate", description=__doc__)
    parser.add_argument("--pairs", type=int, nargs=2, default=(1000, 4000))
    parser.add_argument("--families", default="", help="beside pixel counts, such as boundary, which takes hours here")
    arguments = parser.parse_args()
    rows, peaks = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.pairs:
            root = pairs(Path(folder) / str(count), count)
            words = [sys.executable, "-c", _MEASURE, str(root / "p"), str(root / "t"), arguments.families]
            lines, peak, seconds = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
            assert int(lines) == count * CATEGORIES
            peaks.append(int(peak) / 1024)
            details = {"seconds": round(float(seconds), 1), "pairs_per_second": round(count / float(seconds), 1)}
            rows[f"{count} pairs"] = Row(figure=peaks[-1], unit="MiB at most", details=details)
    share = peaks[1] / peaks[0]
    rows[f"{arguments.pairs[1]} pairs"] = rows[f"{arguments.pairs[1]} pairs"].model_copy(
        update={
            "against": f"{arguments.pairs[0]} pairs",
            "other": peaks[0],
            "comparison": Comparison(kind="ratio", value=share, low=None, high=None, n=1),
            "target": "the same (≤ 1.1 ×)",
            "reached": share <= 1.1,
        }
    )
    record.write("evaluate", rows)


def pairs(root: Path, count: int) -> Path:
    """Write a few distinct pairs of blocky label maps and link the others to them."""
    rng = np.random.default_rng(0)
    for part in ("p", "t"):
        (root / part).mkdir(parents=True)
        for number in range(count):
            path = root / part / f"{number:05d}.png"
            if number < DISTINCT:
                blocks = rng.integers(0, CATEGORIES, (SIZE[0] // 32, SIZE[1] // 32), np.uint8)
                Image.fromarray(blocks.repeat(32, 0).repeat(32, 1)).save(path)
            else:
                os.link(root / part / f"{number % DISTINCT:05d}.png", path)
    return root

"""One picture copied a thousand times, with and without masks: what the audit's decisions about it cost.

Each labelled copy has one of 50 masks. What is compared grows with the copies, not with their pairs.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import record
from benchmarks.record import Row
from maskwright.audit import audit_index
from maskwright.audit.replay import replay
from maskwright.data.index import build_index
from maskwright.decisions import settled
from maskwright.recipe.data import AuditSpec, DataSpec

SIDE, MASKS, OTHERS = 128, 50, 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks crowds", description=__doc__)
    parser.add_argument("--copies", type=int, nargs="+", default=[500, 1000, 2000])
    arguments = parser.parse_args()
    rows = {}
    for count in arguments.copies:
        with tempfile.TemporaryDirectory() as folder:
            rows[f"{count} copies, half of them labelled"] = measure(Path(folder), count)
    record.write("crowds", rows)


def measure(folder: Path, count: int) -> Row:
    """Return the processor time of the audit and of the replay of its decisions."""
    root = folder / "data"
    write_crowd(root, count)
    index, _, _ = build_index(DataSpec(root=str(root), classes="binary"), folder / "imported")
    audited, audit = timed(lambda: audit_index(index, AuditSpec(crops=False, pictures=False)))
    replayed, decided = timed(lambda: replay(index, settled(audit.decisions)))
    return Row(
        figure=audited + replayed,
        unit="CPU s",
        details={
            "audit": round(audited, 2),
            "replay": round(replayed, 2),
            "decisions": len(audit.decisions),
            "images_removed": decided.removed.height,
            "peak_mib_of_the_process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        },
    )


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    found = function()
    return time.process_time() - started, found


def write_crowd(root: Path, count: int) -> None:
    """Write one picture so many times, every second one with a mask, and `OTHERS` pictures beside it."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks", "unlabeled"):
        (root / name).mkdir(parents=True)
    picture, mask = drawn(rng), np.zeros((SIDE, SIDE), np.uint8)
    mask[:, : SIDE // 2] = 1
    for copy in range(count):
        cv2.imwrite(str(root / ("unlabeled" if copy % 2 else "images") / f"copy{copy:05}.png"), picture)
        if copy % 2 == 0:
            own = mask.copy()
            own[copy // 2 % MASKS :, :8] = 0
            cv2.imwrite(str(root / "masks" / f"copy{copy:05}.png"), own)
    for other in range(OTHERS):
        cv2.imwrite(str(root / "images" / f"other{other}.png"), drawn(rng))
        cv2.imwrite(str(root / "masks" / f"other{other}.png"), mask)


def drawn(rng: np.random.Generator) -> np.ndarray:
    """Return a picture of soft spots."""
    return cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    main()

"""What a user waits for before anything happens: `maskwright --help` and `import maskwright`."""

import argparse
import statistics
import subprocess
import sys

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import PAIRS, compare, seconds

LIMIT = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    parser.parse_args()
    rows = {
        "--help": measured("-m", "maskwright", "--help"),
        "import": measured("-c", "import maskwright, sys; assert 'torch' not in sys.modules"),
    }
    for name in ("run", "evaluate", "predict"):
        took = statistics.median(seconds(lambda n=name: python("-m", "maskwright", n, "--help")) for _ in range(10))
        rows[f"{name} --help"] = Row(figure=took, unit="s")
    record.write("startup", rows)


def measured(*arguments: str) -> Row:
    """Return the seconds of a fresh interpreter, beside those of one that does nothing."""
    took, bare, _ = compare(lambda: python(*arguments), lambda: python("-c", "pass"), pairs=PAIRS)
    return Row(figure=took, unit="s", against="python -c pass", other=bare, target=f"< {LIMIT} s", reached=took < LIMIT)


def python(*arguments: str) -> None:
    """Run a fresh interpreter."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)

"""`python -m benchmarks NAME [options]`."""

import importlib
import sys
from pathlib import Path


def main() -> None:
    modules = (p.stem for p in Path(__file__).parent.glob("*.py"))
    names = sorted(
        name for name in modules if not name.startswith("_") and name not in ("record", "rig", "half_trained")
    )
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.exit(f"usage: python -m benchmarks NAME [options]; NAME is one of {', '.join(names)}")
    name = sys.argv.pop(1)
    importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()

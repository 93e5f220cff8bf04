"""What every result file holds beside its numbers: what ran, on what, when."""

import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "lightning", "timm", "segmentation-models-pytorch", "numpy", "opencv-python-headless", "polars")


def write(name: str, result: dict[str, Any]) -> Path:
    """Write results/NAME.json."""
    about = {
        "command": f"python -m benchmarks {name} " + " ".join(_without_paths(sys.argv[1:])),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {package: version(package) for package in _PACKAGES},
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(about | result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read(name: str) -> dict[str, Any]:
    """Return results/NAME.json, empty if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _without_paths(words: list[str]) -> list[str]:
    return ["DATA" if Path(word).is_absolute() or ".." in word else word for word in words]


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip()

"""Result files: rows of one form, each with what ran, where and when. `tests/benchmarks` holds every file to it."""

import datetime
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "lightning", "timm", "segmentation-models-pytorch", "numpy", "opencv-python-headless", "polars")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Comparison(_Strict):
    """What is compared with another figure, with its 95 % interval."""

    kind: Literal["ratio", "difference"]
    value: float
    low: float | None
    high: float | None
    n: int = Field(..., ge=1)
    """Pairs, or images."""


class Origin(_Strict):
    """Where a row comes from; it stays when other rows of the file are measured anew."""

    commit: str
    when: str
    command: str
    machine: dict[str, Any]
    versions: dict[str, str]


class Row(_Strict):
    """One measurement."""

    figure: float = Field(..., allow_inf_nan=False)
    unit: str
    interval: tuple[float | None, float | None] | None = None
    """95 % interval of the figure itself."""
    against: str = ""
    """What it is compared with."""
    other: float | None = None
    """The figure of that."""
    comparison: Comparison | None = None
    target: str = ""
    reached: bool | None = None
    """None: no target."""
    details: dict[str, Any] = {}
    origin: Origin | None = None
    """None: measured just now; `write` fills it in."""


class Results(_Strict):
    """A result file."""

    about: str
    """First line of the benchmark's docstring."""
    rows: dict[str, Row]


def write(name: str, rows: dict[str, Row], *, rivals: tuple[str, ...] = ()) -> Path:
    """Write results/NAME.json and print its rows.

    Args:
        name: of the benchmark's module.
        rows: what was measured, by name; those without an origin get this process's.
        rivals: packages compared with, whose versions belong into the origin.
    """
    origin = _origin(name, rivals)
    for row in rows.values():
        row.origin = row.origin or origin
    results = Results(about=(sys.modules[f"benchmarks.{name}"].__doc__ or "").split("\n")[0], rows=rows)
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(results.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")
    for key, row in rows.items():
        print(f"{key}: {shown(row)}", flush=True)
    return path


def read(name: str) -> dict[str, Row]:
    """Return the rows of results/NAME.json, empty if there is none."""
    path = RESULTS / f"{name}.json"
    return Results.model_validate_json(path.read_text(encoding="utf-8")).rows if path.is_file() else {}


def shown(row: Row) -> str:
    """Return a row as one line."""
    parts = [f"{row.figure:.4g} {row.unit}"]
    if row.interval and None not in row.interval:
        parts.append("[{:.4g}, {:.4g}]".format(*row.interval))
    if row.against:
        parts.append(f"against {row.against}" + ("" if row.other is None else f" {row.other:.4g}"))
    if (found := row.comparison) is not None:
        ends = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
        parts.append(f"{found.kind} {found.value:.3f}{ends} ({found.n})")
    if row.target:
        parts.append(f"target {row.target}: {'reached' if row.reached else 'NOT REACHED'}")
    return "; ".join(parts)


def _origin(name: str, rivals: tuple[str, ...]) -> Origin:
    return Origin(
        commit=_commit(),
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks", name, *_without_paths(sys.argv[1:])]),
        machine={"cores": os.cpu_count(), "processor": _processor(), "python": platform.python_version()},
        versions={package: found for package in (*_PACKAGES, *rivals) if (found := _version(package))},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _without_paths(words: list[str]) -> list[str]:
    return ["DATA" if Path(word).is_absolute() or ".." in word else word for word in words]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def _commit() -> str:
    """Return the commit, marked if anything but the results themselves differs from it."""
    described = _git("describe", "--always")
    changed = _git("status", "--porcelain", "--", ":/", ":!/benchmarks/results")
    return f"{described}-dirty" if changed else described


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()

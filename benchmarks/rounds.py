"""What runs with rounds of self-training left on disk: predictions of the held-out part by round, and the verdict."""

import platform
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from benchmarks.parts import Tables
from maskwright.artifacts import RunFolder, read_folds, read_json
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore
from maskwright.metrics import overlap_table
from maskwright.predict import to_full_size
from maskwright.statistics import Interval


def held_out_of_all(runs: Iterable[Path]) -> set[str]:
    """Return the images that all runs hold out: of two copies with different masks the audit drops one, and which one
    may depend on what else is labelled.
    """
    each = [read_folds(RunFolder(run).folds).filter(pl.col("fold") == -1)["image"].to_list() for run in runs]
    return set(each[0]).intersection(*each)


def held_out_tables(
    run: Path, number: int, data: Path, classes: int, binary: bool, only: Collection[str] | None = None
) -> tuple[Tables, list[str]]:
    """Return the overlap table of each held-out image by the networks of a round, and its group.

    Args:
        run: folder.
        number: of the round, 0 for the supervised training.
        data: folder of the set, whose masks are the truth.
        classes: values that masks have.
        binary: whether everything but 0 is foreground.
        only: the images that are looked at; None: all.
    """
    folder = RunFolder(run)
    held = read_folds(folder.folds).filter(pl.col("fold") == -1).sort("image")
    held = held if only is None else held.filter(pl.col("image").is_in(list(only)))
    store, tables = ProbabilityStore(folder.store("holdout", number)), []
    for image in held["image"]:
        inner = Path(*Path(image).parts[1:]).with_suffix(".png")
        label = next(data / name / inner for name in ("masks", "instances") if (data / name / inner).is_file())
        truth = np.array(Image.open(label))
        truth = (truth > 0).astype(np.uint8) if binary else truth
        probabilities = to_full_size(store.read(name_of(image)), (truth.shape[0], truth.shape[1]))
        tables.append(overlap_table(truth, probabilities.argmax(0).astype(np.uint8), classes))
    return np.stack(tables), held["group"].to_list()


def rule_adopts(run: Path, number: int = 1) -> bool:
    """Tell whether the interval of a round's out-of-fold gain lies above 0, whatever the run was told to adopt."""
    low = read_json(run / f"round-{number}" / "adopt.json")["gain"]["low"]
    return low is not None and low > 0


def interval_of(interval: Interval) -> dict[str, Any]:
    """Return value and ends as plain data."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def where_it_runs(accelerator: bool) -> str:
    """Return the device that the networks ran on."""
    if not accelerator:
        return f"{platform.machine()} processor"
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

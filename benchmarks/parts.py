"""What the parts of training bring, one after the other: equal steps, three seeds, the same held-out images.

Each row is a recipe; all of a table share the held-out part, and each is compared with the row that it builds on. The
figure is the mean of the seeds' scores; its interval, and that of the difference, resample the groups of the held-out
images (the spread of the seeds stands beside it). On mars_gray every row is scored by both rules for class 0, with
pixels whose truth is 0 left out: `terrain` is the mean over the terrain classes, `keras` keeps class 0 in the mean
wherever it is predicted.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from benchmarks import record
from benchmarks.part_tables import TABLES, Part, Table
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_folds
from maskwright.metrics import overlap_table
from maskwright.statistics import bootstrap, paired_difference

_QUICK = ("audit.crops=false", "audit.pictures=false", "predict.overlays=0")
"""What changes no score."""

Tables = np.ndarray[Any, np.dtype[np.int64]]
"""(images, C, C + 1): truth, prediction; of several seeds with one more axis in front."""

Rule = Callable[[np.ndarray, Tables], np.ndarray]
"""From (S, images) weights and the tables of one seed to (S,) scores."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks parts", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="of each run, instead of the table's own")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    rows = record.read("parts")
    for name in arguments.only:
        table, done = TABLES[name], dict[str, tuple[Tables, list[str]]]()
        steps = arguments.steps or table.steps
        for label, part in table.parts.items():
            done[label] = measure(name, table, label, part, arguments, steps)
            for rule in table.rules:
                rows[f"{name}: {label}, {rule}"] = to_row(table, label, rule, done, steps, arguments.seeds)
            record.write("parts", rows)


def measure(
    name: str, table: Table, label: str, part: Part, arguments: argparse.Namespace, steps: int
) -> tuple[Tables, list[str]]:
    """Return the overlap tables of all seeds, and the groups of their images."""
    found, groups = [], list[str]()
    for seed in arguments.seeds:
        out = arguments.keep / f"{name}-{label}-{seed}-{steps}".replace(" ", "_").replace("/", "_")
        data = labelled_part(arguments.data / table.folder, arguments.keep / "data" / table.folder)
        words = ["run", "--data", str(data), *table.options, "--folds", "1"]
        words += ["--seed", str(seed), "--set", "split.seed=0", "--set", f"train.steps={steps}"]
        words += [word for setting in (*_QUICK, *table.settings, *part.settings) for word in ("--set", setting)]
        note = out.with_name(f"{out.name}.json")  # a run of other settings under the same name must not pass for this
        if not note.is_file() or json.loads(note.read_text()) != words:
            subprocess.run([sys.executable, "-m", "maskwright", *words, "--out", str(out)], check=True)
            note.write_text(json.dumps(words))
        tables, groups = read_tables(out, arguments.data / table.folder, table)
        found.append(tables)
    return np.stack(found), groups


def labelled_part(root: Path, out: Path) -> Path:
    """Return a folder of links to the labelled images of a set: nobody asks for the others' predictions."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("images", "masks", "instances", "classes.json", "meta.csv"):
        if (root / name).exists() and not (out / name).exists():
            (out / name).symlink_to(root / name)
    return out


def read_tables(run: Path, data: Path, table: Table) -> tuple[Tables, list[str]]:
    """Return the overlap table of each held-out image of a run, and its group."""
    folder = RunFolder(run)
    held = read_folds(folder.folds).filter(pl.col("fold") == -1).sort("image")
    tables = []
    for image in held["image"]:
        inner = Path(*Path(image).parts[1:]).with_suffix(".png")
        label = next(data / name / inner for name in ("masks", "instances") if (data / name / inner).is_file())
        truth, predicted = (np.array(Image.open(p)) for p in (label, folder.predictions / "labels" / inner))
        if table.binary:
            truth, predicted = (truth > 0).astype(np.uint8), (predicted > 0).astype(np.uint8)
        tables.append(overlap_table(truth, predicted, table.classes))
    return np.stack(tables), held["group"].to_list()


def to_row(
    table: Table, label: str, rule: str, done: dict[str, tuple[Tables, list[str]]], steps: int, seeds: Sequence[int]
) -> Row:
    """Return the row of a part by one rule."""
    tables, groups = done[label]
    against = table.parts[label].against
    score = statistic(RULES[rule], tables)
    found = bootstrap(score, len(groups), groups=groups, rng=np.random.default_rng(0))
    each = [float(statistic(RULES[rule], own[None])(np.ones((1, len(groups))))[0]) for own in tables]
    settings = [*table.settings, *table.parts[label].settings]
    details = {"seeds": dict(zip(map(str, seeds), each, strict=True)), "steps": steps, "settings": settings}
    row = Row(
        figure=found.value,
        unit=f"{rule}, mean of {len(tables)} seeds, {found.n} held-out images of {len(set(groups))} groups",
        interval=(found.low, found.high),
        details=details,
    )
    if against is None:
        return row
    other = statistic(RULES[rule], done[against][0])
    gain = paired_difference(score, other, len(groups), groups=groups, rng=np.random.default_rng(0))
    spread = [statistic(RULES[rule], own[None])(np.ones((1, len(groups))))[0] for own in done[against][0]]
    details["differences by seed"] = [float(a - b) for a, b in zip(each, spread, strict=True)]
    return row.model_copy(
        update={
            "against": against,
            "other": float(other(np.ones((1, len(groups))))[0]),
            "comparison": Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n),
        }
    )


def statistic(rule: Rule, tables: Tables) -> Callable[[np.ndarray], np.ndarray]:
    """Return the mean over the seeds of a rule, of resamples of the images."""
    return lambda weights: np.mean([rule(weights, own) for own in tables], axis=0)


def terrain(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return the mean IoU of all classes but 0; pixels whose truth is 0 don't count."""
    return np.nanmean(_ious(weights, tables)[:, 1:], axis=1)


def keras(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return the same with class 0 in the mean where it is predicted, as Keras's MeanIoU(ignore_class=0)."""
    return np.nanmean(_ious(weights, tables), axis=1)


def mean_dice(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return the mean over images of the Dice of class 1; images where it is in neither are left out."""
    right = tables[:, 1, 1].astype(float)
    total = tables[:, 1].sum(-1) + tables[:, :, 1].sum(-1)
    known = total > 0
    dice = 2 * right[known] / total[known]
    return weights[:, known] @ dice / weights[:, known].sum(1)


RULES: dict[str, Rule] = {"terrain": terrain, "keras": keras, "mean_dice": mean_dice}


def _ious(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return (S, C) IoU from the pixels of all images whose truth isn't 0; NaN for a class that is nowhere."""
    counted = np.tensordot(weights, tables, 1)
    counted[:, 0] = 0
    classes = tables.shape[1]
    right = np.diagonal(counted, axis1=1, axis2=2)
    union = counted.sum(2) + counted[:, :, :classes].sum(1) - right
    return np.divide(right, union, out=np.full(union.shape, np.nan), where=union > 0)

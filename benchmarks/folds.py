"""How even folds are: against the placement before, scikit-learn's StratifiedGroupKFold, and random grouped folds.

Five folds, nothing held out, three seeds. A deviation is the difference between a fold's mean of a feature over its
images and that of all images, in percentage points; the largest one of each family of features is taken (see
`maskwright.split.certify`). The figure is their mean over families and seeds. scikit-learn stratifies by one label an
image: here the rarest category that it holds.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks import record
from benchmarks.record import Row
from maskwright import pipeline
from maskwright.artifacts import read_json, read_table
from maskwright.data.index import load_index
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec, SplitSpec
from maskwright.split import certify, join_groups, measure, split_images
from maskwright.split.certificate import random_places
from maskwright.split.features import Features

FOLDS, SEEDS, SECONDS = 5, 3, 60
SETS = {
    "teeth": ["data.classes=binary"],
    "glas": ["data.classes=binary", 'data.group="patient ID"'],
    "camvid": ["data.ignore=[void]"],
    "mars_gray": ["data.group=sol", "data.leave_out=[background]"],
}
METHODS = ("maskwright", "greedy before", "StratifiedGroupKFold", "random grouped")


class Images(NamedTuple):
    """What is cut: contents as the audit has them, names of the categories, image → group, clusters of duplicates."""

    contents: pl.DataFrame
    names: list[str]
    groups: dict[str, str | None]
    duplicates: list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks folds", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=[*GENERATED, *SETS], choices=[*GENERATED, *SETS])
    arguments = parser.parse_args()
    rows = record.read("folds")
    for name in arguments.only:
        if name in SETS:
            rows[name] = compare(audited(arguments.data / name, SETS[name]))
        else:
            measure_one, count, categories = GENERATED[name]
            rows[name] = measure_one(generated(count, categories, 3))
    record.write("folds", rows, rivals=("scikit-learn",))


def audited(root: Path, settings: list[str]) -> Images:
    """Audit a folder."""
    with tempfile.TemporaryDirectory() as out:
        recipe = apply_settings(Recipe(data=DataSpec(root=str(root))), [*settings, "audit.pictures=false"])
        folder = pipeline.run(recipe, out, until="audit")
        data = DataSpec.model_validate(read_json(folder.records / "index.json")["resolved"]["data"])
        index = load_index(folder.index, data).labelled
        groups = dict(zip(index.table["image"], index.table["group"], strict=True))
        contents = read_table(folder.audit / "images.parquet")
        return Images(contents, index.categories.names, groups, read_json(folder.audit / "duplicates.json"))


def generated(count: int, categories: int, size: int) -> Images:
    """Return images whose categories are rare and common, alike inside a group."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.geomspace(2, 0.02, categories), -(-count // size)).repeat(size, 0)[:count]
    pixels = rng.multinomial(4096, shares) * 16
    names = [f"images/{i:06d}.png" for i in range(count)]
    columns = {"image": names, "pixels": pixels.tolist(), "objects": rng.poisson(8, count).tolist()}
    contents = pl.DataFrame(columns | {"median_area": rng.lognormal(4, 1, count).tolist()})
    groups: dict[str, str | None] = {name: f"g{k // size}" for k, name in enumerate(names)}
    return Images(contents, [f"c{k}" for k in range(categories)], groups, [])


def time_row(images: Images) -> Row:
    """Cut many images once; return the processor's time, which other work on the machine leaves as it is."""
    started, busy = time.perf_counter(), time.process_time()
    found = cut(images, SplitSpec(), seed=0)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    details = {
        "seconds_beside_other_work": round(seconds, 1),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "deviations": shown(found.certificate["families"]),
    }
    unit = "processor seconds"
    return Row(figure=round(busy, 1), unit=unit, target=f"< {SECONDS} s", reached=busy < SECONDS, details=details)


def cut(images: Images, spec: SplitSpec, seed: int) -> Any:
    return split_images(
        images.contents, spec, names=images.names, groups=images.groups, duplicates=images.duplicates, seed=seed
    )


def compare(images: Images) -> Row:
    """Cut by every method; return the mean largest deviation, ours against the others."""
    features = measure(images.contents, images.names, SplitSpec().area_bins)
    every = [methods(images, features, seed) for seed in range(SEEDS)]
    families = list(every[0]["maskwright"])
    points = {m: {f: float(np.mean([run[m][f] for run in every])) for f in families} for m in METHODS}
    figures = {method: float(np.mean(list(points[method].values()))) for method in METHODS}
    before = [figures[method] for method in METHODS[1:]]
    return Row(
        figure=figures["maskwright"],
        unit="percentage points, mean of the families' largest deviations",
        against="the placement before",
        other=figures["greedy before"],
        target="below the others",
        reached=figures["maskwright"] <= min(before),
        details={"figures": figures, "families": points},
    )


def methods(images: Images, features: Features, seed: int) -> dict[str, dict[str, float]]:
    """Return method → family → largest deviation in percentage points."""
    spec = SplitSpec(folds=FOLDS, holdout=0, use_parts=False)
    ours = cut(images, spec, seed).table
    names = images.contents["image"].to_list()
    group = np.unique([*join_groups(names, images.groups, images.duplicates).values()], return_inverse=True)[1]
    pixels = np.array(images.contents["pixels"].to_list(), float)
    rng = np.random.default_rng((seed, 2))
    placed = {
        "greedy before": greedy_before(pixels, group, rng),
        "StratifiedGroupKFold": scikit_learn(pixels, group, seed),
        "random grouped": random_places(np.bincount(group), np.full(FOLDS, 1 / FOLDS), rng)[group],
    }
    tables = {"maskwright": ours} | {name: ours.with_columns(fold=pl.Series(fold)) for name, fold in placed.items()}
    return {name: shown(certify(table, features)["families"]) for name, table in tables.items()}


def shown(families: dict[str, Any]) -> dict[str, float]:
    return {family: round(100 * found["deviation"], 3) for family, found in families.items()}


def scikit_learn(pixels: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Return (N,) folds; each image's label is the rarest category that it holds."""
    present = pixels > 0
    label = np.where(present, present.sum(0), len(pixels) + 1).argmin(1)
    cutter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    folds = np.empty(len(pixels), int)
    for fold, (_, inside) in enumerate(cutter.split(pixels, label, group)):
        folds[inside] = fold
    return folds


def greedy_before(pixels: np.ndarray, group: np.ndarray, rng: np.random.Generator, tries: int = 32) -> np.ndarray:
    """Return (N,) folds as the first version placed groups: greedily, by images, pixel shares and presence."""
    relative = pixels / np.maximum(pixels.sum(1, keepdims=True), 1)
    each = np.column_stack([np.ones(len(pixels)), relative, pixels > 0])
    table = np.zeros((group.max() + 1, each.shape[1]))
    np.add.at(table, group, each)
    table /= np.maximum(table.sum(0), 1e-12)
    target = np.full(FOLDS, 1 / FOLDS)
    return min((_greedy(table, target, rng) for _ in range(tries)), key=lambda placed: placed[0])[1][group]


def _greedy(features: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    order = np.argsort(-features.max(1) * rng.uniform(0.5, 1.5, len(features)))
    filled, placed = np.zeros((len(target), features.shape[1])), np.zeros(len(features), int)
    for done, group in enumerate(order):
        now, then = filled / target[:, None], (filled + features[group]) / target[:, None]
        cost = (then**2 - now**2).sum(1) * target
        empty = filled[:, 0] == 0
        if len(features) - done <= empty.sum():
            cost = np.where(empty, cost, np.inf)
        placed[group] = cost.argmin()
        filled[placed[group]] += features[group]
    return float(((filled / target[:, None] - 1) ** 2 * target[:, None]).sum()), placed


GENERATED = {
    "100,000 generated images in threes": (time_row, 100_000, 11),
    "1,000 generated images in threes": (compare, 1000, 5),
}

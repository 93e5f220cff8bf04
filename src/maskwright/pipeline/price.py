"""The price of leaks: the same training and budget on naive folds, which know of no group and no duplicate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, write_json, write_table
from maskwright.metrics import SUMMARIES, Counts, EmptyCases
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.data import SplitSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.split import HELD_OUT
from maskwright.statistics import bootstrap, paired_difference
from maskwright.types import Categories

METRICS = ("mean_dice", "pooled_miou")


def price(root: Path, spec: dict[str, Any]) -> None:
    """Train on naive folds in naive/, and compare the out-of-fold scores: predictions/price_of_leaks.json.

    The naive folds hold the same images in the same numbers, drawn at random; what is held out stays held out.
    """
    from maskwright.pipeline.run import run

    folder, inner = RunFolder(root), RunFolder(root / "naive")
    folds = read_folds(folder.folds)
    inside = folds.filter(pl.col("fold") >= 0)
    if inside["group"].n_unique() == inside.height:
        note = "No two training images share a group or are duplicates: naive folds are as clean as these."
        write_json(folder.predictions / "price_of_leaks.json", {"note": note, "metrics": {}})
        return
    naive = root / "naive.csv"
    write_table(naive, naive_folds(folds, spec["seed"]))
    run(_naive_recipe(load_recipe(folder.recipe), naive), inner.root, until="evaluate")
    clean, leaky = (
        read_table(f.predictions / "per_image.parquet").filter(pl.col("part") == "oof") for f in (folder, inner)
    )
    categories = load_recipe(folder.recipe).data.to_categories()
    found = compare(clean, leaky, categories, EvaluateSpec.model_validate(spec["evaluate"]), seed=spec["seed"])
    shared = {"clusters_cut": read_json(inner.certificate)["crossing_duplicates"], "groups_cut": _cut(folds, inner)}
    write_json(folder.predictions / "price_of_leaks.json", {"note": "", "metrics": found} | shared)


def naive_folds(folds: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return columns image, fold: the folds of the training images shuffled among them."""
    fold = folds["fold"].to_numpy().copy()
    training = np.flatnonzero((folds["fold"].fill_null(HELD_OUT) >= 0).to_numpy())
    fold[training] = np.random.default_rng((seed, 6)).permutation(fold[training])
    values = [None if value != value else int(value) for value in fold.tolist()]
    return pl.DataFrame({"image": folds["image"], "fold": values}, schema={"image": pl.String, "fold": pl.Int64})


def compare(
    clean: pl.DataFrame, naive: pl.DataFrame, categories: Categories, spec: EvaluateSpec, *, seed: int
) -> dict[str, dict[str, Any]]:
    """Return {metric: {clean, naive, price}}, each with value, low, high, n; the price is naive − clean.

    Both hold the same images, each predicted by a network that didn't train on it. The resamples draw the groups of
    the clean folds, the same ones for both.

    Args:
        clean: per-image table of the clean folds, a row an image and category.
        naive: that of the naive ones.
        categories: of the data.
        spec: empty cases, resamples, level.
        seed: of the bootstrap.
    """
    counts = [_counts(table, len(categories)) for table in (clean, naive)]
    groups = clean.sort("image", maintain_order=True)["group"].to_list()[:: len(categories)]
    positions, cases = categories.evaluated, EmptyCases.of(spec)
    options: dict[str, Any] = {"groups": groups, "samples": spec.samples, "confidence": spec.confidence}
    found = {}
    for name in METRICS:
        one, two = (lambda weights, c=c, f=SUMMARIES[name].function: f(c, positions, weights, cases) for c in counts)
        intervals = {
            "clean": bootstrap(one, len(groups), rng=_rng(seed), **options),
            "naive": bootstrap(two, len(groups), rng=_rng(seed), **options),
            "price": paired_difference(two, one, len(groups), rng=_rng(seed), **options),
        }
        found[name] = {key: vars(interval) for key, interval in intervals.items()}
    return found


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, 3))


def _counts(table: pl.DataFrame, categories: int) -> Counts:
    ordered = table.sort("image", maintain_order=True)
    return Counts(*(ordered[name].to_numpy().reshape(-1, categories) for name in ("tp", "fp", "fn")))


def _cut(folds: pl.DataFrame, inner: RunFolder) -> int:
    """Return how many groups the naive folds divide."""
    both = folds.select("image", "group").join(read_folds(inner.folds).select("image", "fold"), on="image")
    inside = both.filter(pl.col("fold") >= 0)
    return inside.group_by("group").agg(pl.col("fold").n_unique()).filter(pl.col("fold") > 1).height


def _naive_recipe(recipe: Recipe, folds: Path) -> Recipe:
    data = recipe.data.model_copy(update={"group": None, "group_regex": None})
    split = SplitSpec(
        folds=recipe.split.folds, file=str(folds.resolve()), group_duplicates=False, allow_crossing=True, previous=None
    )
    quiet = {
        "audit": recipe.audit.model_copy(update={"pictures": False}),
        "predict": recipe.predict.model_copy(update={"overlays": 0}),
        "report": recipe.report.model_copy(update={"price_of_leaks": False}),
    }
    return recipe.model_copy(update={"data": data, "split": split} | quiet)

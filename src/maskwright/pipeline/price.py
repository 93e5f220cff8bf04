"""The price of leaks: the same training and budget on naive folds, which know of no group and no duplicate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, write_json
from maskwright.evaluate import counts_and_groups, statistic_of
from maskwright.metrics import EmptyCases
from maskwright.pipeline.sharing import share_data, write_once
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.data import SplitSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.split import HELD_OUT
from maskwright.statistics import bootstrap, paired_difference
from maskwright.types import Categories

METRICS = ("mean_dice", "pooled_miou")

COVERED = (
    "The intervals cover the draw of the images, for one shuffle of the folds and one training on each: another "
    "shuffle or seed gives another price."
)
"""What the intervals of the price say, and what not."""


def price(root: Path, spec: dict[str, Any]) -> None:
    """Train on naive folds in naive/, and compare the out-of-fold scores: predictions/price_of_leaks.json.

    The naive folds hold the same images in the same numbers, drawn at random, with the same masks: as the decisions of
    this run leave them. What is held out stays held out.
    """
    from maskwright.pipeline.run import run

    folder, inner = RunFolder(root), RunFolder(root / "naive")
    folds, twins = read_folds(folder.folds), _twins(folder)
    inside = folds.filter((pl.col("fold") >= 0) & ~pl.col("image").is_in(list(twins)))
    if inside["group"].n_unique() == inside.height:
        note = "No two training images share a group or are duplicates: naive folds are as clean as these."
        write_json(folder.predictions / "price_of_leaks.json", {"note": note, "metrics": {}})
        return
    naive = root / "naive.csv"
    write_once(naive, naive_folds(folds, spec["seed"], twins))
    recipe = _naive_recipe(load_recipe(folder.recipe), naive)
    table = read_table(folder.decided / "images.parquet")
    share_data(folder, inner, recipe, table.with_columns(group=pl.lit(None, pl.String)))  # it forgets the groups alone
    run(recipe, inner.root, since="split", until="evaluate")
    clean, leaky = (
        read_table(f.predictions / "per_image.parquet").filter(pl.col("part") == "oof") for f in (folder, inner)
    )
    categories = load_recipe(folder.recipe).data.to_categories()
    found = compare(clean, leaky, categories, EvaluateSpec.model_validate(spec["evaluate"]), seed=spec["seed"])
    cut = {"clusters_cut": read_json(inner.certificate)["crossing_duplicates"], "groups_cut": _cut(folds, inner)}
    said = {"note": "", "covered": COVERED, "metrics": found}
    write_json(folder.predictions / "price_of_leaks.json", said | cut)


def naive_folds(folds: pl.DataFrame, seed: int, twins: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Return columns image, fold: the folds of the training images shuffled among them.

    Args:
        folds: columns image and fold; -1 is held out, null in the pool.
        seed: of the shuffle.
        twins: unlabelled copy → the image whose mask it has taken over. It goes where that goes: only who knows the
            duplicates has its mask at all, so that parting the two would be no leak that anyone has.
    """
    fold, twins = folds["fold"].to_numpy().copy(), twins or {}
    images = folds["image"].to_list()
    own = np.array([image not in twins for image in images], bool)
    training = np.flatnonzero((folds["fold"].fill_null(HELD_OUT) >= 0).to_numpy() & own)
    fold[training] = np.random.default_rng((seed, 6)).permutation(fold[training])
    place = {image: None if value != value else int(value) for image, value in zip(images, fold.tolist(), strict=True)}
    values = [place[twins.get(image, image)] for image in images]
    return pl.DataFrame({"image": images, "fold": values}, schema={"image": pl.String, "fold": pl.Int64})


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
    (counts, groups), (leaky, _) = (counts_and_groups(table, len(categories)) for table in (clean, naive))
    cases = EmptyCases.of(spec)
    options: dict[str, Any] = {"groups": groups, "samples": spec.samples, "confidence": spec.confidence}
    found = {}
    for name in METRICS:
        one, two = (statistic_of(c, name, categories.evaluated, cases) for c in (counts, leaky))
        intervals = {
            "clean": bootstrap(one, len(groups), rng=_rng(seed), **options),
            "naive": bootstrap(two, len(groups), rng=_rng(seed), **options),
            "price": paired_difference(two, one, len(groups), rng=_rng(seed), **options),
        }
        found[name] = {key: vars(interval) for key, interval in intervals.items()}
    return found


def _twins(folder: RunFolder) -> dict[str, str]:
    taken = read_table(folder.decided / "images.parquet").filter(pl.col("twin_of").is_not_null())
    return dict(taken.select("image", "twin_of").iter_rows())


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, 3))


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
        "predict": recipe.predict.model_copy(update={"overlays": 0}),
        "evaluate": recipe.evaluate.model_copy(update={"families": ()}),
        "report": recipe.report.model_copy(update={"price_of_leaks": False}),
    }
    return recipe.model_copy(update={"data": data, "split": split} | quiet)

"""Hard images that were moved into the training of their own fold: what must not be scored by it any more."""

from __future__ import annotations

import polars as pl

from maskwright.artifacts import RunFolder
from maskwright.recipe import load_recipe


def hard_table(folder: RunFolder) -> pl.DataFrame:
    """Return the hard images of a run, columns image, group, fold, score, moved; empty where its recipe wants none."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "image": pl.String,
        "group": pl.String,
        "fold": pl.Int64,
        "score": pl.Float64,
        "moved": pl.Boolean,
    }
    path = folder.root / "round-1" / "hard.csv"
    if load_recipe(folder.recipe).selftrain.hard is None or not path.is_file():
        return pl.DataFrame(schema=schema)
    return pl.read_csv(path, schema=schema)


def kept_apart(folder: RunFolder, folds: pl.DataFrame) -> set[str]:
    """Return the images that were moved into the training of their fold, and those of their groups.

    Networks of round 0 alone have not seen them: what rounds made may not score them.

    Args:
        folder: of the run.
        folds: its folds.csv.
    """
    groups = hard_table(folder).filter("moved")["group"].unique().to_list()
    return set(folds.filter(pl.col("group").is_in(groups))["image"])

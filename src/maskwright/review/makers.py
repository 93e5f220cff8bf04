"""What the networks that made a prediction have learned from: the images with whose masks they were trained."""

from __future__ import annotations

import polars as pl

from maskwright.artifacts import ACCEPTED, START, RunFolder, read_folds, read_json, read_table
from maskwright.split import HELD_OUT


def learned_by(folder: RunFolder, number: int, fold: int | None) -> set[str]:
    """Return the images whose masks the networks of a round have learned from, as far as the run folder knows.

    With the masks of folds.csv come those that other runs' networks had learned from that a training started from,
    what was moved into the training, and what predictions had been learned from that somebody accepted before.

    Args:
        folder: of the run.
        number: of the round; 0 is the supervised training.
        fold: whose network it is; None: those of all folds.
    """
    folds = read_folds(folder.folds).filter(pl.col("fold") != HELD_OUT)
    everyone = sorted(folds["fold"].unique())
    if fold is None:
        return set[str]().union(*(learned_by(folder, number, one) for one in everyone))
    alone = len(everyone) == 1
    found = set(folds["image"] if alone else folds.filter(pl.col("fold") != fold)["image"])
    if (note := folder.fold(fold) / START).is_file():
        found |= set(read_json(note)["seen"])
    if number and (hard := folder.root / "round-1" / "hard.csv").is_file():
        found |= set(read_table(hard).filter(pl.col("moved") & (pl.col("fold") == fold))["image"])
    scored = set() if alone else set(folds.filter(pl.col("fold") == fold)["image"])
    for seen in _accepted(folder):
        found |= seen if not seen & scored else set()
    return found


def _accepted(folder: RunFolder) -> list[set[str]]:
    """Return what each prediction that was accepted before rests on."""
    if not (path := folder.decided / ACCEPTED).is_file():
        return []
    files = read_table(path)["seen"].drop_nulls().unique()
    return [set(read_json(folder.root / file)) for file in files if (folder.root / file).is_file()]

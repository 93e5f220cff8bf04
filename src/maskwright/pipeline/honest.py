"""What a network has seen, against what scores a fold: who may label for it, and which images its pool leaves out."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from maskwright.artifacts import START, RunFolder, read_folds, read_json
from maskwright.data.index import Index
from maskwright.errors import DataError, problem
from maskwright.pipeline.folds import copies_of
from maskwright.pipeline.starting import Old
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import PredictSpec
from maskwright.selftrain import blocked_images, kept_apart, relatives
from maskwright.split import HELD_OUT


def blocked(folder: RunFolder, whole: Index, folds: pl.DataFrame, fold: int | None) -> set[str]:
    """Return what must not be learned from without its mask in the training of a fold: see `blocked_images`."""
    return blocked_images(whole.table, folds, copies_of(folder), fold)


def seen_by(folder: RunFolder, number: int, fold: int) -> set[str]:
    """Return the images that the network of a fold and round was trained on, or started from one that was."""
    note = folder.fold(fold, number) / START
    known = set(read_json(note)["seen"]) if note.is_file() else set()
    if number == 0:
        folds = read_folds(folder.folds)
        known |= set(folds.filter((pl.col("fold") != fold) & (pl.col("fold") != HELD_OUT))["image"])
    return known


def check_honest(folder: RunFolder, whole: Index, fold: int, seen: Collection[str]) -> None:
    """Make sure that a network of a fold has seen nothing of what scores the fold, nor of its groups and copies.

    It is a promise of this code, so that a broken one is no fault of the user's: it raises also where asserts don't.

    What was moved into the training is not scored by it. Where the recipe lets groups cross folds, or a network start
    from one that has seen them, nothing is promised.
    """
    recipe = load_recipe(folder.recipe)
    if recipe.split.allow_crossing or recipe.train.start_unchecked:
        return
    folds = read_folds(folder.folds)
    apart = kept_apart(folder, folds)
    scored = folds.filter(pl.col("fold").is_in([fold, HELD_OUT]) & ~pl.col("image").is_in(list(apart)))
    groups = scored["group"].unique().to_list()
    score = set(folds.filter(pl.col("group").is_in(groups))["image"])
    score |= _outside(relatives(set(scored["image"]), (folds, whole.table), copies_of(folder)), folds)
    if leaked := sorted(score.intersection(seen)):
        raise AssertionError(f"a network of fold {fold} has seen {leaked[:5]}, or would")


def honest_networks(run: RunFolder, folder: RunFolder, whole: Index, fold: int) -> tuple[tuple[Path, ...], PredictSpec]:
    """Return the checkpoints of another run that may label for a fold of this one, and how they predict.

    They have seen nothing of the fold, nor of what is held out here, nor what either run takes for a copy or the group
    of these: in this run's index and folds, or in the other's folds. They are told by name: `check_names` has seen that
    the other run has no picture of these under another one.

    Args:
        run: the other one.
        folder: of this run.
        whole: its index.
        fold: of this run.

    Raises:
        DataError: it has none.
    """
    folds, recipe = read_folds(folder.folds), load_recipe(run.recipe)
    scored = frozenset(folds.filter(pl.col("fold").is_in([fold, HELD_OUT]))["image"])
    linked = _outside(blocked(folder, whole, folds, fold), folds)
    clean = list[Path]()
    for number in range(recipe.split.folds):
        found = run.checkpoints(number, recipe.predict.checkpoint)
        old = Old.of(found[0])
        if old.folds is not None and not old.seen_of(folds, scored) and not old.seen & linked:
            clean += found
    if not clean:
        raise DataError(
            problem(
                f"a network that has seen nothing of fold {fold}, nor of what is held out",
                f"none of {recipe.split.folds}: each has learned from some of these images, their copies or groups",
                where=f"selftrain.method.fused_with: {run.root}",
                next_move=f"train that run on these folds: --set split.previous={folder.folds} ({folds.height} "
                "images), or leave it out",
            )
        )
    return tuple(clean), recipe.predict


def _outside(images: Collection[str], folds: pl.DataFrame) -> set[str]:
    """Return the images that are in no fold: what two images of folds have to do with each other, the cut has said."""
    return set(images) - set(folds.drop_nulls("fold")["image"])

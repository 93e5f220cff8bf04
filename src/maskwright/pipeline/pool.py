"""The pool of each fold, and what is seen to before the first training: pools, and other runs that label them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.audit.replay import CLEARED
from maskwright.data.index import Index
from maskwright.errors import DataError, problem
from maskwright.pipeline import stages
from maskwright.pipeline.accepted import accepted_labels
from maskwright.pipeline.delivered import trained, trainings
from maskwright.pipeline.folds import pool_of
from maskwright.pipeline.honest import blocked, honest_networks
from maskwright.pipeline.renamed import check_names
from maskwright.pipeline.sections import predicting
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.selftrain import pool_images
from maskwright.tasks import fingerprint


def pool_of_fold(folder: RunFolder, whole: Index, spec: SelftrainSpec, fold: int) -> list[str]:
    """Return the images without masks that a fold's training may learn from."""
    folds = read_folds(folder.folds)
    pool = pool_of(whole.table, folds)["image"].to_list()
    left_out = {*read_json(folder.audit / "unusable.json")}
    if spec.aliens == "drop":
        left_out |= strangers(folder)
    left_out |= set(accepted_labels(folder, whole, fold))  # they have a label already
    return pool_images(pool, blocked(folder, whole, folds, fold), left_out)


def strangers(folder: RunFolder) -> set[str]:
    """Return the images that the audit finds unlike all others, and no person says belong to them; none before it."""
    if not folder.findings.is_file():
        return set()
    found = read_table(folder.findings).filter(pl.col("kind").str.starts_with("outlier_"))
    return set(found.filter(~pl.col("decision").fill_null("").str.starts_with(CLEARED))["image"])


def learns_from_pool(recipe: Recipe) -> bool:
    """Return whether the recipe has rounds that look at images without masks."""
    return bool(recipe.selftrain.rounds) and recipe.selftrain.protocol != "labelled_only"


def other_networks(recipe: Recipe) -> tuple[RunFolder, ...]:
    """Return the runs whose networks label, too."""
    method = recipe.selftrain.method
    if not isinstance(method, PseudoLabelsSpec) or not learns_from_pool(recipe):
        return ()
    return tuple(RunFolder(Path(run)) for run in method.fused_with)


def other_trainings(recipe: Recipe) -> dict[str, dict[str, str] | None]:
    """Return {run: {training: fingerprint of what made it}} of the runs whose networks label, too; None: it is gone.

    How they predict is among it, under `predict`: the other run's recipe says it.
    """
    found: dict[str, dict[str, str] | None] = {}
    for run in other_networks(recipe):
        found[str(run.root)] = None
        if run.recipe.is_file() and not _untrained(run):
            theirs = load_recipe(run.recipe)
            said = {"predict": fingerprint(predicting(theirs)["predict"])}
            found[str(run.root)] = trained(run, theirs) | said
    return found


def check_pool(folder: RunFolder, recipe: Recipe) -> None:
    """Raise DataError before the first training if a fold has nothing to learn from, or another run can't label for it.

    A pool of which nothing but strangers is left is no error: see `all_strangers`.
    """
    if not learns_from_pool(recipe):
        return
    whole, kept = _whole(folder, recipe), recipe.selftrain.model_copy(update={"aliens": "keep"})
    pool = pool_of(whole.table, read_folds(folder.folds))
    unusable = len(set(pool["image"]).intersection(read_json(folder.audit / "unusable.json")))
    for fold in range(recipe.split.folds):
        if pool_of_fold(folder, whole, kept, fold):
            continue
        got = "none: every image has a mask" if not pool.height else f"none of {pool.height} for fold {fold}"
        if pool.height:
            got += f" ({unusable} can't be read; the others show the groups of its validation part, or copies of it)"
        raise DataError(
            problem(
                "images without masks to learn from",
                got,
                where=recipe.data.root,
                next_move="put images into unlabeled/ (see audit/ for what is wrong with those that are there), try "
                "--labelled 1/4 to play with a part of the masks, or train without: maskwright run",
            )
        )
    for run in other_networks(recipe):
        _check_other(run, folder, recipe)
        check_names(run, folder, whole, where=f"selftrain.method.fused_with: {run.root}")
        for fold in range(recipe.split.folds):
            honest_networks(run, folder, whole, fold)


def all_strangers(folder: RunFolder, recipe: Recipe) -> str | None:
    """Return why there are no rounds: in words which folds' pools are nothing but strangers; None if none is.

    There is no harm in what isn't learned from: the supervised training goes on alone.
    """
    if not learns_from_pool(recipe) or recipe.selftrain.aliens != "drop" or not strangers(folder):
        return None
    whole = _whole(folder, recipe)
    empty = [k for k in range(recipe.split.folds) if not pool_of_fold(folder, whole, recipe.selftrain, k)]
    if not empty:
        return None
    return (
        f"the audit finds all images of the pool of fold {', '.join(map(str, empty))} unlike all others, so that there "
        "is nothing to learn from (audit/findings.parquet lists them; selftrain.aliens: keep would use them)"
    )


def _whole(folder: RunFolder, recipe: Recipe) -> Index:
    return stages.decided(folder, recipe.model_dump(mode="json", include={"data"}))


def _untrained(run: RunFolder) -> list[str]:
    """Return the trainings of a run that aren't finished."""
    names = trainings(run, load_recipe(run.recipe))
    return [name for name in names if not (run.records / f"{name}.json").is_file()]


def _check_other(run: RunFolder, folder: RunFolder, recipe: Recipe) -> None:
    """Raise DataError if another run's networks can't label: it isn't finished, or has other categories."""
    where = f"selftrain.method.fused_with: {run.root}"
    if not run.recipe.is_file() or not run.records.is_dir() or run.root.resolve() == folder.root.resolve():
        own = "this run itself" if run.recipe.is_file() else "none"
        next_move = "name folders that `maskwright run` or `maskwright train` made"
        raise DataError(problem("the folder of another run", own, where=where, next_move=next_move))
    if missing := _untrained(run):
        next_move = f"finish it: maskwright train --recipe {run.recipe} --out {run.root}"
        raise DataError(
            problem(
                "a run whose trainings are finished", f"{', '.join(missing)} missing", where=where, next_move=next_move
            )
        )
    names = [one.data.to_categories().names for one in (recipe, load_recipe(run.recipe))]
    if names[0] != names[1]:
        own, others = (", ".join(said) for said in names)
        next_move = "fuse runs of the same categories in the same order"
        raise DataError(problem(f"a run with the categories {own}", others, where=where, next_move=next_move))

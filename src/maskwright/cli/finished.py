"""Run folders whose trainings are finished, and what commands refuse on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.artifacts import RunFolder
from maskwright.cli.console import progress, say
from maskwright.errors import UsageError, problem
from maskwright.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from maskwright.pipeline.teams import Asked

STATED = "state it in the recipe: maskwright run --recipe RUN/recipe.yaml --set key.path=value --out RUN --redo"


def recipe_of(folder: RunFolder) -> Recipe:
    """Return the recipe of a run that got as far as its training."""
    if folder.records.is_dir() and not folder.recipe.is_file():
        raise UsageError(
            problem(
                "a run that is trained",
                "one that stopped before its training",
                where=str(folder.root),
                next_move="mend what stopped it, and give the command that began it again",
            )
        )
    return load_recipe(folder.recipe)


def finished(run: Path, stage: str, *, redo: bool, anew: str | None = None) -> RunFolder:
    """Run a trained run's own recipe up to a stage."""
    from maskwright import pipeline

    folder = RunFolder(run)
    checkpoints(folder, "last")
    with progress():
        return pipeline.run(load_recipe(folder.recipe), run, until=stage, anew=anew, redo=redo)


def checkpoints(folder: RunFolder, kind: str) -> list[Path]:
    """Return the checkpoints of all folds; the trainings must be finished."""
    from maskwright.pipeline.delivered import trainings_of

    recipe = recipe_of(folder)
    folds = recipe.split.folds
    if recipe.selftrain.rounds and not folder.adopted.is_file():
        raise UsageError(
            problem(
                "a run whose rounds are over",
                "one in the middle of them",
                where=str(folder.root),
                next_move=f"finish it: maskwright selftrain --recipe {folder.recipe} --out {folder.root}",
            )
        )
    needed = [trainings_of(recipe, 0, fold) for fold in range(folds)]
    if open_folds := [own for own in needed if not all((folder.records / f"{n}.json").is_file() for n in own)]:
        raise UsageError(
            problem(
                f"{folds} finished trainings",
                f"{len(open_folds)} of them unfinished",
                where=str(folder.root),
                next_move=f"finish them: maskwright train --recipe {folder.recipe} --out {folder.root}",
            )
        )
    return folder.all_checkpoints(kind, folds)


def telling_networks(folder: RunFolder, recipe: Recipe, kind: str) -> Asked:
    """Return the checkpoints of all folds of a run that tells objects apart, and what each is asked."""
    from maskwright.pipeline.teams import networks_asked

    checkpoints(folder, kind)
    categories, folds = recipe.data.to_categories(), range(recipe.split.folds)
    return networks_asked(folder, recipe.instances, categories, folds, kind, folder.adopted_round)


def say_categories_alone(folder: RunFolder, done: str) -> None:
    """Say what of a run that tells objects apart is taken where objects aren't.

    Args:
        folder: of the finished run.
        done: what is done with it, such as exported.
    """
    from maskwright.pipeline.teams import training_teams

    recipe = load_recipe(folder.recipe)
    if recipe.tells_instances:
        count = len(training_teams(recipe, folder.adopted_round))
        whose = f", as the first of the {count} networks of each fold has them" if count > 1 else ""
        say(f"{folder.root} tells objects apart: its categories alone are {done}{whose}")


def refuse(options: dict[str, Any], next_move: str, folder: str = "a run folder") -> None:
    """Raise UsageError if an option is given that a run folder's recipe decides."""
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(problem(f"{folder} alone", ", ".join(given), where="the command line", next_move=next_move))


def check_free(out: Path, names: tuple[str, ...]) -> None:
    """Raise UsageError if a file of these names stands there already."""
    if standing := [name for name in names if (out / name).exists()]:
        raise UsageError(
            problem(
                "a folder without files of these names",
                ", ".join(standing),
                where=str(out),
                next_move="give another folder with --out; nothing is overwritten",
            )
        )

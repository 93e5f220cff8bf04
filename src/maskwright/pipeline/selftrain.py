"""Rounds as tasks: labels for each fold, trainings, out-of-fold predictions, the verdict; then what is delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from maskwright.artifacts import THIRDS, RunFolder, read_folds, read_json
from maskwright.errors import DataError, problem
from maskwright.pipeline import labelling, rounds, stages
from maskwright.pipeline.folds import pool_of
from maskwright.recipe import Recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.tasks import Task, drop_others, run_tasks, status

ADOPTED = "selftrain-adopted"
"""The task that says which round is used."""

_OF_TRAINING = ("loss", "labelled_share", "augment", "mix", "keep_soft", "labels")
"""Fields of a method that decide how labels are learned from, not what they are."""
_TRAINED = ("best.ckpt", "last.ckpt", "metrics.csv")


@dataclass(frozen=True)
class Sections:
    """What of the recipe the tasks of rounds depend on, as plain data.

    Attributes:
        learning: the sections that decide what a training gives.
        predicting: those that decide what is predicted.
        scoring: those that decide how scores are compared.
    """

    learning: dict[str, Any]
    predicting: dict[str, Any]
    scoring: dict[str, Any]


def selftrain_tasks(folder: RunFolder, recipe: Recipe, sections: Sections, parts: list[str]) -> list[Task]:
    """Return the tasks that can be named now: those of a round are known once the one before it was adopted.

    After they have run there may be more; when there are none, the rounds are over.

    Args:
        folder: of the run.
        recipe: resolved.
        sections: of it.
        parts: oof, holdout and pool, as far as there is anything to predict for.
    """
    wanted = recipe.selftrain.rounds
    spec = {"selftrain": recipe.selftrain.model_dump(mode="json", include={"rounds", "adopt"})}
    made = (folder.adopted.name,)
    if not wanted:  # what says that another recipe had rounds is not passed over
        said = (folder.records / f"{ADOPTED}.json").is_file()
        return [Task(ADOPTED, rounds.adopted, spec, (), made)] if said else []
    tasks, verdicts, number = list[Task](), list[str](), 0
    while number < wanted:
        number += 1
        tasks += _Round(recipe, sections, number).tasks()
        verdicts.append(tasks[-1].name)
        if not _all_done(folder, tasks):
            return tasks
        if not read_json(folder.root / f"round-{number}" / "adopt.json")["adopted"]:
            break
    tasks.append(Task(ADOPTED, rounds.adopted, spec, tuple(verdicts), made))
    return [*tasks, *(_deliveries(folder, recipe, sections, parts) if _all_done(folder, tasks) else ())]


def run_rounds(
    folder: RunFolder, recipe: Recipe, named: Callable[[RunFolder, Recipe], list[Task]], *, redo: bool
) -> dict[str, float]:
    """Run the tasks that can be named, until no others can; return {name: seconds} of those that ran now.

    Args:
        folder: of the run.
        recipe: resolved.
        named: names them.
        redo: redo what doesn't match instead of refusing, and remove rounds that the recipe has no more.
    """
    seconds, tasks = dict[str, float](), list[Task]()
    while recipe.selftrain.rounds or not redo:
        more = named(folder, recipe)
        if [task.name for task in more] == [task.name for task in tasks]:
            break
        tasks = more
        seconds |= run_tasks(folder.root, tasks, executor=recipe.executor, redo=redo)
    if redo:
        drop_others(folder.root, "selftrain", tasks)
    return seconds


def rounds_keep(recipe: Recipe) -> list[Task]:
    """Return what a redo of the stage `predict` leaves alone: with rounds, the pool is predicted after them."""
    return [Task("predict-pool", stages.predict)] if recipe.selftrain.rounds else []


def _all_done(folder: RunFolder, tasks: list[Task]) -> bool:
    return all(state == "done" for state in status(folder.root, tasks).values())


def delivered(folder: RunFolder, recipe: Recipe, part: str) -> str:
    """Return the name of the task that predicts a part with the networks that are used."""
    number = folder.adopted_round if recipe.selftrain.rounds else 0
    return f"selftrain-{number}-{part}" if number else f"predict-{part}"


def trainings(folder: RunFolder, recipe: Recipe) -> list[str]:
    """Return the names of the tasks that trained the networks that are used."""
    number = folder.adopted_round if recipe.selftrain.rounds else 0
    name = f"selftrain-{number}-train" if number else "train-fold"
    return [f"{name}-{fold}" for fold in range(recipe.split.folds)]


def check_pool(folder: RunFolder, recipe: Recipe) -> None:
    """Raise DataError before the first training if a fold has nothing to learn from without labels."""
    if not recipe.selftrain.rounds or recipe.selftrain.protocol == "labelled_only":
        return
    whole = stages.decided(folder, recipe.model_dump(mode="json", include={"data"}))
    pool = pool_of(whole.table, read_folds(folder.folds))
    unusable = len(set(pool["image"]).intersection(read_json(folder.audit / "unusable.json")))
    for fold in range(recipe.split.folds):
        if labelling.pool_of_fold(folder, whole, recipe.selftrain, fold):
            continue
        got = "none: every image has a mask" if not pool.height else f"none of {pool.height} for fold {fold}"
        if pool.height:
            got += f" ({unusable} can't be read; the others show the groups of its validation part, or are strangers)"
        raise DataError(
            problem(
                "images without masks to learn from",
                got,
                where=recipe.data.root,
                next_move="put images into unlabeled/ (see audit/ for what is wrong with those that are there), try "
                "--labelled 1/4 to play with a part of the masks, or train without: maskwright run",
            )
        )


class _Round:
    """The tasks of one round."""

    def __init__(self, recipe: Recipe, sections: Sections, number: int) -> None:
        self.recipe, self.sections, self.number = recipe, sections, number
        self.folds = range(recipe.split.folds)
        self.section = recipe.selftrain.model_dump(mode="json", exclude={"rounds", "adopt"})
        self.labels = isinstance(recipe.selftrain.method, PseudoLabelsSpec)
        self.pool = recipe.selftrain.protocol != "labelled_only"

    def tasks(self) -> list[Task]:
        """Return them in order; the last is the verdict."""
        found = list[Task]()
        if self.recipe.selftrain.hard is not None and self.number == 1:
            found.append(self._hard())
        if self.labels and self.pool:
            found.append(self._precision())
        for fold in self.folds:
            found += self._of_fold(fold)
        return [*found, self._oof(), self._adopt()]

    def _of_fold(self, fold: int) -> list[Task]:
        steps = [step for step in self._steps() if step != "train"]
        found, last = list[Task](), self._network(self.number - 1, fold)
        after: tuple[str, ...] = (last,)
        for step in [*steps, "train"]:
            task = self._label(fold, step, after) if step in ("pseudo", "relabel") else self._train(fold, step, after)
            found.append(task)
            after = (*after, task.name)
        return found

    def _steps(self) -> list[str]:
        method = self.recipe.selftrain.method
        if not self.labels or not self.pool:
            return []
        assert isinstance(method, PseudoLabelsSpec)
        pretrains = self.recipe.selftrain.protocol.startswith("pretrain")
        return ["pseudo", *(("first", "relabel") if method.relabels else ()), *(("pretrain",) if pretrains else ())]

    def _label(self, fold: int, step: str, after: tuple[str, ...]) -> Task:
        spec = self.sections.predicting | {"selftrain": self._labelling(), "round": self.number, "fold": fold}
        base = f"round-{self.number}/pseudo/fold-{fold}"
        before = (*self._common(), self._name("precision"), *after)
        function, end = (labelling.label, "") if step == "pseudo" else (labelling.relabel, "-2")
        made = (f"{base}/ledger{end}.parquet", f"{base}/labels{end}")
        kept = (f"{base}/soft{end}", f"{base}/scores{end}", f"{base}/seconds{end}.json")
        more: dict[str, Any] = {"outside": labelling.cleared_state} if self.section["aliens"] == "drop" else {}
        return Task(self._name(step, fold), function, spec, before, made, keeps=kept, **more)

    def _labelling(self) -> dict[str, Any]:
        """Return what of the section decides labels: how they are learned from doesn't."""
        method = {key: value for key, value in self.section["method"].items() if key not in _OF_TRAINING}
        return {"method": method, "aliens": self.section["aliens"]}

    def _train(self, fold: int, step: str, after: tuple[str, ...]) -> Task:
        section = self.section | {"method": {k: v for k, v in self.section["method"].items() if k != "keep_soft"}}
        spec = self.sections.learning | {"selftrain": section, "round": self.number, "fold": fold, "step": step}
        place = rounds.training_folder(self.number, fold, step)
        before = (*self._common(), *self._hard_name(), *after)
        made = tuple(f"{place}/{name}" for name in _TRAINED)
        made += tuple(f"{place}/{name}" for name in THIRDS if self.recipe.selftrain.keeps_thirds)
        return Task(self._name(step, fold), rounds.train, spec, before, made, keeps=(place,))

    def _hard(self) -> Task:
        spec = self.sections.scoring | {"selftrain": self.section}
        return Task(self._name("hard"), rounds.find_hard, spec, (*self._common(), "predict-oof"), ("round-1/hard.csv",))

    def _precision(self) -> Task:
        spec = {"data": self.sections.predicting["data"], "round": self.number}
        made = (f"round-{self.number}/pseudo/precision.json",)
        return Task(self._name("precision"), labelling.precision, spec, (*self._common(), self._before("oof")), made)

    def _oof(self) -> Task:
        spec = self.sections.predicting | {"part": "oof", "round": self.number}
        after = (*self._common(), *self._hard_name(), *(self._name("train", fold) for fold in self.folds))
        store = (f"round-{self.number}/oof",)
        return Task(self._name("oof"), rounds.predict_oof, spec, (*after, self._before("oof")), store, keeps=store)

    def _adopt(self) -> Task:
        spec = self.sections.scoring | {"round": self.number, "selftrain": self.section}
        spec |= {"rule": self.recipe.selftrain.adopt}
        after = (*self._common(), self._before("oof"), self._name("oof"))
        ledger = (f"round-{self.number}/pseudo/ledger.parquet",) if self._steps() else ()
        made = (f"round-{self.number}/adopt.json", *ledger)
        return Task(self._name("adopt"), rounds.adopt, spec, after, made)

    def _common(self) -> tuple[str, ...]:
        return ("index", "split")

    def _hard_name(self) -> tuple[str, ...]:
        return () if self.recipe.selftrain.hard is None else ("selftrain-1-hard",)

    def _name(self, step: str, fold: int | None = None) -> str:
        return f"selftrain-{self.number}-{step}" + ("" if fold is None else f"-{fold}")

    def _before(self, part: str) -> str:
        return f"predict-{part}" if self.number == 1 else f"selftrain-{self.number - 1}-{part}"

    def _network(self, number: int, fold: int) -> str:
        return f"train-fold-{fold}" if number == 0 else f"selftrain-{number}-train-{fold}"


def _deliveries(folder: RunFolder, recipe: Recipe, sections: Sections, parts: list[str]) -> list[Task]:
    """Return what predicts the held-out part and the pool with the networks of the adopted round."""
    number = folder.adopted_round
    wanted = [part for part in parts if part == "pool" or (number and part != "oof")]
    networks = [f"selftrain-{number}-train-{k}" if number else f"train-fold-{k}" for k in range(recipe.split.folds)]
    after = ("index", "split", *((ADOPTED,) if number else ()), *networks)
    return [
        Task(
            delivered(folder, recipe, part),
            stages.predict,
            sections.predicting | {"part": part} | ({"round": number} if number else {}),
            after,
            (f"round-{number}/{part}",),
            keeps=(f"round-{number}/{part}",),
        )
        for part in wanted
    ]

"""Rounds as tasks: labels for each fold, trainings, out-of-fold predictions, the verdict; then what is delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from maskwright.artifacts import THIRDS, RunFolder, read_json
from maskwright.pipeline import comparing, labelling, rounds, stages, verdicts
from maskwright.pipeline.delivered import delivered, training_name, trainings, trainings_of
from maskwright.pipeline.divisions import choose_divisions, part_of
from maskwright.pipeline.pool import all_strangers, learns_from_pool, other_trainings, strangers
from maskwright.pipeline.sections import selftraining
from maskwright.pipeline.teams import CHOICE, chosen_among, of_team, training_teams
from maskwright.recipe import Recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.tasks import Task, drop_others, fingerprint, run_tasks, status

ADOPTED = "selftrain-adopted"
"""The task that says which round is used."""

_OF_TRAINING = ("loss", "labelled_share", "augment", "mix", "labels")
"""Fields of a method that decide how labels are learned from, not what they are."""
_TRAINED = ("best.ckpt", "last.ckpt", "metrics.csv")


@dataclass(frozen=True)
class Sections:
    """What of the recipe the tasks of rounds depend on, as plain data.

    Attributes:
        learning: the sections that decide what a training gives.
        predicting: those that decide what is predicted.
        scoring: those that decide how scores are compared.
        objects: how objects are told apart, nothing where they aren't.
        metric: that rounds are adopted by.
    """

    learning: dict[str, Any]
    predicting: dict[str, Any]
    scoring: dict[str, Any]
    objects: dict[str, Any]
    metric: str


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
        return [Task(ADOPTED, verdicts.adopted, spec, (), made)] if said else []
    if (why := all_strangers(folder, recipe)) is not None:
        tasks = [Task(ADOPTED, verdicts.adopted, spec | {"why": why}, ("index", "split"), made)]
        return [*tasks, *(_deliveries(folder, recipe, sections, parts) if _all_done(folder, tasks) else ())]
    tasks, weighed, number, outside = list[Task](), list[str](), 0, _outside(folder, recipe)
    while number < wanted:
        number += 1
        tasks += _Round(recipe, sections, number, outside).tasks()
        weighed.append(tasks[-1].name)
        if not _all_done(folder, tasks):
            return tasks
        if not read_json(folder.root / f"round-{number}" / "adopt.json")["adopted"]:
            break
    tasks.append(Task(ADOPTED, verdicts.adopted, spec, tuple(weighed), made))
    return [*tasks, *(_deliveries(folder, recipe, sections, parts) if _all_done(folder, tasks) else ())]


def finish_rounds(
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


def _outside(folder: RunFolder, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return what else decides which images are learned from (`pool`), and what is said of them (`labels`)."""
    drops = recipe.selftrain.aliens == "drop" and learns_from_pool(recipe)
    found = sorted(strangers(folder)) if drops else []
    pool = {"strangers": fingerprint(found)} if found else {}
    return {"pool": pool, "labels": pool | other_trainings(recipe)}


class _Round:
    """The tasks of one round."""

    def __init__(self, recipe: Recipe, sections: Sections, number: int, outside: dict[str, dict[str, Any]]) -> None:
        self.recipe, self.sections, self.number, self.outside = recipe, sections, number, outside
        self.folds = range(recipe.split.folds)
        self.section = {k: v for k, v in selftraining(recipe).items() if k not in ("rounds", "adopt")}
        self.labels = isinstance(recipe.selftrain.method, PseudoLabelsSpec)
        self.pool = recipe.selftrain.protocol != "labelled_only"
        self.teams = training_teams(recipe, number)

    def tasks(self) -> list[Task]:
        """Return them in order; the last is the verdict."""
        found = list[Task]()
        if self.recipe.selftrain.hard is not None and self.number == 1:
            found.append(self._hard())
        if self.labels and self.pool:
            found.append(self._known("precision", labelling.precision))
            found += [self._known("objectness", labelling.judge_objects)] if self.sections.objects else []
        for fold in self.folds:
            found += self._of_fold(fold)
        return [*found, *self._compare(), *self._choose(), self._oof(), self._adopt()]

    def _of_fold(self, fold: int) -> list[Task]:
        steps = [step for step in self._steps() if step != "train"]
        found, after = list[Task](), tuple(trainings_of(self.recipe, self.number - 1, fold))
        for step in steps:
            task = self._label(fold, step, after) if step in ("pseudo", "relabel") else self._train(fold, step, after)
            found.append(task)
            after = (*after, task.name)
        return found + [self._train(fold, "train", after, team) for team in range(len(self.teams))]

    def _steps(self) -> list[str]:
        method = self.recipe.selftrain.method
        if not self.labels or not self.pool:
            return []
        assert isinstance(method, PseudoLabelsSpec)
        pretrains = self.recipe.selftrain.protocol.startswith("pretrain")
        return ["pseudo", *(("first", "relabel") if method.relabels else ()), *(("pretrain",) if pretrains else ())]

    def _label(self, fold: int, step: str, after: tuple[str, ...]) -> Task:
        spec = self.sections.predicting | {"selftrain": self._labelling(), "round": self.number, "fold": fold}
        base, told = f"round-{self.number}/pseudo/fold-{fold}", bool(self.sections.objects)
        if told:  # how they are merged and ranked decides no label
            known = self.sections.objects["instances"]
            spec |= {
                "instances": {key: value for key, value in known.items() if key not in ("merge", "score", "least")}
            }
        before = (*self._common(), self._name("precision"), *([self._name("objectness")] if told else ()), *after)
        function, end = (labelling.label, "") if step == "pseudo" else (labelling.relabel, "-2")
        made = (f"{base}/ledger{end}.parquet", f"{base}/labels{end}", *([f"{base}/objects{end}"] if told else ()))
        kept = (f"{base}/soft{end}", f"{base}/scores{end}", f"{base}/seconds{end}.json")
        return Task(self._name(step, fold), function, spec, before, made, self.outside["labels"], keeps=kept)

    def _labelling(self) -> dict[str, Any]:
        """Return what of the section decides labels: how they are learned from doesn't."""
        method = {key: value for key, value in self.section["method"].items() if key not in _OF_TRAINING}
        return {"method": method, "aliens": self.section["aliens"]}

    def _train(self, fold: int, step: str, after: tuple[str, ...], team: int = 0) -> Task:
        spec = self.sections.learning | {"selftrain": self.section, "round": self.number, "fold": fold, "step": step}
        spec |= of_team(team, self.teams[team])
        outside = self.outside["pool"] if self.pool and not self.labels else {}  # labels know their pool
        place = rounds.training_folder(self.number, fold, step, team)
        before = (*self._common(), *self._hard_name(), *after)
        made = tuple(f"{place}/{name}" for name in _TRAINED)
        made += tuple(f"{place}/{name}" for name in THIRDS if self.recipe.selftrain.keeps_thirds)
        name = training_name(self.number, fold, team) if step == "train" else self._name(step, fold)
        return Task(name, rounds.train, spec, before, made, outside, keeps=(place,))

    def _hard(self) -> Task:
        spec = self.sections.scoring | {"selftrain": self.section}
        return Task(self._name("hard"), rounds.find_hard, spec, (*self._common(), "predict-oof"), ("round-1/hard.csv",))

    def _known(self, step: str, function: Callable[[Any, dict[str, Any]], Any]) -> Task:
        """Return what learns from the out-of-fold predictions of the round before how far they can be relied on."""
        spec = {"data": self.sections.predicting["data"], "round": self.number}
        made = (f"round-{self.number}/pseudo/{step}.json",)
        return Task(self._name(step), function, spec, (*self._common(), self._before("oof")), made)

    def _compare(self) -> list[Task]:
        """Return what compares objects that were learned from with the true ones, where a study wants that."""
        if not (self.labels and self.pool and self.sections.objects and self.recipe.report.compare_pool):
            return []
        spec = {key: self.sections.predicting[key] for key in ("data", "split")} | {"round": self.number}
        spec |= {"selftrain": {"method": {"kind": "pseudo_labels", "images": self.section["method"]["images"]}}}
        trained = (self._name(step, fold) for fold in self.folds for step in self._steps() if step != "pretrain")
        base = f"round-{self.number}/pseudo"
        made = (f"{base}/compared.parquet", f"{base}/compared")
        return [Task(self._name("compare"), comparing.compare, spec, (*self._common(), *trained), made)]

    def _choose(self) -> list[Task]:
        """Return what chooses the network of each thing, where there are several that tell it apart."""
        levels = chosen_among(self.recipe, self.number)
        found = list[Task]()
        for level in levels:
            spec = self.sections.predicting | {"part": part_of(level), "round": self.number, "level": level}
            store = (f"round-{self.number}/{part_of(level)}",)
            after = (*self._common(), *self._trainings())
            found.append(Task(self._name(part_of(level)), stages.predict, spec, after, store, keeps=store))
        if not found:
            return []
        scoring = self.sections.scoring
        spec = {"data": scoring["data"], "split": scoring["split"], "round": self.number, "levels": list(levels)}
        spec |= {"evaluate": {key: scoring["evaluate"][key] for key in ("empty", "absent")}} | self.sections.objects
        judged = (self._name("objectness"),) if self.labels and self.pool else ()
        after = (*self._common(), *self._hard_name(), *judged, *(task.name for task in found))
        made = (f"round-{self.number}/{CHOICE}",)
        return [*found, Task(self._name("choose"), choose_divisions, spec, after, made)]

    def _trainings(self) -> tuple[str, ...]:
        return tuple(name for fold in self.folds for name in trainings_of(self.recipe, self.number, fold))

    def _oof(self) -> Task:
        spec = self.sections.predicting | {"part": "oof", "round": self.number}
        chosen = tuple(task.name for task in self._choose()[-1:])
        after = (*self._common(), *self._hard_name(), *self._trainings(), *chosen)
        store = (f"round-{self.number}/oof",)
        return Task(self._name("oof"), rounds.predict_oof, spec, (*after, self._before("oof")), store, keeps=store)

    def _adopt(self) -> Task:
        spec = self.sections.scoring | {"round": self.number, "selftrain": self.section} | self.sections.objects
        spec |= {"rule": self.recipe.selftrain.adopt, "metric": self.sections.metric}
        after = (*self._common(), self._before("oof"), self._name("oof"))
        base = f"round-{self.number}"
        labels = (f"{base}/pseudo/ledger.parquet", f"{base}/pseudo/seconds.json") if self._steps() else ()
        made = (f"{base}/adopt.json", *labels)
        return Task(self._name("adopt"), verdicts.adopt, spec, after, made)

    def _common(self) -> tuple[str, ...]:
        return ("index", "split")

    def _hard_name(self) -> tuple[str, ...]:
        return () if self.recipe.selftrain.hard is None else ("selftrain-1-hard",)

    def _name(self, step: str, fold: int | None = None) -> str:
        return f"selftrain-{self.number}-{step}" + ("" if fold is None else f"-{fold}")

    def _before(self, part: str) -> str:
        return f"predict-{part}" if self.number == 1 else f"selftrain-{self.number - 1}-{part}"


def _deliveries(folder: RunFolder, recipe: Recipe, sections: Sections, parts: list[str]) -> list[Task]:
    """Return what predicts the held-out part and the pool with the networks of the adopted round."""
    number = folder.adopted_round
    wanted = [part for part in parts if part == "pool" or (number and part != "oof")]
    after = ("index", "split", *((ADOPTED,) if number else ()), *trainings(folder, recipe))
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

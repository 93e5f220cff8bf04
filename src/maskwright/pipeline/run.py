"""From a recipe to tasks. Each stage fills in what was left open; the resolved recipe is written before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import THIRDS, RunFolder, read_folds, read_json, read_table, write_json, write_text
from maskwright.data.formats import check_there, renders
from maskwright.errors import StaleArtifactError, UsageError, problem
from maskwright.pipeline import stages
from maskwright.pipeline.accepted import accepted_states
from maskwright.pipeline.contents import note_contents, state_of
from maskwright.pipeline.decide import decide_task, log_state
from maskwright.pipeline.delivered import delivered, training_name, trainings_of
from maskwright.pipeline.folds import is_own, keep_folds, pool_of
from maskwright.pipeline.made import note_made
from maskwright.pipeline.paths import OF_OBJECTS, absolute
from maskwright.pipeline.pool import check_pool
from maskwright.pipeline.price import price
from maskwright.pipeline.rounds import training_folder
from maskwright.pipeline.sections import (
    AFTERWARDS,
    CHOSEN,
    choosing,
    comparing,
    of_objects,
    planning,
    predicting,
    training,
)
from maskwright.pipeline.selftrain import Sections, finish_rounds, rounds_keep, selftrain_tasks
from maskwright.pipeline.teams import of_team, training_teams
from maskwright.recipe import Recipe, dump_recipe, load_recipe
from maskwright.recipe.executor import ExecutorSpec, LocalSpec
from maskwright.recipe.file import parse_recipe
from maskwright.tasks import Task, check_specs, drop_others, file_state, fingerprint, lock, run_tasks, status

STAGES = (
    "index",
    "audit",
    "split",
    "plan",
    "train",
    "predict",
    "selftrain",
    "tune",
    "evaluate",
    "price",
    "suspects",
    "report",
)
"""In order; `run(…, until=STAGE)` stops after one."""

_MANY = ("train", "predict", "price", "suspects")
"""Stages whose tasks depend on the recipe; those of selftrain show only while they are done."""

_ON_WORKERS = ("plan", "train", "predict", "selftrain")
"""Stages that use the network: these run on a cluster, where the recipe names one; the others beside the command."""


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    since: str = "index",
    until: str = "report",
    anew: str | None = None,
    redo: bool = False,
    command: str | None = None,
) -> RunFolder:
    """Do everything from the data folder to the report, or up to a stage; what is done already is skipped.

    Args:
        recipe: complete, or with open fields; the resolved one is written as `recipe.yaml` before the first step.
        out: the run folder; made if missing.
        since: first stage, one of `STAGES`; what the ones before it make lies in the folder, with their records.
        until: last stage.
        anew: a stage that is done again though nothing changed.
        redo: replace results that were made from another recipe or other data.
        command: what the user typed, for the report.

    Raises:
        MaskwrightError: bad data or recipe, or results of another recipe in the folder.
    """
    folder = RunFolder(Path(out))
    recipe = absolute(recipe)
    check_folder(folder)
    if since == "index" and not folder.records.is_dir():
        check_there(Path(recipe.data.root))  # before a run folder is made for it
    with lock(folder.root):
        folder.records.mkdir(exist_ok=True)  # by this, a run folder inside the data folder is told from data
        _check_edits(folder, recipe, redo=redo)
        if STAGES.index(since) > STAGES.index("plan"):  # the stage that would write it is not among these
            _write_recipe(folder, _resolved(folder, recipe, "train"), redo=redo, until=until)
        seconds: dict[str, float] = {}
        for stage in STAGES[STAGES.index(since) : STAGES.index(until) + 1]:
            recipe = _resolved(folder, recipe, stage)
            tasks = _TASKS[stage](folder, recipe)
            if redo and stage in _MANY:  # folds or parts that this recipe has no more
                drop_others(folder.root, stage, [*tasks, *(rounds_keep(recipe) if stage == "predict" else ())])
            if redo and stage == "split" and status(folder.root, tasks) != {"split": "done"}:
                keep_folds(folder, tasks[0].spec)
            if stage == anew:
                for task in tasks:
                    (folder.records / f"{task.name}.json").unlink(missing_ok=True)
            if stage == "selftrain":
                seconds |= finish_rounds(folder, recipe, _TASKS[stage], redo=redo)
                continue
            seconds |= run_tasks(folder.root, tasks, redo=redo, executor=executor_of(recipe, stage))
            if stage == "audit":
                note_contents(folder, recipe)
            if stage == "split":
                stages.certify_leaks(folder)
                check_pool(folder, recipe)
            if stage == "plan":
                planned = _resolved(folder, recipe, "train")
                _check_rounds(planned)
                _write_recipe(folder, planned, redo=redo, until=until)
            if stage in ("train", "evaluate"):
                note_made(folder, seconds, command)
        note_made(folder, seconds, command)
    return folder


def _check_rounds(recipe: Recipe) -> None:
    """Raise RecipeError before the first training if the rounds after it can't be trained."""
    if recipe.selftrain.rounds:  # else nothing of PyTorch is loaded for it
        from maskwright.train.unlabelled import check_method

        check_method(recipe)


def progress_of(out: str | Path) -> dict[str, str]:
    """Return {task: "done" | "stale" | "open"} of a run folder whose recipe is resolved."""
    folder = RunFolder(Path(out))
    recipe = load_recipe(folder.recipe)
    return status(folder.root, [task for stage in STAGES for task in _TASKS[stage](folder, recipe)])


def _resolved(folder: RunFolder, recipe: Recipe, stage: str) -> Recipe:
    """Return the recipe with what the stages before this one filled in."""
    tree = recipe.model_dump(mode="json")
    for name in STAGES[: STAGES.index(stage)]:
        path = folder.records / f"{name}.json"
        if name in ("index", "split", "plan") and path.is_file():
            filled = {key: value for key, value in read_json(path)["resolved"].items() if key in tree}
            filled.pop("executor", None)  # it may be another one in each call
            tree |= {key: tree[key] | value if isinstance(value, dict) else value for key, value in filled.items()}
    return parse_recipe(tree, where=str(folder.recipe))


def check_folder(folder: RunFolder) -> None:
    """Raise UsageError if a folder holds other things than a run: a redo would remove what it takes for its own."""
    started = folder.records.is_dir() or not folder.root.is_dir()
    others = [] if started else sorted(p.name for p in folder.root.iterdir() if p.name != ".lock")
    if others:
        raise UsageError(
            problem(
                "a new or empty folder, or the folder of a run",
                f"one with {', '.join(others[:5])}",
                where=str(folder.root),
                next_move="give another folder with --out",
            )
        )


def _check_edits(folder: RunFolder, recipe: Recipe, *, redo: bool) -> None:
    """A recipe.yaml that was edited is either what is run now, or it is not overwritten."""
    note = folder.records / "recipe.json"
    if not folder.recipe.is_file() or redo:
        return
    if not note.is_file():
        raise StaleArtifactError(
            problem(
                "a folder without a recipe.yaml, or one that a run wrote",
                "another recipe.yaml",
                where=str(folder.recipe),
                next_move="give another folder with --out; nothing is overwritten",
            )
        )
    if fingerprint(folder.recipe.read_text(encoding="utf-8")) in read_json(note).values():
        return
    if absolute(load_recipe(folder.recipe)) != recipe:
        raise StaleArtifactError(
            problem(
                "the recipe.yaml that this run wrote",
                "one that was edited since",
                where=str(folder.recipe),
                next_move=f"run the edited one with --recipe {folder.recipe} --out NEW_FOLDER (or --redo), "
                "or delete it to go on as before",
            )
        )


def _write_recipe(folder: RunFolder, recipe: Recipe, *, redo: bool, until: str = STAGES[-1]) -> None:
    """Write the resolved recipe, unless results of another one are in the way.

    Where it stands already, what comes after the last stage of this call is no concern: it may wait to be done anew.
    """
    text, note = dump_recipe(recipe), folder.records / "recipe.json"
    stands = folder.recipe.read_text(encoding="utf-8") if folder.recipe.is_file() else None
    if not redo:
        checked = STAGES[4:] if stands != text else STAGES[4 : STAGES.index(until) + 1]
        check_specs(folder.root, [task for name in checked for task in _TASKS[name](folder, recipe)])
    if stands != text:  # of the two, whichever stands if this is cut short is ours
        write_json(note, {"written": fingerprint(text), "before": fingerprint(stands)})
        write_text(folder.recipe, text)
    if not note.is_file() or read_json(note) != {"written": fingerprint(text)}:
        write_json(note, {"written": fingerprint(text)})


def executor_of(recipe: Recipe, stage: str) -> ExecutorSpec:
    """Return where the tasks of a stage run."""
    elsewhere = stage in _ON_WORKERS or isinstance(recipe.executor, LocalSpec)
    return recipe.executor if elsewhere else LocalSpec()


def _index_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    only = recipe.instances.only
    spec = {"data": recipe.data.model_dump(mode="json")} | ({} if only is None else {"only": list(only)})
    rendered = ("imported",) if recipe.data.further or renders(Path(recipe.data.root), recipe.data.format) else ()
    made = ("index.parquet", "leftovers.json", "meta.parquet", "notes.json", *rendered)
    return [Task("index", stages.index, spec, (), made, state_of(folder, recipe))]


def _audit_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = recipe.model_dump(mode="json", include={"audit", "data"})
    return [Task("audit", stages.audit, spec, ("index",), ("audit",)), decide_task(folder, spec)]


def _split_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = recipe.model_dump(mode="json", include={"split", "seed", "data"})
    own = recipe.split.previous is None or is_own(folder, recipe.split.previous)
    files = [Path(f) for f in (recipe.split.file, None if own else recipe.split.previous) if f is not None]
    outside = {str(file): file_state(file) if file.is_file() else None for file in files}
    after = ("index", "decide")
    return [Task("split", stages.split, spec, after, ("folds.csv", "folds.json"), outside)]


def _plan_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec, record = planning(recipe), folder.records / "plan.json"
    for name, known in read_json(record).items() if record.is_file() else ():
        if name in ("spec", "resolved") and _apart_from_place(known) == _apart_from_place(spec):
            spec = known  # what was decided holds on any executor, and for more rounds
            break
    return [Task("plan", stages.plan, spec, ("index", "split"), ("plan.json",))]


def _apart_from_place(spec: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a plan is held to."""
    return {key: value for key, value in (spec or {}).items() if key not in ("executor", "rounds")}


def _train_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = training(recipe)
    if recipe.selftrain.keeps_thirds:
        spec["selftrain"] = {"keeps_thirds": True}
    files = ("best.ckpt", "last.ckpt", "metrics.csv", *(THIRDS if recipe.selftrain.keeps_thirds else ()))
    learned = accepted_states(folder, recipe.data, recipe.split.folds)
    return [
        Task(
            training_name(0, fold, team),
            stages.train,
            spec | {"fold": fold} | of_team(team, only),
            ("index", "split"),
            tuple(f"{place}/{name}" for name in files),
            learned[fold],
            keeps=(place,),
        )
        for team, only in enumerate(training_teams(recipe, 0))
        for fold in range(recipe.split.folds)
        for place in [training_folder(0, fold, "train", team)]
    ]


def _predict_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = predicting(recipe)
    labels = {key: value for key, value in spec.items() if key != "instances"}  # one network's categories alone
    after = ("index", "split", *(name for fold in range(recipe.split.folds) for name in trainings_of(recipe, 0, fold)))
    return [
        Task(
            f"predict-{part}",
            stages.predict,
            (labels if stages.is_member(part) else spec) | {"part": part},
            after,
            (f"round-0/{part}",),
            keeps=(f"round-0/{part}",),
        )
        for part in _parts(folder, recipe)
        if part != "pool" or not recipe.selftrain.rounds  # the networks that will be used predict it
    ]


def _selftrain_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    scoring = recipe.model_dump(mode="json", include={"seed", "data", "split"}) | comparing(recipe)
    scoring["metric"] = recipe.metric()
    objects = of_objects(recipe, set(type(recipe.instances).model_fields) - CHOSEN)  # chosen after rounds
    sections = Sections(training(recipe), predicting(recipe), scoring, objects, recipe.adoption_metric())
    return selftrain_tasks(folder, recipe, sections, _parts(folder, recipe))


def _tune_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = recipe.model_dump(mode="json", include={"seed", "data", "split", "postprocess"})
    spec |= comparing(recipe) | choosing(recipe) | of_objects(recipe, AFTERWARDS)
    spec["metric"] = recipe.tuned_metric()
    read = [delivered(folder, recipe, part) for part in ("oof", "holdout") if part in _parts(folder, recipe)]
    return [Task("tune", stages.tune, spec, ("index", "split", *read), ("tuned.json",), schema=2)]


def _evaluate_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = recipe.model_dump(mode="json", include={"seed", "data", "split", "evaluate", "predict"}) | choosing(recipe)
    del spec["predict"]["pool"]  # the parts say it
    spec |= of_objects(recipe)
    after = ("index", "split", "tune", *(delivered(folder, recipe, part) for part in _parts(folder, recipe)))
    spec["parts"] = _parts(folder, recipe)
    members = ("members.json",) if any(map(stages.is_member, spec["parts"])) else ()
    files = ("per_image.parquet", "calibration.parquet", "evaluation.json", "confusion.json", "labels", "overlays")
    told = ("panoptic.json", *OF_OBJECTS, "embeddings.parquet") if recipe.tells_instances else ()
    outputs = tuple(f"predictions/{name}" for name in (*files, *members, *told))
    return [Task("evaluate", stages.evaluate, spec, after, outputs)]


def _price_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    if not recipe.report.price_of_leaks:
        return []
    spec = training(recipe) | recipe.model_dump(mode="json", include={"predict", "postprocess", "evaluate"})
    outputs = ("predictions/price_of_leaks.json",)
    return [Task("price", price, spec, ("split", "evaluate"), outputs, schema=2, keeps=("naive",))]


def _suspects_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    if "oof" not in _parts(folder, recipe):
        return []
    spec = recipe.model_dump(mode="json", include={"suspects", "data"}) | choosing(recipe)
    after = ("index", "split", delivered(folder, recipe, "oof"))
    return [Task("suspects", stages.suspects, spec, after, ("suspects",))]


def _report_tasks(folder: RunFolder, recipe: Recipe) -> list[Task]:
    spec = recipe.model_dump(mode="json", include={"report", "data"})
    before = [*_price_tasks(folder, recipe), *_suspects_tasks(folder, recipe)]
    after = ("audit", "decide", "split", "evaluate", *(task.name for task in before))
    return [Task("report", stages.report, spec, after, ("predictions/report.html",), log_state)]  # it tells reasons


_TASKS: dict[str, Callable[[RunFolder, Recipe], list[Task]]] = {
    "index": _index_tasks,
    "audit": _audit_tasks,
    "split": _split_tasks,
    "plan": _plan_tasks,
    "train": _train_tasks,
    "predict": _predict_tasks,
    "selftrain": _selftrain_tasks,
    "tune": _tune_tasks,
    "evaluate": _evaluate_tasks,
    "price": _price_tasks,
    "suspects": _suspects_tasks,
    "report": _report_tasks,
}


def _parts(folder: RunFolder, recipe: Recipe) -> list[str]:
    """Return which of oof, holdout and pool there is anything to predict for."""
    folds, unusable = read_folds(folder.folds), read_json(folder.audit / "unusable.json")
    index = read_table(folder.decided / "images.parquet")
    pool = pool_of(index, folds).filter(~pl.col("image").is_in(unusable))
    parts = ["oof"] if recipe.split.folds > 1 else []
    if (folds["fold"] == -1).any():
        members = range(recipe.split.folds) if recipe.predict.members and recipe.split.folds > 1 else ()
        parts += ["holdout", *map(stages.member_part, members)]
    return parts + (["pool"] if pool.height and recipe.predict.pool else [])

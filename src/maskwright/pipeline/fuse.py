"""Runs fused into one predictor: what is looked at first, and the tasks of a folder of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.artifacts import RunFolder, read_folds, read_json
from maskwright.errors import DataError, StaleArtifactError, UsageError, problem
from maskwright.pipeline import fusing, stages
from maskwright.pipeline.delivered import delivered, made_from, trained, trainings
from maskwright.pipeline.run import check_folder
from maskwright.pipeline.selftrain import ADOPTED
from maskwright.predict.ensembles import fused_source, load_member
from maskwright.predict.files import Source
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.tasks import Task, check_fresh, drop_others, lock, run_tasks


@dataclass(frozen=True)
class _Run:
    folder: RunFolder
    recipe: Recipe

    def trained(self) -> dict[str, str]:
        """Return {training: fingerprint of what made it}."""
        return trained(self.folder, self.recipe)

    def predicted(self) -> str:
        """Return the fingerprint of what made the out-of-fold maps."""
        return made_from(self.folder, delivered(self.folder, self.recipe, "oof"))

    def folds(self) -> dict[str, int]:
        """Return image → fold, -1 held out, of the labelled images."""
        known = read_folds(self.folder.folds).drop_nulls("fold")
        return dict(known.select("image", "fold").iter_rows())


def fuse(
    runs: Sequence[Path],
    out: Path,
    *,
    scales: Sequence[float] = (),
    method: str = "simplex",
    budget: float | None = None,
    redo: bool = False,
) -> RunFolder:
    """Fuse runs, or one run at several scales, with weights fitted on out-of-fold predictions.

    What is there already is not done again, so a call that was cut short goes on.

    Args:
        runs: finished run folders with the same folds and categories.
        out: new folder for fused.json, tuned.json and predictions/; not a run folder.
        scales: factors on each run's working size: each run at each scale is a member of its own; none: each run as
            its recipe says.
        method: one of `maskwright.tune.weights.METHODS`.
        budget: seconds an image, with greedy.
        redo: replace what was made from other runs or with other settings.

    Raises:
        UsageError: fewer than two members, a budget without greedy, or `out` holds something else.
        DataError: a run isn't finished, or the runs' categories or folds differ.
        StaleArtifactError: `out` holds what was made otherwise.
    """
    if budget is not None and method != "greedy":
        next_move = "use --method greedy, which adds members while they are within the budget"
        raise UsageError(problem("a budget with greedy", f"one with {method}", where="fuse", next_move=next_move))
    found = [_read(path) for path in runs]
    members = _members(found, scales)
    for other in found[1:]:
        _check_alike(found[0], other)
    folder = RunFolder(Path(out))
    check_folder(folder)
    if folder.recipe.is_file():
        next_move = "give another folder with --out"
        raise UsageError(problem("a folder of its own", "a run", where=str(out), next_move=next_move))
    with lock(folder.root):
        folder.records.mkdir(exist_ok=True)
        tasks = _tasks(folder, found, members, method, budget)
        if redo:
            drop_others(folder.root, "predict", tasks)
        run_tasks(folder.root, tasks, redo=redo)
    return folder


def load_fused(folder: RunFolder) -> tuple[Source, tuple[PostprocessStep, ...]]:
    """Return what predicts as a folder of `fuse` says, and its post-processing.

    Raises:
        DataError: a run that it was fused of isn't there any more.
        StaleArtifactError: one was trained anew since.
    """
    about = read_json(folder.fused)
    members, state = [], []
    for member in (m for m in about["members"] if m["weight"] > 0):
        run = _read(folder.member_run(member).root)
        state.append([member["name"], member["weight"], member["predict"], trained := run.trained()])
        if trained != member["trained"]:
            raise StaleArtifactError(
                problem(
                    f"the networks that {member['name']} was fused with",
                    "others",
                    where=str(run.folder.root),
                    next_move="fuse again: maskwright fuse … --redo",
                )
            )
        spec = PredictSpec.model_validate(member["predict"])
        paths = run.folder.all_checkpoints(spec.checkpoint, run.recipe.split.folds)
        members.append(load_member(paths, spec, member["weight"]))
    made_by = {"fused": state, "fusion": about["fusion"]}
    source = fused_source(members, fusion=about["fusion"], accelerator=about["accelerator"], made_by=made_by)
    return source, stages.read_chain(read_json(folder.tuned)["chain"])


def _read(path: Path) -> _Run:
    folder = RunFolder(Path(path))
    if not folder.recipe.is_file() or not folder.records.is_dir():
        next_move = "name folders that `maskwright run` made"
        raise DataError(problem("a run folder", "none", where=str(path), next_move=next_move))
    recipe = load_recipe(folder.recipe)
    oof = delivered(folder, recipe, "oof")
    needed = [*trainings(folder, recipe), oof, *((ADOPTED,) if recipe.selftrain.rounds else ())]
    if recipe.split.folds < 2:
        next_move = "run it with --folds 5: weights are fitted on out-of-fold predictions"
        raise DataError(problem("a run with at least two folds", "one", where=str(path), next_move=next_move))
    if missing := [name for name in needed if not (folder.records / f"{name}.json").is_file()]:
        next_move = f"finish it: maskwright run --recipe {folder.recipe} --out {folder.root}"
        raise DataError(
            problem("a finished run", f"{', '.join(missing)} missing", where=str(path), next_move=next_move)
        )
    for name in (oof, needed[-1]):
        check_fresh(folder.root, name)
    return _Run(folder, recipe)


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, then the same numbered from 2 on."""
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def _members(runs: Sequence[_Run], scales: Sequence[float]) -> list[dict[str, Any]]:
    """Return what tasks know of the members; names are those of the runs, numbered where two are called the same."""
    if wrong := [scale for scale in scales if not 0.125 <= scale <= 4]:
        next_move = "give factors on the size, such as --scales 0.75 1 1.25"
        raise UsageError(
            problem("scales from 0.125 to 4", ", ".join(map(str, wrong)), where="--scales", next_move=next_move)
        )
    found: list[dict[str, Any]] = []
    names: list[str] = []
    called = [run.folder.root.resolve().name for run in runs]
    for number, run in enumerate(runs):
        name = next(name for name in _numbered(called[number]) if name not in names)
        names.append(name)
        about = {"run": str(run.folder.root.resolve()), "trained": run.trained()}
        for scale in scales or (None,):
            spec = run.recipe.predict
            if scale is not None:
                spec = spec.model_validate(spec.model_dump() | {"scales": (scale,), "scale_weights": None})
            own = spec.scales == run.recipe.predict.scales
            said = {"name": name if scale is None else f"{name}@{scale:.12g}", "own": own}
            found.append(about | said | {"predict": spec.model_dump(mode="json", exclude={"overlays", "members"})})
    if len(found) < 2 or len({(member["run"], str(member["predict"]["scales"])) for member in found}) < len(found):
        raise UsageError(
            problem(
                "at least two members, each once",
                ", ".join(member["name"] for member in found) or "none",
                where="fuse",
                next_move="name several runs, or give --scales: maskwright fuse RUN --scales 0.75 1 1.25 --out FUSED",
            )
        )
    return found


def _check_alike(first: _Run, other: _Run) -> None:
    """Raise DataError if two runs can't be fused: other categories, or an image in another fold."""
    sides = [run.recipe.data.to_categories() for run in (first, other)]
    where = f"{other.folder.root} against {first.folder.root}"
    said = [[(item.id, item.name) for item in side.items] for side in sides]
    if said[0] != said[1] or sides[0].evaluated != sides[1].evaluated:
        shown = [", ".join(f"{number} {name}" for number, name in side) for side in said]
        next_move = "train both with the same data.categories and --leave-out"
        raise DataError(problem(f"the categories {shown[0]}", shown[1], where=where, next_move=next_move))
    one, two = first.folds(), other.folds()
    if different := sorted(image for image in one.keys() | two.keys() if one.get(image) != two.get(image)):
        raise DataError(
            problem(
                "the same images in the same folds: weights are fitted on what no network has seen",
                f"{len(different)} of {len(one.keys() | two.keys())} elsewhere, such as {different[0]}: "
                f"fold {one.get(different[0], 'none')} and {two.get(different[0], 'none')}",
                where=where,
                next_move="train it on the folds of the first, without --holdout: "
                f"--set split.file={first.folder.folds} --out NEW",
            )
        )


def _tasks(
    folder: RunFolder, runs: Sequence[_Run], members: Sequence[dict[str, Any]], method: str, budget: float | None
) -> list[Task]:
    first = runs[0]
    base: dict[str, Any] = {"accelerator": first.recipe.train.accelerator, "members": list(members)}
    predicted = [
        Task(f"predict-{m['name']}", fusing.predict, {"member": m}, outputs=(place,), keeps=(place,))
        for m in members
        if not m["own"] and (place := f"members/{m['name']}")
    ]
    made = {run.folder.root.resolve(): run.predicted() for run in runs}
    stores = {m["name"]: made[Path(m["run"]).resolve()] for m in members}
    seconds = Task("seconds", fusing.seconds, base, outputs=("members/seconds.json",))
    fitted = base | {"method": method, "budget": budget, "metric": first.recipe.metric()}
    fitted |= {"tuned_metric": first.recipe.tuned_metric()}
    fitted |= first.recipe.model_dump(mode="json", include={"seed", "evaluate", "postprocess"})
    names = ("seconds", *(task.name for task in predicted))
    weights = Task("weights", fusing.weights, fitted, names, ("fused.json", "tuned.json"), stores, schema=2)
    tasks = [*predicted, seconds, weights]
    held = bool((read_folds(first.folder.folds)["fold"] == -1).any())
    if held:
        tasks.append(Task("holdout", fusing.holdout, base, ("weights",), ("holdout",), keeps=("holdout",)))
    spec = first.recipe.model_dump(mode="json", include={"seed", "evaluate"}) | {"held": held}
    files = tuple(f"predictions/{name}" for name in ("per_image.parquet", "evaluation.json"))
    after = ("weights", "holdout") if held else ("weights",)
    return [*tasks, Task("evaluate", fusing.evaluate, spec, after, files)]

"""Score against number of labels: the same training on nested shares of them, with and without the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl

from maskwright import pipeline
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.formats import check_there
from maskwright.errors import DataError, UsageError, problem
from maskwright.pipeline import stages
from maskwright.pipeline.curve_point import Point
from maskwright.pipeline.curve_progress import OfAll
from maskwright.pipeline.pool import pool_of_fold
from maskwright.pipeline.sharing import share_data, share_training, write_once
from maskwright.processes import cores
from maskwright.progress import listen, report
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.data import SplitSpec
from maskwright.recipe.effort import all_rounds, effort_behind, said_of
from maskwright.recipe.executor import LocalSpec, at_a_time, cores_of_task
from maskwright.recipe.file import parse_recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.split import HELD_OUT
from maskwright.split.cut import has_held_out_part
from maskwright.tasks import Task, fingerprint, lock, run_tasks

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the labels that are learned from."""

HOLDOUT = 0.25
"""Share of the labelled images that every point is scored on, where neither recipe nor folder says one."""

FOLDS = 2
"""Networks of a point where nothing else is said: the fewest that let each label the pool for another."""

_TRAINED = 0.8
"""Share of a budget that the trainings get; the rest is for reading, predicting and scoring."""
_FEWEST = 2
"""Groups that a subset has at least, and the held-out part."""
_PARTS = "parts.csv"
_SHOWN = 5


def curve(
    recipe: Recipe,
    out: str | Path,
    *,
    shares: Sequence[float] = SHARES,
    repeats: int = 1,
    pool: bool = True,
    redo: bool = False,
) -> Path:
    """Train on nested shares of the labels, score all on the same held-out images, fit a curve, and give advice.

    Each point is a run of its own with the same number of steps, in OUT/points; the pool of a point are the images
    without labels and those whose labels it doesn't look at. Called again, it goes on where it was.

    Args:
        recipe: its `train.minutes` is the budget of all trainings together, its `split.folds` are those of every
            point; `selftrain` says how the pool is learned from.
        out: folder for the points and for curve.csv, curve.json, curve.png and curve.html.
        shares: of the training images; those that leave fewer than two groups are left out.
        repeats: trainings of each point, each with another seed and another draw of the labels.
        pool: also learn from the pool.
        redo: replace results of another recipe or of other data.

    Raises:
        DataError: too few groups for two shares and a held-out part, or bad data.
        UsageError: a folder with other things, a recipe that starts from other networks, shares outside 0..1.
    """
    from maskwright.pipeline.curve_results import write_results

    root, shares = Path(out), sorted(set(shares))
    _check_wanted(recipe, shares, repeats)
    _check_folder(root)
    check_there(Path(recipe.data.root).expanduser())
    with lock(root):
        base, recipe = _read_data(recipe, root, redo=redo)
        points = _cut(base, recipe, root, shares, repeats, redo=redo)
        drawn = [taught for point in points if (taught := _taught(base, recipe, root, point)).pool] if pool else []
        each = all_rounds(_adopted(recipe.selftrain), recipe.train.batch)
        trainings, runs = len(points) + each * len(drawn), len(points) + len(drawn)
        planned = _plan(base, recipe, trainings, at_a_time(recipe.executor, runs), redo=redo)
        tasks = [_task(base, planned, point) for point in (*points, *drawn)]
        with listen(OfAll(root, tasks)):
            run_tasks(root, tasks, executor=recipe.executor, redo=redo)
        asked = "every image has a label that is looked at" if pool else "it was not asked for"
        rounds = _adopted(planned.selftrain)
        longer = said_of(effort_behind(rounds, rounds.rounds, planned.train.batch)) if drawn else ""
        write_results(root, planned, [*points, *drawn], no_pool="" if drawn else asked, longer=longer)
    return root


def train_point(root: Path, spec: dict[str, Any]) -> None:
    """Make one point: a run in its folder, of which the one with the pool goes on from the supervised one."""
    recipe = parse_recipe(spec["recipe"], where=str(root / spec["folder"]))
    base, inner = RunFolder(root / "base"), RunFolder(root / spec["folder"])
    share_data(base, inner, recipe, read_table(base.decided / "images.parquet"))
    if spec["goes_on_from"] is not None:
        share_training(RunFolder(root / spec["goes_on_from"]), inner)
    else:
        pipeline.run(recipe, inner.root, since="split", until="split")
    pipeline.run(recipe, inner.root, since="train", until="evaluate")  # what there was to plan is in the recipe already


def _check_wanted(recipe: Recipe, shares: Sequence[float], repeats: int) -> None:
    wrong = ", ".join(f"{share:g}" for share in shares if not 0 < share <= 1)
    if wrong or not shares or repeats < 1:
        raise UsageError(
            problem(
                "shares above 0 and up to 1, and at least 1 repeat",
                f"shares of {wrong}" if wrong else f"{repeats} repeats" if shares else "no share",
                where="--shares, --repeats",
                next_move="for example --shares 1/8,1/4,1/2,1 --repeats 3",
            )
        )
    if recipe.split.labelled is not None:
        raise UsageError(
            problem(
                "shares of all labels",
                f"split.labelled {recipe.split.labelled:g}",
                where="curve",
                next_move="leave it out, and say with --shares which numbers of labels are compared",
            )
        )
    method = recipe.selftrain.method
    if isinstance(method, PseudoLabelsSpec) and method.fused_with:
        raise UsageError(
            problem(
                "a pool that the networks of each point label alone",
                f"others of {', '.join(method.fused_with)}, which may have seen all labels",
                where="selftrain.method.fused_with",
                next_move="leave it out",
            )
        )
    if recipe.train.start is not None:
        raise UsageError(
            problem(
                "trainings from scratch, or from an encoder's weights",
                f"networks of {recipe.train.start}, which may have seen all labels",
                where="train.start",
                next_move="set it to null: maskwright curve … --set train.start=null",
            )
        )


def _check_folder(root: Path) -> None:
    others = [] if (root / "base").is_dir() or not root.is_dir() else sorted(p.name for p in root.iterdir())
    if others := [name for name in others if name != ".lock"]:
        raise UsageError(
            problem(
                "a new or empty folder, or that of a curve",
                f"one with {', '.join(others[:_SHOWN])}",
                where=str(root),
                next_move="give another folder with --out",
            )
        )


def _read_data(recipe: Recipe, root: Path, *, redo: bool) -> tuple[RunFolder, Recipe]:
    """Read, audit and cut the data with all labels; return that run, and the recipe with what it came to."""
    split = recipe.split.model_copy(update={"labelled": None, "labelled_seed": None})
    quiet = {
        "predict": recipe.predict.model_copy(update={"overlays": 0, "members": False, "checkpoint": "last"}),
        "evaluate": recipe.evaluate.model_copy(update={"families": ()}),
        "report": recipe.report.model_copy(update={"price_of_leaks": False}),
        "selftrain": SelftrainSpec(),
    }
    whole = _valid(recipe.model_copy(update={"split": split, **quiet}), root)
    base = pipeline.run(whole, root / "base", until="audit", redo=redo)
    contents = read_table(base.decided / "contents.parquet").select("image")
    decided = read_table(base.decided / "images.parquet").filter(pl.col("twin_of").is_null())
    labelled = contents.join(decided, "image", "inner")
    _check_groups(labelled)
    given = split.file is not None or split.use_parts or _says_parts(split, labelled["part"].to_list())
    if split.holdout is None and not given:
        whole = whole.model_copy(update={"split": split.model_copy(update={"holdout": HOLDOUT})})
    base = pipeline.run(whole, base.root, until="split", redo=redo)
    return base, whole.model_copy(update={"selftrain": recipe.selftrain})


def _says_parts(split: SplitSpec, parts: Sequence[str | None]) -> bool:
    return split.use_parts is None and has_held_out_part(parts)


def _check_groups(labelled: pl.DataFrame) -> None:
    """Raise DataError where no cut can leave two shares of at least two groups each beside a held-out part."""
    groups = labelled.select(pl.coalesce("group", "image"))["group"].n_unique()
    if groups >= 3 * _FEWEST:
        return
    raise _too_few(f"{labelled.height} labelled image(s) in {groups} group(s)")


def _too_few(got: str) -> DataError:
    return DataError(
        problem(
            f"labelled images in at least {3 * _FEWEST} groups: two sizes of training sets, and a held-out part",
            got,
            where="curve",
            next_move="label more images, of other groups: with so few, each further one counts; `maskwright run` "
            "trains on what there is",
        )
    )


def _cut(
    base: RunFolder, recipe: Recipe, root: Path, shares: Sequence[float], repeats: int, *, redo: bool
) -> list[Point]:
    """Cut the labels of every point; return the supervised points, the small ones first, seed by seed."""
    folds = read_folds(base.folds)
    held = {*folds.filter(pl.col("fold") == HELD_OUT)["image"]}
    training = folds.filter(pl.col("fold") >= 0)
    if folds.filter(pl.col("fold") == HELD_OUT)["group"].n_unique() < _FEWEST:
        raise _too_few(f"{training.height} image(s) to learn from, and {len(held)} held out in fewer than two groups")
    decided = read_table(base.decided / "images.parquet")
    copies = decided.filter(pl.col("twin_of").is_not_null())["image"].to_list()
    said = pl.when(pl.col("fold") == HELD_OUT).then(pl.lit("val")).when(pl.col("fold") >= 0).then(pl.lit("train"))
    write_once(base.root / _PARTS, folds.select("image", "group", part=said.otherwise(pl.lit("pool"))))
    found: dict[float, list[Point]] = {}
    for share in shares:
        for repeat in range(repeats):
            point = Point(share, 0, 0, 0, repeat, f"points/{_words(share)}-{repeat}")
            inner = RunFolder(root / point.folder)
            own = _point_recipe(base, recipe, point, training.height)
            share_data(base, inner, own, decided)
            report(f"cut {_words(share)}, seed {repeat}", 0)
            found.setdefault(share, []).append(_counted(point, own, inner, held, copies, redo=redo))
    kept = _distinct(found, recipe.split.folds)
    if len(kept) < 2:
        raise _too_few(f"{training.height} image(s) to learn from in {training['group'].n_unique()} group(s)")
    return [point for repeat in range(repeats) for share in kept for point in found[share] if point.repeat == repeat]


def _counted(
    point: Point, recipe: Recipe, inner: RunFolder, held: set[str], copies: Sequence[str], *, redo: bool
) -> Point:
    """Cut the labels of a point; return it with its labels and groups, none where the share is less than a group."""
    try:
        pipeline.run(recipe, inner.root, since="split", until="split", redo=redo)
    except DataError:  # all labels together could be cut
        return point
    cut = read_folds(inner.folds)
    _check_held_out(held, {*cut.filter(pl.col("fold") == HELD_OUT)["image"]})
    learned = cut.filter(pl.col("fold") >= 0)
    labels = learned.filter(~pl.col("image").is_in(copies)).height
    return replace(point, labels=labels, groups=learned["group"].n_unique())


def _distinct(found: dict[float, list[Point]], folds: int) -> list[float]:
    """Return the shares that leave enough groups and more labels than the smaller ones, whatever the draw."""
    kept, most = list[float](), 0
    for share, points in sorted(found.items()):
        fewest = min(point.labels for point in points)
        if min(point.groups for point in points) >= max(_FEWEST, folds) and fewest > most:
            kept.append(share)
            most = max(point.labels for point in points)
    return kept


def _check_held_out(held: set[str], own: set[str]) -> None:
    if held != own:
        raise DataError(
            problem(
                "the same held-out images for every point",
                f"{len(held ^ own)} that are held out for some of them only",
                where="curve",
                next_move="remove the groups and duplicates that lie on both sides of the given parts, or cut anew "
                "with --set split.use_parts=false --set split.file=null",
            )
        )


def _point_recipe(base: RunFolder, recipe: Recipe, point: Point, training: int) -> Recipe:
    """Return the recipe of a point: that of all labels but for the number of them and the seeds."""
    cut = read_json(base.records / "split.json")["resolved"]["split"]
    seed = recipe.seed if cut["seed"] is None else cut["seed"]
    split = SplitSpec.model_validate(
        {
            **{key: cut[key] for key in ("group_duplicates", "area_bins", "allow_crossing")},
            "folds": recipe.split.folds,
            "labelled": max(1, round(point.share * training)),
            "seed": seed,
            "labelled_seed": seed + point.repeat,
            "file": str((base.root / _PARTS).resolve()),
            "unlisted": "pool",
            "previous": None,
        }
    )
    data = read_json(base.records / "index.json")["resolved"]["data"]
    tree = recipe.model_dump(mode="json") | {"data": data, "seed": recipe.seed + point.repeat}
    tree["split"] = split.model_dump(mode="json")
    tree["predict"]["pool"] = False
    tree["selftrain"] = (_adopted(recipe.selftrain) if point.pool else SelftrainSpec()).model_dump(mode="json")
    tree["executor"] = {"kind": "local", "jobs": 1}
    if tree["postprocess"]["chain"] is None:  # networks are compared, not what was tuned on a few of their images
        tree["postprocess"]["search"] = []
    return parse_recipe(tree, where="curve")


def _adopted(spec: SelftrainSpec) -> SelftrainSpec:
    """Return rounds that are used whatever they gain: that is what the curve asks."""
    return spec.model_copy(update={"rounds": max(1, spec.rounds), "adopt": "always", "hard": None})


def _taught(base: RunFolder, recipe: Recipe, root: Path, point: Point) -> Point:
    """Return the point that learns from the pool, too, beside a supervised one; its pool is 0 where a fold has none."""
    inner = RunFolder(root / point.folder)
    whole = stages.decided(inner, {"data": read_json(base.records / "index.json")["resolved"]["data"]})
    pools = [pool_of_fold(inner, whole, recipe.selftrain, fold) for fold in range(recipe.split.folds)]
    return replace(point, pool=min(map(len, pools)), folder=f"{point.folder}-pool")


def _plan(base: RunFolder, recipe: Recipe, trainings: float, together: int, *, redo: bool) -> Recipe:
    """Decide once for all points what the recipe leaves open, the number of steps above all.

    Points are what runs at a time, each point's folds one after the other; so many share cores and memory.
    """
    train, executor = recipe.train, recipe.executor
    minutes, local = train.minutes, isinstance(executor, LocalSpec)
    update: dict[str, Any] = {
        "minutes": None if minutes is None else round(_TRAINED * minutes * together / trainings, 4),
        "threads": train.threads or max(1, cores_of_task(executor, together, cores()) // train.devices),
        "cache": train.cache / (together if local else 1),
    }
    alone = LocalSpec() if local else executor.model_copy(update={"jobs": 1})
    train = train.model_copy(update=update)
    whole = recipe.model_copy(update={"train": train, "selftrain": SelftrainSpec(), "executor": alone})
    pipeline.run(whole, base.root, until="plan", redo=redo)
    planned = load_recipe(base.recipe)
    fixed = planned.train.model_copy(update={"minutes": None, "epochs": None})
    return planned.model_copy(update={"train": fixed, "selftrain": recipe.selftrain, "executor": recipe.executor})


def _task(base: RunFolder, planned: Recipe, point: Point) -> Task:
    """Return the task that makes a point."""
    training = read_folds(base.folds).filter(pl.col("fold") >= 0).height
    own = _point_recipe(base, planned, point, training).model_dump(mode="json")
    supervised = point.folder.removesuffix("-pool") if point.pool else None
    made = read_json(base.records / "decide.json")["fingerprint"]
    return Task(
        point.name,
        train_point,
        {"recipe": own, "folder": point.folder, "goes_on_from": supervised},
        () if supervised is None else ("point-" + Path(supervised).name,),
        (f"{point.folder}/predictions/per_image.parquet",),
        {"data": made, "parts": fingerprint((base.root / _PARTS).read_text(encoding="utf-8"))},
        keeps=(point.folder,),
    )


def _words(share: float) -> str:
    """Write a share as the name of a folder."""
    exact = Fraction(share).limit_denominator(4096)
    return f"labels-{exact.numerator}of{exact.denominator}"


def _valid(recipe: Recipe, root: Path) -> Recipe:
    return parse_recipe(recipe.model_dump(mode="json"), where=str(root))

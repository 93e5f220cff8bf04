"""The stages as functions of (run folder, spec): they read files, call the library, write files. They print nothing.

A spec holds the sections of the resolved recipe that a stage depends on, as plain data. `index`, `split` and `plan`
return their spec with what was null in it filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, turned_like, write_json, write_table
from maskwright.audit import audit_index
from maskwright.data.categories import as_written, read_label
from maskwright.data.formats import renders
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, build_index, decided_index, load_index, meta_table, scored
from maskwright.data.intensity import working_size
from maskwright.data.store import ProbabilityStore
from maskwright.decisions import record_policies
from maskwright.errors import DataError, problem
from maskwright.pipeline.accepted import with_accepted
from maskwright.pipeline.folds import copies_of, pool_of, previous_folds
from maskwright.pipeline.pictures import write_audit_pictures
from maskwright.pipeline.starting import choose_start
from maskwright.pipeline.teams import networks_asked, team_recipe
from maskwright.pipeline.telling import Way, predict_objects, store_told
from maskwright.progress import track
from maskwright.recipe import Recipe, load_recipe
from maskwright.recipe.data import AuditSpec, DataSpec, SplitSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec, PostprocessStep, PredictSpec, ReportSpec
from maskwright.recipe.suspects import SuspectSpec
from maskwright.split import HELD_OUT, split_images
from maskwright.split.files import read_previous, read_stated
from maskwright.split.leaks import with_leaks
from maskwright.types import Array, LabelMap

EMBEDDED = 4
"""Images of a part, and of each fold, whose embeddings are kept to be looked at."""

_CHAIN: TypeAdapter[tuple[PostprocessStep, ...]] = TypeAdapter(tuple[PostprocessStep, ...])


def index(root: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Read the data folder: index.parquet, leftovers.json, notes.json, meta.parquet."""
    if spec["data"]["further"] or renders(Path(spec["data"]["root"]), spec["data"]["format"]):
        RunFolder(root).imported.mkdir(exist_ok=True)
    found, data, source = build_index(DataSpec.model_validate(spec["data"]), RunFolder(root).imported)
    write_table(RunFolder(root).index, found.table)
    write_json(root / "leftovers.json", source.leftovers)
    write_json(root / "notes.json", source.notes)
    write_table(root / "meta.parquet", meta_table(source))
    only = {key: spec[key] for key in ("only",) if key in spec}
    return {"data": data.narrowed(only.get("only")).model_dump(mode="json")} | only


def audit(root: Path, spec: dict[str, Any]) -> None:
    """Inspect every image: audit/ (as_found.parquet, classes.parquet, …), the policies' lines in decisions.jsonl."""
    folder, wanted = RunFolder(root), AuditSpec.model_validate(spec["audit"])
    images = _whole_index(folder, spec)
    notes = read_json(root / "notes.json") if (root / "notes.json").is_file() else ()  # none in earlier versions' runs
    leftovers, meta = read_json(root / "leftovers.json"), read_table(root / "meta.parquet")
    found = audit_index(images, wanted, leftovers, meta, notes=notes)
    write_table(folder.audit / "as_found.parquet", found.findings)  # findings.parquet has the decisions' outcome, too
    for name, table in {"classes": found.classes, **found.tables}.items():
        write_table(folder.audit / f"{name}.parquet", table)
    rows = [(image, pixels, *found.objects[image]) for image, pixels in found.shares.items()]
    schema: dict[str, Any] = {"image": pl.String, "pixels": pl.List(pl.Int64)}
    schema |= {"objects": pl.Int64, "median_area": pl.Float64}
    write_table(folder.audit / "images.parquet", pl.DataFrame(rows, schema=schema, orient="row"))
    write_json(folder.audit / "unusable.json", found.unusable)
    record_policies(folder.decisions, found.decisions)
    write_json(folder.audit / "duplicates.json", found.duplicates)
    if wanted.pictures:
        write_audit_pictures(folder.audit, images, found)


def split(root: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Cut the folds: folds.csv, folds.json."""
    folder, wanted = RunFolder(root), SplitSpec.model_validate(spec["split"])
    whole = decided(folder, spec)
    images = whole.labelled
    _stop_on_errors(folder)
    order = images.table.select("image")
    contents = order.join(read_table(folder.decided / "contents.parquet"), "image", "inner", maintain_order="left")
    _check_learnable(images, contents["pixels"].to_list())
    table, names = images.table, contents["image"].to_list()
    twins = dict(table.filter(pl.col("twin_of").is_not_null()).select("image", "twin_of").iter_rows())
    how: Any = {"unlisted": wanted.unlisted, "twins": twins}
    stated = None if wanted.file is None else read_stated(wanted.file, names, _whole_index(folder, spec).images, **how)
    previous = previous_folds(folder, spec)
    found = split_images(
        contents,
        wanted,
        names=images.categories.names,
        groups=_with_twins(table, "group"),
        duplicates=copies_of(folder),
        parts=_with_twins(table, "part"),
        stated=stated,
        previous=None if previous is None else read_previous(previous, names),
        seed=spec["seed"],
    )
    write_table(folder.folds, found.table)
    write_json(folder.certificate, found.certificate)
    kept = wanted.previous if previous is None else str(previous)
    return spec | {"split": found.spec.model_dump(mode="json") | {"previous": kept}}


def certify_leaks(folder: RunFolder) -> None:
    """Let the certificate say what became of the leaks that the audit finds now; other findings cut no other folds."""
    known = read_json(folder.certificate)
    leaks = read_table(folder.findings).filter(pl.col("kind").str.starts_with("leak_"))
    said = with_leaks(known, read_folds(folder.folds), leaks.select("kind", "image", "other_image").iter_rows())
    if said != known:
        write_json(folder.certificate, said)


def plan(root: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Decide what the recipe leaves open: plan.json."""
    from maskwright.train.probe import plan_training

    folder = RunFolder(root)
    folds = read_folds(folder.folds).filter(pl.col("fold") != HELD_OUT)
    training = decided(folder, spec).only(folds["image"].to_list())
    sections = {key: value for key, value in spec.items() if key != "rounds"}
    made = plan_training(Recipe.model_validate(sections), training, further=spec.get("rounds", 0.0))
    about = {
        "seconds_per_step": made.seconds_per_step,
        "projected_seconds": made.projected_seconds,
        "reasons": made.reasons,
    }
    write_json(root / "plan.json", about)
    filled = made.recipe.model_dump(mode="json", include=set(sections))
    for section in ("train", "instances"):  # of which the spec has but some fields
        filled |= {section: {key: filled[section][key] for key in spec[section]}} if section in spec else {}
    return spec | filled


def train(root: Path, spec: dict[str, Any]) -> None:
    """Train one fold: round-0/fold-K/."""
    from maskwright.train.fit import train_fold
    from maskwright.train.memory import check_whole

    folder, fold = RunFolder(root), spec["fold"]
    # what decides a number is in the spec, too; workers and the like only here
    recipe, place = team_recipe(load_recipe(folder.recipe), spec), folder.fold(fold, team=spec.get("team", 0))
    folds = read_folds(folder.folds)
    whole = decided(folder, spec)
    alone = recipe.split.folds == 1
    training = folds.filter((pl.col("fold") != HELD_OUT) & ((pl.col("fold") != fold) | alone))["image"].to_list()
    held = [] if alone else scored(whole, folds.filter(pl.col("fold") == fold))["image"].to_list()
    validation = whole.only(held) if held else None
    last = place / "last.ckpt"
    check_whole(last)
    start = None if last.is_file() else choose_start(folder, recipe, fold)  # what goes on has started
    learned, accepted = with_accepted(folder, whole, fold)
    train_fold(place, learned.only([*training, *accepted]), validation, recipe, fold=fold, start=start)


def predict(root: Path, spec: dict[str, Any]) -> None:
    """Predict one part into its probability store: each fold by its own network, all else by the mean of all."""
    folder, part = RunFolder(root), spec["part"]
    wanted = PredictSpec.model_validate(spec["predict"])
    number = spec.get("round", 0)
    whole, store = decided(folder, spec), ProbabilityStore(folder.store(part, number))
    store.folder.mkdir(parents=True, exist_ok=True)
    count = spec["split"]["folds"]
    recipe = load_recipe(folder.recipe)
    for networks, images in jobs(folder, whole, part, count):
        missing = [image for image in images if name_of(image) not in store]
        if not missing:
            continue
        store.check_room(working_shapes(recipe, whole.only(missing)))
        todo = [(name_of(image), whole.path(image)) for image in missing]
        if "instances" in spec:
            told, level = InstancesSpec.model_validate(spec["instances"]), spec.get("level")
            about = networks_asked(folder, told, whole.categories, networks, wanted.checkpoint, number, level)
            shown = frozenset(map(name_of, images[:EMBEDDED] if level is None else ()))
            way = Way(told, shown=shown, asked=about.things)
            found = predict_objects(about.paths, todo, wanted, way, spec["accelerator"])
            for one in track(found, f"predict {part}", len(todo)):
                store_told(store, one)
            continue
        files = [path for n in networks for path in folder.checkpoints(n, wanted.checkpoint, number)]
        if recipe.tells_instances:  # of things that are divided among networks, all that say the categories together
            spoken = recipe.instances, whole.categories, networks, wanted.checkpoint, number
            files = list(networks_asked(folder, *spoken).paths)
        _predict_categories(store, files, todo, wanted, spec)


def _predict_categories(
    store: ProbabilityStore,
    files: list[Path],
    todo: list[tuple[str, Path]],
    wanted: PredictSpec,
    spec: dict[str, Any],
) -> None:
    """Write the probabilities of images where objects aren't told apart."""
    from maskwright.predict import load_ensemble, predict_files

    found = predict_files(load_ensemble(files), todo, wanted, accelerator=spec["accelerator"])
    for name, _, probabilities in track(found, f"predict {spec['part']}", len(todo)):
        store.write(name, probabilities)


def tune(root: Path, spec: dict[str, Any]) -> None:
    """Choose the post-processing on out-of-fold predictions: tuned.json."""
    from maskwright.pipeline.tuning import tune_run

    tune_run(RunFolder(root), decided(RunFolder(root), spec), spec)


def evaluate(root: Path, spec: dict[str, Any]) -> None:
    """Write labels and overlays of every part, score those with truth: predictions/."""
    from maskwright.pipeline.scoring import score_run

    score_run(
        RunFolder(root),
        decided(RunFolder(root), spec),
        spec["parts"],
        EvaluateSpec.model_validate(spec["evaluate"]),
        PredictSpec.model_validate(spec["predict"]),
        seed=spec["seed"],
        told=spec if "instances" in spec else None,
    )


def suspects(root: Path, spec: dict[str, Any]) -> None:
    """Rank masks that out-of-fold predictions contradict: suspects/."""
    from maskwright.pipeline.suspecting import suspect_run

    folder = RunFolder(root)
    whole = decided(folder, spec).where(pl.col("twin_of").is_null())  # a twin's mask is looked at once
    suspect_run(folder, whole, SuspectSpec.model_validate(spec["suspects"]))


def report(root: Path, spec: dict[str, Any]) -> None:
    """Write predictions/report.html."""
    write_page(root, spec)


def write_page(root: Path, spec: dict[str, Any], *, anonymous: bool = False) -> Path:
    """Write the report, with names or without; return its path."""
    from maskwright.report import write_report

    thumbnails = ReportSpec.model_validate(spec["report"]).thumbnails
    read, read_mask = readers(root, spec)
    return write_report(root, read_image=read, read_label=read_mask, thumbnails=thumbnails, anonymous=anonymous)


def readers(root: Path, spec: dict[str, Any]) -> tuple[Callable[[Path], Array], Callable[[Path], LabelMap]]:
    """Return what reads the images of a run for its pages, and what reads its masks."""
    whole = _whole_index(RunFolder(root), spec)
    rows = [(row[whole.label_column], whole.path(row["image"])) for row in whole.labelled.table.to_dicts()]
    labels = {whole.path(label): turned_like(label, image) for label, image in rows}

    def read_any(path: Path) -> LabelMap:
        if path in labels:
            return read_label(path, whole.categories, like=labels[path])
        return read_label(path, as_written(whole.categories))

    return read_image, read_any


def read_chain(plain: Any) -> tuple[PostprocessStep, ...]:
    """Return the steps of a chain in tuned.json."""
    return _CHAIN.validate_python(plain)


def _with_twins(table: pl.DataFrame, column: str) -> dict[str, str | None]:
    """Return image → group or part; an unlabelled copy with a twin's mask goes where its twin goes, whatever else."""
    known: dict[str, str | None] = dict(zip(table["image"], table[column], strict=True))
    for image, twin in table.filter(pl.col("twin_of").is_not_null()).select("image", "twin_of").iter_rows():
        if column == "group" and known[twin] is None:
            known[twin] = twin
        known[image] = known[twin]
    return known


def decided(folder: RunFolder, spec: dict[str, Any]) -> Index:
    """Return the index as the decisions leave it."""
    return decided_index(folder, DataSpec.model_validate(spec["data"]))


def _whole_index(folder: RunFolder, spec: dict[str, Any]) -> Index:
    return load_index(folder.index, DataSpec.model_validate(spec["data"]))


def _stop_on_errors(folder: RunFolder) -> None:
    errors = read_table(folder.findings).filter(pl.col("severity") == "error")
    stopping = errors.filter(pl.col("decision") == "stop")
    if not stopping.height:
        return
    rows = stopping.head(20).iter_rows(named=True)
    listed = "\n".join(f"    {row['image']}: {row['kind']}: {row['detail']}" for row in rows)
    more = f"\n    … and {stopping.height - 20} more in {folder.findings}" if stopping.height > 20 else ""
    raise DataError(
        problem(
            "files that can be used",
            f"{stopping.height} that can't:\n{listed}{more}",
            where="the audit",
            next_move="mend them, or leave these images out with --set audit.on_error=drop",
        )
    )


def _check_learnable(images: Index, pixels: list[list[int]]) -> None:
    """Raise DataError if the usable masks hold fewer than two categories: whatever is learned would be that one."""
    present = [name for name, *counts in zip(images.categories.names, *pixels, strict=True) if any(counts)]
    if len(present) < 2:
        raise DataError(
            problem(
                "masks that hold at least two categories",
                f"nothing but {present[0] if present else 'ignored pixels'} in all {len(pixels)} that can be used",
                where=f"{images.root}, {len(images)} labelled",
                next_move="see that the masks are the right files and --ignore or --classes hide nothing"
                + ("; of objects' numbers 0, or black, is the background" if images.target == "instances" else ""),
            )
        )


def working_shapes(recipe: Recipe, images: Index) -> list[tuple[int, int, int]]:
    """Return the (C, h, w) that probability maps of images have at the size that a recipe's networks work at."""
    scale, table = recipe.train.scale or 1.0, images.table
    sizes = [working_size(size, scale) for size in zip(table["height"], table["width"], strict=True)]
    return [(len(images.categories), height, width) for height, width in sizes]


def member_part(fold: int) -> str:
    """Return what the held-out part is called where one fold's network predicts it alone."""
    return f"holdout-fold-{fold}"


def is_member(part: str) -> bool:
    """Return whether a part is the held-out part as one fold's network alone predicts it."""
    return part.startswith("holdout-")


def jobs(folder: RunFolder, whole: Index, part: str, count: int) -> list[tuple[list[int], list[str]]]:
    """Return which networks, by their folds, predict which images of a part."""
    folds = read_folds(folder.folds)
    if part.startswith("oof"):  # also of one division of things among networks alone
        return [([k], folds.filter(pl.col("fold") == k)["image"].to_list()) for k in range(count)]
    everyone = list(range(count))
    if part.startswith("holdout"):
        alone = [member for member in everyone if part == member_part(member)]
        return [(alone or everyone, folds.filter(pl.col("fold") == HELD_OUT)["image"].to_list())]
    unusable = set(read_json(folder.audit / "unusable.json"))
    pool = [image for image in pool_of(whole.table, folds)["image"] if image not in unusable]
    return [(everyone, pool)]

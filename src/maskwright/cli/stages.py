"""The stages alone: on a run folder, or on plain folders."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, write_json, write_table
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.folds import print_folds
from maskwright.cli.options import DataOptions, FoldOptions, Options, listed, typed_command
from maskwright.cli.overview import print_overview
from maskwright.cli.run import print_scores, say_left_out, shown, summary_of
from maskwright.errors import UsageError, problem
from maskwright.recipe import load_recipe
from maskwright.tasks import lock

if TYPE_CHECKING:
    from maskwright.evaluate import Evaluation

Flag = Parameter(negative=())
_SHOWN = 15
_STATED = "state it in the recipe: maskwright run --recipe RUN/recipe.yaml --set key.path=value --out RUN --redo"


def audit(options: DataOptions = DataOptions(), *, cleaned: Path | None = None, to: str = "folder") -> None:  # noqa: B008
    """Look at a data folder: unreadable files, wrong sizes, unknown values, duplicates, conflicts, outliers, balance.

    Writes audit/findings.parquet, other tables, pictures and decisions.jsonl into the run folder. Needs no torch.

    Args:
        cleaned: new folder for a copy of the data as the decisions leave it, with removed.csv.
        to: format of that copy.
    """
    from maskwright.pipeline.decide import decision_effects, write_cleaned

    folder = _until("audit", options)
    if cleaned is not None:
        with progress():
            written = write_cleaned(folder, cleaned, to)
    findings, classes = read_table(folder.findings), read_table(folder.audit / "classes.parquet")
    rows = [
        (row["category"], f"{row['image_share']:.0%}", f"{row['pixel_share']:.2%}", str(row["objects"]))
        for row in classes.iter_rows(named=True)
    ]
    table("Categories", ("category", "images", "pixels", "objects"), rows)
    overview = print_overview(folder)
    kinds = findings.group_by("severity", "kind").len().sort("severity", "kind")
    table("Findings", ("severity", "kind", "number"), [tuple(map(str, row)) for row in kinds.iter_rows()])
    for note in findings.filter(findings["kind"] == "taken_for_granted")["detail"]:
        say(f"note: {note}")
    serious = findings.filter(findings["severity"] != "note")  # errors first, then leaks
    serious = serious.sort(
        serious["severity"] != "error", ~serious["kind"].str.starts_with("leak"), maintain_order=True
    )
    for row in serious.head(_SHOWN).iter_rows(named=True):
        pair = f" and {row['other_image']}" if row["other_image"] else ""
        say(f"{row['image']}{pair}: {row['kind']}: {row['detail']}")
    more = f" ({serious.height - _SHOWN} more errors and warnings)" if serious.height > _SHOWN else ""
    reads = f"import polars; print(polars.read_parquet({str(folder.findings)!r}).write_csv())"
    say(
        f"all findings: {folder.findings}{more}; as text: python -c {shlex.quote(reads)}, or add --json to this command"
    )
    say_left_out(folder)
    found: dict[str, Any] = {
        "findings": findings.to_dicts(),
        "classes": classes.to_dicts(),
        **overview,
        "run": str(folder.root),
    }
    found["decisions"] = [vars(effect) for effect in decision_effects(folder)]
    if cleaned is not None:  # last, so that it isn't looked for above the tables
        say(f"{written} images written to {cleaned} as {to}; what was left out: {cleaned / 'removed.csv'}")
        found["cleaned"] = {"folder": str(cleaned), "format": to, "images": written}
    result(found, as_json=options.json)


def split(
    options: FoldOptions = FoldOptions(),  # noqa: B008
    *,
    write: Path | None = None,
) -> None:
    """Cut grouped, stratified folds and a held-out part; print the certificate that no group crosses.

    Args:
        options: what is cut.
        write: also write the folds to this file: NAME.csv (image, group, fold), or splits_final.json for nnU-Net.
    """
    from maskwright.split.files import write_folds

    folder = _until("split", options)
    say_left_out(folder)
    certificate = read_json(folder.certificate)
    print_folds(certificate)
    say(f"certificate: {certificate['text']}\nfolds: {folder.folds}")
    if write is not None:
        _check_free(write.parent, (write.name,))
        write_folds(write, read_folds(folder.folds))
        say(f"written: {write}")
    result(certificate, as_json=options.json)


def train(options: Options = Options()) -> None:  # noqa: B008
    """Train the folds of a recipe; goes on where an earlier call stopped."""
    folder = _until("train", options)
    say_left_out(folder)
    say(f"checkpoints: {folder.root}/round-0/fold-*/")
    result(
        {"run": str(folder.root), "checkpoints": [str(p) for p in checkpoints(folder, "last")]}, as_json=options.json
    )


def report(run: Path, *, redo: Annotated[bool, Flag] = False, json: Annotated[bool, Flag] = False) -> None:
    """Write the report of a run anew.

    Args:
        run: run folder whose trainings are finished.
        redo: replace results of another recipe.
        json: write the summary as JSON to stdout.
    """
    folder = _finished(run, "report", anew="report", redo=redo)
    say(f"report: {folder.predictions / 'report.html'}")
    result(summary_of(folder), as_json=json)


def postprocess(
    labels: Path,
    *,
    out: Path | None = None,
    minimum_area: int | None = None,
    fill_holes: int | None = None,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Clean up labels: those of a run by what its out-of-fold predictions say, or a folder of label PNGs as you say.

    On a run folder, chooses thresholds, minimum areas and hole filling and prints what they gain, cross-fitted. On a
    folder of label PNGs, small components take the label around them, and holes in foreground are filled.

    Examples: maskwright postprocess runs/teeth
              maskwright postprocess labels --out clean --minimum-area 20

    Args:
        labels: run folder, or folder of index PNGs.
        out: folder for the cleaned ones (not with a run folder).
        minimum_area: components with fewer pixels go (not with a run folder).
        fill_holes: fill holes of at most this many pixels in value 1, two-category labels (not with a run folder).
        redo: replace results of another recipe in a run folder.
        json: write what was chosen, or the list of files, as JSON to stdout.
    """
    if _is_run(labels):
        refuse({"--out": out, "--minimum-area": minimum_area, "--fill-holes": fill_holes}, _STATED)
        tuned = read_json(_finished(labels, "tune", redo=redo).tuned)
        say(f"chain: {' → '.join(_step(step) for step in tuned['chain']) or 'none'}")
        gain = tuned["gain"]
        say(f"gain, cross-fitted: {shown(gain)}" if gain else f"chosen on: {tuned['fitted_on']}")
        result(tuned, as_json=json)
        return
    if out is None:
        raise UsageError(
            problem("--out FOLDER", "none", where="postprocess", next_move="give a folder for the cleaned copies")
        )
    from maskwright.predict.labels import clean_folder

    with progress():
        files = clean_folder(labels, out, minimum_area=minimum_area or 0, holes=fill_holes)
    say(f"{len(files)} label files in {out}")
    result({"files": [str(f) for f in files]}, as_json=json)


def evaluate(
    prediction: Path,
    truth: Path | None = None,
    *,
    classes: Literal["all", "binary"] | None = None,
    ignore: str | None = None,
    leave_out: str | None = None,
    images: Path | None = None,
    empty: Literal["nan", "one"] | None = None,
    absent: Literal["zero", "skip"] | None = None,
    partial: Annotated[bool, Flag] = False,
    seed: int | None = None,
    out: Path | None = None,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Score a run, or a folder of predicted label files against a folder of true ones. Folders need no torch.

    Files are matched by name. Categories come from a classes.json in or beside the truth folder, or from the values.

    Examples: maskwright evaluate runs/teeth
              maskwright evaluate labels teeth/masks --classes binary

    Args:
        prediction: folder of index PNGs, or a run folder; a run's own recipe says how it is scored.
        truth: folder of index PNGs.
        classes: all (default), or binary: everything but 0 is foreground.
        ignore: values in the truth whose pixels don't count, comma-separated.
        leave_out: categories left out of the means, comma-separated.
        images: folder of the images; a truth is turned like its image where that has an EXIF orientation.
        empty: Dice and IoU of an image where a category is in neither: nan, left out of the mean (default), or one.
        absent: pooled IoU of a category that is predicted but nowhere true: zero (default), or skip.
        partial: score the truths that have a prediction; a run makes none for images that its decisions left out.
        seed: seed of the bootstrap (default 0).
        out: folder for evaluation.json, per_image.parquet and confusion.json.
        redo: replace results of another recipe in a run folder.
        json: write the scores as JSON to stdout.
    """
    if truth is None:
        given: dict[str, Any] = {"--classes": classes, "--ignore": ignore, "--leave-out": leave_out, "--empty": empty}
        given |= {"--images": images, "--absent": absent, "--seed": seed, "--out": out, "--partial": partial or None}
        return _evaluate_run(prediction, given, redo=redo, as_json=json)
    from maskwright.evaluate import evaluate_folders
    from maskwright.recipe.predict import EvaluateSpec

    with progress():
        found = evaluate_folders(
            prediction,
            truth,
            classes=classes or "all",
            ignore=_numbers(ignore),
            leave_out=[str(word) for word in listed(leave_out) or ()],
            images=images,
            partial=partial,
            spec=EvaluateSpec(empty=empty or "nan", absent=absent or "zero"),
            seed=seed or 0,
        )
    _show_evaluation(found, out, partial=partial)
    result(found.scores, as_json=json)


def _show_evaluation(found: Evaluation, out: Path | None, *, partial: bool) -> None:
    """Print the scores of two folders, and write them where one wants them."""
    if partial:
        say(f"{found.per_image['image'].n_unique()} truths with a prediction are scored")
    names = [name for name in found.scores if not name.startswith("dice/")]
    table("Scores", ("metric", "value [95 % interval]"), [(name, shown(found.scores[name])) for name in names])
    if out is not None:
        with lock(out):
            _check_free(out, ("evaluation.json", "confusion.json", "per_image.parquet"))
            write_json(out / "evaluation.json", found.scores)
            write_json(out / "confusion.json", {"categories": found.categories, "all": found.confusion})
            write_table(out / "per_image.parquet", found.per_image)


def _evaluate_run(run: Path, given: dict[str, Any], *, redo: bool, as_json: bool) -> None:
    """Print a run's scores, as its own recipe says."""
    if not _is_run(run):
        raise UsageError(
            problem(
                "a run folder, or two folders: of predicted and of true label files",
                "one folder that holds no run",
                where=str(run),
                next_move="maskwright evaluate PREDICTION TRUTH",
            )
        )
    refuse(given, _STATED)
    scores = read_json(_finished(run, "evaluate", redo=redo).predictions / "evaluation.json")
    print_scores(scores)
    result(scores, as_json=as_json)


def _until(stage: str, options: Options) -> RunFolder:
    from maskwright import pipeline

    recipe = options.to_recipe()
    with progress():
        return pipeline.run(recipe, options.folder(recipe), until=stage, redo=options.redo, command=typed_command())


def _is_run(folder: Path) -> bool:
    return RunFolder(folder).recipe.is_file() and RunFolder(folder).records.is_dir()


def _finished(run: Path, stage: str, *, redo: bool, anew: str | None = None) -> RunFolder:
    """Run a trained run's own recipe up to a stage."""
    from maskwright import pipeline

    folder = RunFolder(run)
    checkpoints(folder, "last")
    with progress():
        return pipeline.run(load_recipe(folder.recipe), run, until=stage, anew=anew, redo=redo)


def refuse(options: dict[str, Any], next_move: str, folder: str = "a run folder") -> None:
    """Raise UsageError if an option is given that a run folder's recipe decides."""
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(problem(f"{folder} alone", ", ".join(given), where="the command line", next_move=next_move))


def _step(step: dict[str, Any]) -> str:
    return " ".join(str(value) for value in step.values())


def checkpoints(folder: RunFolder, kind: str) -> list[Path]:
    """Return the checkpoints of all folds; the trainings must be finished."""
    folds = load_recipe(folder.recipe).split.folds
    if open_folds := [k for k in range(folds) if not (folder.records / f"train-fold-{k}.json").is_file()]:
        raise UsageError(
            problem(
                f"{folds} finished trainings",
                f"{len(open_folds)} of them unfinished",
                where=str(folder.root),
                next_move=f"finish them: maskwright train --recipe {folder.recipe} --out {folder.root}",
            )
        )
    return folder.all_checkpoints(kind, folds)


def _check_free(out: Path, names: tuple[str, ...]) -> None:
    if standing := [name for name in names if (out / name).exists()]:
        raise UsageError(
            problem(
                "a folder without files of these names",
                ", ".join(standing),
                where=str(out),
                next_move="give another folder with --out; nothing is overwritten",
            )
        )


def _numbers(text: str | None) -> list[int]:
    words: list[Any] = listed(text) or []
    if wrong := [word for word in words if not isinstance(word, int)]:
        raise UsageError(
            problem(
                "numbers", ", ".join(map(str, wrong)), where="--ignore", next_move="give mask values, as 255 or 0,255"
            )
        )
    return words

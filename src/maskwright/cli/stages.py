"""The stages alone: on a run folder, or on plain folders."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, is_run, read_folds, read_json, read_table
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.finished import STATED, check_free, checkpoints, finished, refuse
from maskwright.cli.folds import print_folds
from maskwright.cli.options import DataOptions, FoldOptions, Options, typed_command
from maskwright.cli.overview import print_overview
from maskwright.cli.run import say_left_out, summary_of
from maskwright.errors import UsageError, problem
from maskwright.recipe import load_recipe

Flag = Parameter(negative=())
_SHOWN = 15


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
        named = " and ".join(filter(None, (row["image"], row["other_image"])))  # none: it is of all
        say(f"{named}{': ' * bool(named)}{row['kind']}: {row['detail']}")
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
        check_free(write.parent, (write.name,))
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


def report(
    run: Path,
    *,
    anonymous: Annotated[bool, Flag] = False,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Write the report of a run anew.

    Examples: maskwright report runs/teeth
              maskwright report runs/teeth --anonymous

    Args:
        run: run folder whose trainings are finished.
        anonymous: write report-anonymous.html instead, which names no file, folder, group, label source or reviewer;
            its pictures are made anew, without metadata. What pictures show themselves stays, and names of categories,
            domains and parts.
        redo: replace results of another recipe.
        json: write the summary as JSON to stdout.
    """
    if anonymous:
        from maskwright.pipeline.stages import write_page

        folder = finished(run, "suspects", redo=redo)
        spec = load_recipe(folder.recipe).model_dump(mode="json", include={"data", "report"})
        with progress():
            page = write_page(folder.root, spec, anonymous=True)
    else:
        folder = finished(run, "report", anew="report", redo=redo)
        page = folder.predictions / "report.html"
    say(f"report: {page}")
    result(summary_of(folder) | {"report": str(page)}, as_json=json)


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

    On a run folder, chooses steps, thresholds and sizes and prints what they gain, cross-fitted (`maskwright tune` does
    so with other candidates). On a folder of label PNGs, small components take the label around them, and holes in
    foreground are filled.

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
    if is_run(labels):
        refuse({"--out": out, "--minimum-area": minimum_area, "--fill-holes": fill_holes}, STATED)
        from maskwright.cli.tune import show_tuned

        tuned = read_json(finished(labels, "tune", redo=redo).tuned)
        show_tuned(tuned)
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


def _until(stage: str, options: Options) -> RunFolder:
    from maskwright import pipeline

    recipe = options.to_recipe()
    with progress():
        return pipeline.run(recipe, options.folder(recipe), until=stage, redo=options.redo, command=typed_command())

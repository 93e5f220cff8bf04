"""Which images to label next: `query`."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, is_run
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.options import Options, typed_command
from maskwright.cli.review import carried_out
from maskwright.errors import UsageError, problem
from maskwright.recipe import load_recipe

if TYPE_CHECKING:
    from maskwright.review.query import Chosen
    from maskwright.review.source import Reviewed

Flag = Parameter(negative=())
_SHOWN = 20


def query(
    run: Path | None = None,
    *,
    data: Path | None = None,
    n: Annotated[int, Parameter(name=["--n", "-n"])] = 20,
    to: Literal["label_studio", "cvat"] = "label_studio",
    out: Path | None = None,
    anonymous: Annotated[bool, Flag] = False,
    labels: Annotated[Path | None, Parameter(name="--import")] = None,
    by: str = "labels",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Choose which images without a mask to label next, and hand them to Label Studio or CVAT with masks to correct.

    Chosen are images that the networks are unsure of, that look unlike those with a mask and unlike each other, and
    that seem to hold what is rare or badly predicted. The folder holds images/ in the order in which to label them,
    query.csv with the reasons, and the task, where the predicted masks are there already, to be corrected.

    Against as many images at random this was measured to be better where images differ (Mars terrain), and no better
    where they are alike (dental X-rays). What comes back is taken with --import; the next maskwright run on the folder
    learns from it.

    Examples: maskwright query runs/teeth -n 20
              maskwright query --data teeth -n 20 --to cvat --out for-cvat
              maskwright query runs/teeth --import export.zip --by Anna

    Args:
        run: finished run folder.
        data: data folder instead: its run is runs/NAME, which is finished, or made, first.
        n: how many images.
        to: the annotation tool.
        out: new folder for the tool; default: RUN/queries/1, 2 and so on.
        anonymous: name no file of the data folder there, and write pictures anew, without metadata.
        labels: take a finished export (file, zip or folder, of any format that is read), and end.
        by: who labelled, for the log.
        json: write what was chosen, or taken, as JSON to stdout.
    """
    if n < 1:
        raise UsageError(problem("at least one image", f"{n}", where="--n", next_move="give a larger number"))
    folder = _run_of(run, data)
    from maskwright.review.source import Reviewed

    source = Reviewed.of(folder)
    found = _take(source, labels, by) if labels is not None else _choose(source, n, to, out, anonymous=anonymous)
    result({"run": str(folder), **found}, as_json=json)


def _run_of(run: Path | None, data: Path | None) -> Path:
    """Return the run folder; that of a data folder is finished or made first."""
    if (run is None) == (data is None):
        next_move = "maskwright query runs/NAME, or maskwright query --data FOLDER"
        got = "neither" if run is None else "both"
        raise UsageError(problem("a run folder or --data FOLDER", got, where="query", next_move=next_move))
    if run is not None:
        return run
    from maskwright import pipeline

    recipe = Options(data=data).to_recipe()
    folder = Options(data=data).folder(recipe)
    if is_run(folder):
        recipe = load_recipe(RunFolder(folder).recipe)
    else:
        say(f"there is no run in {folder}: it is made first")
    with progress():
        pipeline.run(recipe, folder, until="evaluate", command=typed_command())
    return folder


def _choose(source: Reviewed, count: int, tool: str, out: Path | None, *, anonymous: bool) -> dict[str, Any]:
    from maskwright.review.query import query as choose
    from maskwright.review.tasks import asked, write_query

    before = frozenset(asked(source).values())
    with progress():
        chosen, among = choose(source, count, asked=before)
        folder = write_query(source, chosen, tool, out=out, anonymous=anonymous)
    _print(chosen, among)
    if len(before):
        say(f"{len(before)} images that were asked for before are not among them")
    for line in _how(tool, folder, source):
        say(line)
    rows = [
        asdict(one.candidate) | {"worth": one.worth, "novelty": one.novelty, "nearest": one.nearest} for one in chosen
    ]
    return {"folder": str(folder), "among": among, "images": rows}


def _print(chosen: list[Chosen], among: int) -> None:
    rows = [
        (
            one.candidate.image,
            f"{one.candidate.uncertainty:.3f}",
            f"{one.rank:.0%}",
            f"{one.novelty:.2f}",
            f"{one.candidate.need:.2f}",
            one.candidate.category,
        )
        for one in chosen[:_SHOWN]
    ]
    columns = ("image", "uncertainty", "of all", "unlike others", "need", "for")
    table(f"To label next: {len(chosen)} of {among}", columns, rows, words=(0, 5))
    if len(chosen) > _SHOWN:
        say(f"and {len(chosen) - _SHOWN} more")


def _how(tool: str, folder: Path, source: Reviewed) -> list[str]:
    """Return what to do in the tool, and how its export comes back, a line each."""
    ways = {
        "label_studio": [
            f"start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={folder.resolve()}",
            f"in a new project: Labeling Setup, Custom template: {folder}/labels.xml; Settings, Cloud Storage, Local "
            f"files: {folder.resolve()}/images (no sync); then import {folder}/tasks.json",
            "when all are submitted: Export, JSON",
        ],
        "cvat": [
            f"in a new task: Constructor, Raw: {folder}/labels.json; files: those of {folder}/images",
            f"then Actions, Upload annotations, CVAT 1.1: {folder}/annotations.xml",
            "when all are looked at (CVAT doesn't say which were): Actions, Export, CVAT for images 1.1",
        ],
    }
    back = [f"bring it back: maskwright query {source.folder.root} --import EXPORT --by NAME"]
    if source.index.target == "instances":
        task = {"label_studio": "tasks.json", "cvat": "annotations.xml"}[tool]
        back = [
            "this run learns from instance maps alone, which --import doesn't take: put the export's file in the place "
            f"of {folder}/{task}, then",
            f"bring it back: maskwright convert {folder} LABELLED --to folder",
            "and learn from it in a new run folder: the run's command with --set 'data.further=[{root: LABELLED}]'",
        ]
    return [f"written: {folder}", *ways[tool], *back]


def _take(source: Reviewed, labels: Path, by: str) -> dict[str, Any]:
    from maskwright.review.sources import delivering
    from maskwright.review.tasks import import_labels

    with progress():
        found = import_labels(source, labels, by=by)
    say(f"{len(found.taken)} masks taken, {len(found.known)} were there before, in {source.folder.decisions}")
    alone = delivering(source)[1] is not None  # one network, which no fold is scored by
    if found.unchanged:
        use = "never scored" if alone else "neither learned from nor scored"
        say(f"{len(found.unchanged)} of them are as they were suggested, predictions of this run: {use}")
    if found.corrected:
        share = statistics.median(found.corrected.values())
        say(
            f"{len(found.corrected)} of them are the suggested ones, corrected in {share:.2%} of the pixels (median): "
            "they are learned from and scored whole, with what was left of the suggestion"
        )
    if found.missing:
        say(f"{len(found.missing)} of what was asked for have no mask yet: {', '.join(found.missing[:5])}")
    if found.strangers:
        say(f"left out: {len(found.strangers)} that were never asked for: {', '.join(found.strangers[:5])}")
    if len(found.taken) > (0 if alone else len(found.unchanged)):
        say(f"learn from them: {carried_out(source.folder.root)}")
    return asdict(found)

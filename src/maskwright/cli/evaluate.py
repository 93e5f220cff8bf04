"""`evaluate`: a run, or predictions against truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import read_json, write_json, write_table
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.finished import STATED, check_free, finished, is_run, refuse
from maskwright.cli.options import listed
from maskwright.cli.run import print_scores, shown, shown_names
from maskwright.errors import UsageError, problem
from maskwright.tasks import lock

if TYPE_CHECKING:
    from maskwright.evaluate import Evaluation
    from maskwright.recipe.predict import EvaluateSpec

Flag = Parameter(negative=())


def evaluate(
    prediction: Path,
    truth: Path | None = None,
    *,
    kind: Literal["semantic", "instances", "panoptic"] | None = None,
    classes: Literal["all", "binary"] | None = None,
    ignore: str | None = None,
    leave_out: str | None = None,
    images: Path | None = None,
    group: str | None = None,
    group_regex: str | None = None,
    families: str | None = None,
    tolerance: float | None = None,
    boundary_width: int | None = None,
    ap_definition: Literal["coco", "cityscapes"] | None = None,
    empty: Literal["nan", "one"] | None = None,
    absent: Literal["zero", "skip"] | None = None,
    partial: Annotated[bool, Flag] = False,
    seed: int | None = None,
    workers: int | None = None,
    out: Path | None = None,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Score a run, or predictions against truth: two folders, files or COCO panoptic files, without torch.

    Files are matched by name, segments of COCO panoptic files by image id. Categories come from a classes.json in or
    beside the truth folder, from the values, or from the COCO file.

    Examples: maskwright evaluate runs/teeth
              maskwright evaluate labels teeth/masks --classes binary
              maskwright evaluate found/instances nuclei/instances --kind instances --group patient
              maskwright evaluate panoptic_pred.json panoptic_val2017.json

    Args:
        prediction: folder of index PNGs, file of segments, or a run folder; a run's own recipe says how it is scored.
        truth: folder of index PNGs, or file of segments.
        kind: what the files hold: semantic, values of categories (default); instances, ids of objects, 0 the
            background (segments.csv beside them: name, id, category, score, crowd); panoptic, COCO's JSON and PNGs, or
            masks/ and instances/ in both folders.
        classes: all (default), or binary: everything but 0 is foreground.
        ignore: values in the truth whose pixels don't count, comma-separated.
        leave_out: categories left out of the means, comma-separated.
        images: folder of the images; a truth is turned like its image where that has an EXIF orientation.
        group: column of a meta.csv in or beside the truth folder whose images are resampled together.
        group_regex: the same from the names: what its first group, or all of it, matches.
        families: what is scored beside pixel counts, comma-separated, or none: boundary, instances, panoptic (default,
            where the files allow), keras, dental.
        tolerance: pixels within which a boundary is right, for NSD and boundary F (default: 0.75 % of the diagonal).
        boundary_width: pixels from a mask's border that count for boundary IoU (default: 2 % of the diagonal).
        ap_definition: coco (default) or cityscapes: whose rules AP follows; it needs scores.
        empty: Dice and IoU of an image where a category is in neither: nan, left out of the mean (default), or one.
        absent: pooled IoU, and AP, of a category that is predicted but nowhere true: zero (default), or skip.
        partial: score the truths that have a prediction; a run makes none for images that its decisions left out.
        seed: seed of the bootstrap (default 0).
        workers: processes that read and score (default: threads of this one).
        out: folder for evaluation.json, per_image.parquet and confusion.json.
        redo: replace results of another recipe in a run folder.
        json: write the scores as JSON to stdout.
    """
    stated: dict[str, Any] = {"--families": families, "--tolerance": tolerance, "--empty": empty, "--absent": absent}
    stated |= {"--boundary-width": boundary_width, "--ap-definition": ap_definition}
    if truth is None:
        given: dict[str, Any] = {"--classes": classes, "--ignore": ignore, "--leave-out": leave_out, "--out": out}
        given |= {
            "--images": images,
            "--seed": seed,
            "--workers": workers,
            "--partial": partial or None,
            "--kind": kind,
        }
        given |= {"--group": group, "--group-regex": group_regex} | stated
        return _evaluate_run(prediction, given, redo=redo, as_json=json)
    from maskwright.evaluate import evaluate_folders

    with progress():
        found = evaluate_folders(
            prediction,
            truth,
            classes=classes or "all",
            ignore=_numbers(ignore),
            leave_out=[str(word) for word in listed(leave_out) or ()],
            images=images,
            partial=partial,
            spec=_spec(stated),
            seed=seed or 0,
            workers=workers or 0,
            kind=kind,
            group=group,
            group_regex=group_regex,
        )
    _show_evaluation(found, out, partial=partial)
    result(found.scores, as_json=json)


def _spec(stated: dict[str, Any]) -> EvaluateSpec:
    """Return the spec that the options state, with its defaults."""
    from pydantic import ValidationError

    from maskwright.recipe.predict import EvaluateSpec

    given = {
        option.removeprefix("--").replace("-", "_"): value for option, value in stated.items() if value is not None
    }
    if "families" in given:
        given["families"] = [str(word) for word in listed(given["families"]) or () if word != "none"]
    try:
        return EvaluateSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            problem(
                str(first["msg"]),
                repr(first["input"]),
                where=f"--{str(first['loc'][0]).replace('_', '-')}",
                next_move="see maskwright evaluate --help",
            )
        ) from None


def _show_evaluation(found: Evaluation, out: Path | None, *, partial: bool) -> None:
    """Print the scores of two folders, and write them where one wants them."""
    if partial:
        say(f"{found.per_image['image'].n_unique()} truths with a prediction are scored")
    rows = [(name, shown(found.scores[name])) for name in shown_names(found.scores)]
    table("Scores", ("metric", "value [95 % interval]"), rows)
    if out is not None:
        with lock(out):
            check_free(out, ("evaluation.json", "confusion.json", "per_image.parquet"))
            write_json(out / "evaluation.json", found.scores)
            write_json(out / "confusion.json", {"categories": found.categories, "all": found.confusion})
            write_table(out / "per_image.parquet", found.per_image)


def _evaluate_run(run: Path, given: dict[str, Any], *, redo: bool, as_json: bool) -> None:
    """Print a run's scores, as its own recipe says."""
    if not is_run(run):
        raise UsageError(
            problem(
                "a run folder, or two folders: of predicted and of true label files",
                "one folder that holds no run",
                where=str(run),
                next_move="maskwright evaluate PREDICTION TRUTH",
            )
        )
    refuse(given, STATED)
    scores = read_json(finished(run, "evaluate", redo=redo).predictions / "evaluation.json")
    print_scores(scores)
    result(scores, as_json=as_json)


def _numbers(text: str | None) -> list[int]:
    words: list[Any] = listed(text) or []
    if wrong := [word for word in words if not isinstance(word, int)]:
        raise UsageError(
            problem(
                "numbers", ", ".join(map(str, wrong)), where="--ignore", next_move="give mask values, as 255 or 0,255"
            )
        )
    return words

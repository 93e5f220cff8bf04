"""`evaluate`: a run, or predictions against truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from maskwright.artifacts import is_run, read_json, write_json, write_table
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.finished import STATED, check_free, finished, refuse
from maskwright.cli.options import listed
from maskwright.cli.run import print_scores, shown, shown_names
from maskwright.errors import UsageError, problem
from maskwright.tasks import lock

if TYPE_CHECKING:
    from maskwright.evaluate import Evaluation
    from maskwright.recipe.predict import EvaluateSpec

Flag = Parameter(negative=())
_KIND = (
    "What the files hold: semantic, values of categories (default); instances, ids of objects, 0 the background "
    "(segments.csv beside them: name, id, category, score, crowd; the default where it lies beside the predictions, or "
    "the truth's folder is called instances); "
    "panoptic, COCO's JSON and PNGs, or masks/ and instances/ in both folders."
)
_FAMILIES = (
    "What is scored beside pixel counts, comma-separated, or none: boundary, instances, panoptic (default, where the "
    "files allow), keras, dental."
)
FILES, SCORES = Group("Files", sort_key=1), Group("Scores", sort_key=2)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Files:
    """How files are read; of a run its recipe says so."""

    kind: Annotated[Literal["semantic", "instances", "panoptic"] | None, Parameter(group=FILES, help=_KIND)] = None
    classes: Annotated[Literal["all", "binary"] | None, Parameter(group=FILES)] = None
    """all (default), or binary: everything but 0 is foreground."""
    ignore: Annotated[str | None, Parameter(group=FILES)] = None
    """Values in the truth whose pixels don't count, comma-separated."""
    leave_out: Annotated[str | None, Parameter(group=FILES)] = None
    """Categories left out of the means, comma-separated."""
    images: Annotated[Path | None, Parameter(group=FILES)] = None
    """Folder of the images; a truth is turned like its image where that has an EXIF orientation."""
    group: Annotated[str | None, Parameter(group=FILES)] = None
    """Column of a meta.csv in or beside the truth folder whose images are resampled together."""
    group_regex: Annotated[str | None, Parameter(group=FILES)] = None
    """The same from the names: what its first group, or all of it, matches."""
    partial: Annotated[bool, Parameter(group=FILES, negative=())] = False
    """Score the truths that have a prediction; a run makes none for images that its decisions left out."""
    seed: Annotated[int | None, Parameter(group=FILES)] = None
    """Seed of the bootstrap (default 0)."""
    workers: Annotated[int | None, Parameter(group=FILES)] = None
    """Processes that read and score (default: threads of this one)."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Scores:
    """What is scored, and by which definition; of a run its recipe says so."""

    families: Annotated[str | None, Parameter(group=SCORES, help=_FAMILIES)] = None
    tolerance: Annotated[float | None, Parameter(group=SCORES)] = None
    """Pixels within which a boundary is right, for NSD and boundary F (default: 0.75 % of the diagonal)."""
    boundary_width: Annotated[int | None, Parameter(group=SCORES)] = None
    """Pixels from a mask's border that count for boundary IoU (default: 2 % of the diagonal)."""
    ap_definition: Annotated[Literal["coco", "cityscapes"] | None, Parameter(group=SCORES)] = None
    """coco (default) or cityscapes: whose rules AP follows; it needs scores."""
    empty: Annotated[Literal["nan", "one"] | None, Parameter(group=SCORES)] = None
    """Dice and IoU of an image where a category is in neither: nan, left out of the mean (default), or one."""
    absent: Annotated[Literal["zero", "skip"] | None, Parameter(group=SCORES)] = None
    """Pooled IoU, and AP, of a category that is predicted but nowhere true: zero (default), or skip."""


def evaluate(
    prediction: Path,
    truth: Path | None = None,
    *,
    files: Files = Files(),
    scores: Scores = Scores(),
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
        files: how they are read.
        scores: what is scored.
        out: folder for evaluation.json, per_image.parquet and confusion.json.
        redo: replace results of another recipe in a run folder.
        json: write the scores as JSON to stdout.
    """
    if truth is None:
        stated = {**asdict(files), **asdict(scores), "partial": files.partial or None, "out": out}
        given = {f"--{name.replace('_', '-')}": value for name, value in stated.items()}
        return _evaluate_run(prediction, given, redo=redo, as_json=json)
    from maskwright.evaluate import evaluate_folders

    with progress():
        found = evaluate_folders(
            prediction,
            truth,
            classes=files.classes or "all",
            ignore=_numbers(files.ignore),
            leave_out=[str(word) for word in listed(files.leave_out) or ()],
            images=files.images,
            partial=files.partial,
            spec=_spec(scores),
            seed=files.seed or 0,
            workers=files.workers or 0,
            kind=files.kind,
            group=files.group,
            group_regex=files.group_regex,
        )
    _show_evaluation(found, out, partial=files.partial)
    result(found.scores, as_json=json)


def _spec(stated: Scores) -> EvaluateSpec:
    """Return the spec that the options state, with its defaults."""
    from pydantic import ValidationError

    from maskwright.recipe.predict import EvaluateSpec

    given = {name: value for name, value in asdict(stated).items() if value is not None}
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

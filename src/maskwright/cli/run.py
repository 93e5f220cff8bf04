"""The main job: `demo` and `run`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, read_json, read_table
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.folds import print_folds
from maskwright.cli.options import Options, typed_command
from maskwright.cli.rounds import say_rounds
from maskwright.recipe import Recipe, load_recipe

_SHOWN = 15
_DIVIDED = ("mean_dice", "pooled_miou")
_ROWS = 30
_OF_EACH = (
    *("dice", "precision", "recall", "sq", "rq"),
    *("boundary_iou", "boundary_f", "nsd", "hausdorff", "hd95", "dental_score"),
)
"""Scores of single categories that are not printed; evaluation.json and the report have them."""
_WITHIN = re.compile(r"(?:oof/|holdout/)?[^/@]+@((?:domain|part|label_source)=.*)", re.DOTALL)
"""Scores of a domain, part or source alone; a category's name may hold an @, too."""


def demo(
    *,
    out: Path = Path("runs/demo"),
    minutes: float = 1.2,
    seed: int = 0,
    redo: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """See the main job work on a small made-up data set, from images to report.

    Makes a playground of synthetic scenes (with duplicates, a conflict and strange images planted), audits it, cuts
    folds, trains a network for each, predicts, cleans up, scores and writes the report. Takes about three minutes on
    two cores. Interrupted, the same command goes on.

    Args:
        out: folder for the playground and the run.
        minutes: training time of all folds together.
        seed: seed of the playground and of the run.
        redo: replace results of another setting.
        json: write the result as JSON to stdout.
    """
    from maskwright.data.synthetic import make_playground
    from maskwright.recipe import apply_settings
    from maskwright.recipe.data import DataSpec

    data = out / "data"
    if not (data / "classes.json").is_file():
        say(f"making the playground in {data}")
        make_playground(data, seed=seed)
    settings = [f"train.minutes={minutes}", f"seed={seed}", "split.folds=3", "split.holdout=0.2"]
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data), task="semantic")), settings)
    _run(recipe, out / "run", redo=redo, as_json=json)
    say("\nNow your own images: put them into FOLDER/images and their masks (index PNG, same names) into FOLDER/masks,")
    say("then: maskwright run --data FOLDER")


def run(options: Options = Options()) -> None:  # noqa: B008
    """Do everything on your own folder: audit, folds, training, prediction, clean-up, scores, report.

    Recognises layout, categories, channels and sizes, and writes the complete recipe into the run folder before the
    training starts: read it, edit it, run it again with --recipe. Interrupted or killed, the same command goes on.

    Examples: maskwright run --data teeth --classes binary --minutes 8
              maskwright run --data slides --classes binary --group patient --folds 4
              maskwright run --recipe runs/teeth/recipe.yaml --set train.lr=1e-3 --out runs/teeth-lr
    """
    recipe = options.to_recipe()
    _run(recipe, options.folder(recipe), redo=options.redo, as_json=options.json)


def _run(recipe: Recipe, out: Path, *, redo: bool, as_json: bool) -> None:
    from maskwright import pipeline

    started = time.perf_counter()
    command = typed_command()
    with progress():
        folder = pipeline.run(recipe, out, until="plan", redo=redo, command=command)
    say_plan(folder)
    with progress():
        folder = pipeline.run(recipe, out, redo=redo, command=command)
    summary = summary_of(folder) | {"seconds": round(time.perf_counter() - started, 1)}
    print_summary(summary)
    result(summary, as_json=as_json)


def summary_of(folder: RunFolder) -> dict[str, Any]:
    """Return what a run came to: scores, findings, paths."""
    findings = read_table(folder.findings)
    if (folder.suspects / "findings.parquet").is_file():
        findings = findings.vstack(read_table(folder.suspects / "findings.parquet"))
    scores = read_json(folder.predictions / "evaluation.json")
    rounds = {"selftrain": read_json(folder.adopted)} if folder.adopted.is_file() else {}
    return rounds | {
        "run": str(folder.root),
        "report": str(folder.predictions / "report.html"),
        "recipe": str(folder.recipe),
        "findings": dict(findings.group_by("kind").len().sort("kind").iter_rows()),
        "split": read_json(folder.certificate)["text"],
        "tuned": read_json(folder.tuned),
        "scores": scores,
    }


def say_left_out(folder: RunFolder) -> None:
    """Print what people's lines in the log came to, which images the decisions dropped, and why."""
    _say_effects(folder)
    path = folder.decided / "removed.csv"
    removed = read_table(path)
    if removed.height:
        say(f"left out: {removed.height} image(s), by {folder.decisions} (all: {path})")
    for row in removed.head(_SHOWN).iter_rows(named=True):
        say(f"  {row['image']}: {row['kind']}: {row['reason']} ({row['by']})")


def _say_effects(folder: RunFolder) -> None:
    from maskwright.pipeline.decide import decision_effects

    found = decision_effects(folder)
    for idle, what in ((False, "carried out"), (True, "without effect")):
        lines = [effect for effect in found if bool(effect.idle) is idle]
        if lines:
            images = len({effect.image for effect in lines})
            say(f"people's decisions {what}: {len(lines)}, about {images} image(s), in {folder.decisions}")
        for effect in lines[:_SHOWN]:
            why = f": {effect.idle}" if idle else ""
            say(f"  line {effect.line}: {effect.image}: {effect.told}{why}")
        if len(lines) > _SHOWN:
            say(f"  … and lines {', '.join(str(effect.line) for effect in lines[_SHOWN:])}")


def say_plan(folder: RunFolder) -> None:
    """Print what was left out, the folds and what training will take."""
    say_left_out(folder)
    certificate = read_json(folder.certificate)
    print_folds(certificate)
    say(f"certificate: {certificate['text']}")
    plan = read_json(folder.root / "plan.json")
    for reason in plan["reasons"]:
        say(f"plan: {reason}")
    if (idle := idle_workflow(load_recipe(folder.recipe))) is not None:
        say(f"plan: {idle}")
    say(f"the training will take about {_long(plan['projected_seconds'])}; recipe: {folder.recipe}")


def idle_workflow(recipe: Recipe) -> str | None:
    """Return what is said where things are divided among networks in rounds, and there are none; None elsewhere."""
    from maskwright.pipeline.teams import training_teams

    if recipe.selftrain.rounds or len(training_teams(recipe, 1)) == len(training_teams(recipe, 0)):
        return None
    told = f"instances.workflow: {recipe.instances.workflow} divides things among networks in rounds of self-training"
    return f"{told}, and this run has none; maskwright selftrain has them"


def _long(seconds: float) -> str:
    """Write how long something will take.

    Example:
        >>> _long(75), _long(8 * 3600), _long(5 * 86400)
        ('1.2 min', '8.0 h', '120.0 h, which is 5.0 days')
    """
    hours = seconds / 3600
    if hours < 2:
        return f"{seconds / 60:.1f} min"
    return f"{hours:.1f} h" + (f", which is {hours / 24:.1f} days" if hours > 48 else "")


def print_summary(summary: dict[str, Any]) -> None:
    """Print what a run came to."""
    findings = [(kind, str(n)) for kind, n in summary["findings"].items()]
    if findings:
        table("Findings", ("kind", "number"), findings)
    if not print_scores(summary["scores"]):
        say("nothing was scored: one fold and nothing held out; --folds 5 or --holdout .15 gives scores")
    if "selftrain" in summary:
        say_rounds(summary["selftrain"])
    say(f"report: {summary['report']}\nrecipe: {summary['recipe']}   ({summary['seconds']:.0f} s)")


def print_scores(scores: dict[str, Any]) -> bool:
    """Print the scores, and those of each domain, part and source of labels; return whether there are any."""
    if rows := score_rows(scores):
        table("Scores", ("metric", "out of fold", "held out"), rows)
    divided = list(dict.fromkeys(match[1] for match in map(_WITHIN.fullmatch, scores) if match))
    columns = [(part, metric) for part in ("oof", "holdout") for metric in _DIVIDED]
    columns = [(part, metric) for part, metric in columns if any(f"{part}/{metric}@{d}" in scores for d in divided)]
    if divided:
        names = [f"{metric}, {'out of fold' if part == 'oof' else 'held out'}" for part, metric in columns]
        found = {d: [scores.get(f"{part}/{metric}@{d}") for part, metric in columns] for d in divided}
        images = {
            d: " + ".join(str(score["n"]) for score in row[:: len(_DIVIDED)] if score) for d, row in found.items()
        }
        drawn = [(d.replace("=", ": ", 1), images[d], *map(shown, row)) for d, row in found.items()]
        title = "Scores of the images of each domain, part or source of labels"
        table(title, ("", "images", *names), drawn[:_ROWS])
        if len(drawn) > _ROWS:
            say(f"  … and {len(drawn) - _ROWS} more in evaluation.json")
    return bool(rows)


def shown_names(scores: dict[str, Any]) -> list[str]:
    """Return the scores that are printed; of the categories one by one only the most telling."""
    known = {f"{metric}/" for metric in _OF_EACH}
    return [name for name in scores if not any(name.startswith(metric) for metric in known)]


def score_rows(scores: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (metric, out-of-fold, held-out) of each score, with intervals."""
    names = [name for name in shown_names(scores) if not name.startswith(("oof/", "holdout/"))]
    names = [name for name in names if not _WITHIN.fullmatch(name)]
    return [(name, shown(scores.get(f"oof/{name}")), shown(scores.get(f"holdout/{name}"))) for name in names]


def shown(score: dict[str, Any] | None) -> str:
    """Return `value [low, high]`, with a dash for what isn't there."""
    if score is None or not _known(score["value"]):
        return "–"
    interval = "" if not _known(score["low"]) else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{score['value']:.3f}{interval}"


def _known(value: float | None) -> bool:
    return value is not None and value == value

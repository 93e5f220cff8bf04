"""Runs fused into one predictor: `fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, read_json
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.run import print_scores, shown

_SHIPPED = {
    "fused": "ships: the fitted fusion",
    "mean": "ships: the plain mean of all members",
    "single": "ships: the best single member",
}


def fuse(
    *runs: Path,
    out: Path,
    scales: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (),
    method: Literal["simplex", "greedy", "mean", "rank"] | None = None,
    seconds_per_image: float | None = None,
    redo: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Fuse runs, or a run at several input scales, into one predictor, with weights fitted on out-of-fold predictions.

    A fold's images are scored with weights that were fitted on the other folds. Weights whose gain over the plain mean
    isn't there are refused: then the mean ships, or the best single member where the mean isn't better. Then
    `maskwright predict FUSED IMAGES --out LABELS` predicts with it, each member with its own preprocessing and size.

    The runs must have the same categories and folds: --set split.file=FIRST/folds.csv trains on those of another run.

    Examples: maskwright fuse runs/small runs/large --out runs/fused
              maskwright fuse runs/teeth --scales 0.75 1 1.25 --out runs/scales
              maskwright fuse runs/* --method greedy --seconds-per-image 2 --out runs/fast

    Args:
        runs: finished run folders.
        out: folder for fused.json, tuned.json and predictions/.
        scales: factors on each run's working size; each run at each of them is a member. Default: as its recipe says.
        method: simplex: weights by log loss; greedy: by adding the member that helps the metric most, again and again;
            mean: all the same; rank: the mean of ranks. Default: greedy with a budget, else simplex.
        seconds_per_image: budget of greedy, on this machine.
        redo: replace what was made from other runs or with other settings.
        json: write fused.json and the scores as JSON to stdout.
    """
    from maskwright.cli.finished import say_categories_alone
    from maskwright.pipeline.fuse import fuse as fuse_runs

    chosen = method or ("simplex" if seconds_per_image is None else "greedy")
    with progress():
        folder = fuse_runs(runs, out, scales=scales, method=chosen, budget=seconds_per_image, redo=redo)
    for run in runs:
        say_categories_alone(RunFolder(run), "fused")
    about, scores = read_json(folder.fused), read_json(folder.predictions / "evaluation.json")
    rows = [
        (m["name"], f"{m['weight']:.3f}", f"{m['seconds']:.2f}", shown(m["alone"]), _points(m["adds"]))
        for m in about["members"]
    ]
    table("Members", ("member", "weight", "seconds an image", f"{about['metric']} alone", "adds, points"), rows)
    names = {"fused": chosen, "mean": "plain mean", "single": "best single member"}
    fusions = [(names[name], shown(score)) for name, score in about["scores"].items()]
    table("Fusions, cross-fitted, before post-processing", ("fusion", f"{about['metric']} [95 % interval]"), fusions)
    say(f"gain of {chosen} over the {names[about['against']]}: {_said(about)}")
    say(f"{_SHIPPED[about['shipped']]}, {about['seconds']:.2f} seconds an image")
    print_scores(scores)
    say(f"predict with it: maskwright predict {folder.root} IMAGES --out LABELS")
    result({"fused": about, "scores": scores}, as_json=json)


def _said(about: dict[str, Any]) -> str:
    gain = about["gain"]
    if about["method"] == "mean":
        return "none, it is that"
    if gain["low"] is None or gain["low"] <= 0:
        return f"{_points(gain)} points: not clearly above 0, so refused"
    beaten = "" if about["shipped"] == "fused" else "; but the best single member scores no lower"
    return f"{_points(gain)} points{beaten}"


def _points(gain: dict[str, Any]) -> str:
    """Return a difference of scores in hundredths."""
    value, low, high = (gain[key] for key in ("value", "low", "high"))
    interval = "" if low is None else f" [{100 * low:+.2f}, {100 * high:+.2f}]"
    return "–" if value is None else f"{100 * value:+.2f}{interval}"

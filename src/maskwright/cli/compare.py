"""Runs side by side: `compare`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, write_text
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.options import listed
from maskwright.errors import UsageError, problem

if TYPE_CHECKING:
    from maskwright.report.compare import Compared


def compare(
    *runs: Path,
    metric: str | None = None,
    part: Literal["oof", "holdout"] | None = None,
    by: str | None = None,
    folds: Annotated[bool, Parameter(negative=())] = False,
    out: Path | None = None,
    anonymous: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Put runs side by side: where their recipes differ, their scores, and the paired difference to the first one.

    The difference is taken on the same images; its interval is widened for the number of comparisons (Bonferroni), and
    its p-value adjusted for it (Holm).

    Examples: maskwright compare runs/plain runs/deep
              maskwright compare runs/b0 runs/b3 --by model.encoder,model.activation --folds --out table.csv
              maskwright compare runs/plain runs/deep --out compared.html

    Args:
        runs: run folders, the one to compare with first.
        metric: a key of evaluation.json, such as mean_dice, mean_hd95, ece, iou/NAME; default: the one that the first
            run was chosen by.
        part: oof (out of fold) or holdout; default: the held-out part where all runs have one.
        by: recipe fields to show, comma-separated; default: those that differ.
        folds: a row for each fold: its score out of fold, and of its network alone on the held-out part (runs with
            predict.members=true).
        out: also write the table as NAME.csv, or, as NAME.html, a page with categories, curves and the images on which
            the runs differ most.
        anonymous: that page names no file, folder or command; its pictures are without metadata, as always. Runs and
            images are numbers.
        json: write the table as JSON to stdout.
    """
    from maskwright.report.compare import compare_runs

    if out is not None and out.suffix.lower() not in (".csv", ".html"):
        next_move = "end its name in .csv or .html"
        raise UsageError(problem("a file NAME.csv or NAME.html", str(out), where="--out", next_move=next_move))
    if anonymous and (out is None or out.suffix.lower() != ".html"):
        next_move = "add --out NAME.html, or leave --anonymous out"
        raise UsageError(problem("a page", "none", where="--anonymous", next_move=next_move))
    found, name, scored = compare_runs(runs, metric=metric, part=part, by=[str(word) for word in listed(by) or ()])
    rows = [row for run in found for row in _rows(run, folds=folds)]
    if not rows:
        next_move = "leave out --folds: these runs were scored on a held-out part alone"
        raise UsageError(problem("runs with out-of-fold scores", "none", where="--folds", next_move=next_move))
    fields = list(found[0].fields)
    drawn = rows if folds else [_joined(row) for row in rows]
    if len(fields) > _BESIDE:  # more than fit beside the scores: a table of their own, a row for each
        values = [[key, *(_stated(run.fields[key]) for run in found)] for key in fields]
        places = range(len(found) + 1)
        table("Where the recipes differ", ["field", *(run.run.name for run in found)], values, words=places)
        drawn = [{key: value for key, value in row.items() if key not in fields} for row in drawn]
    cells = [[(_stated if key in fields else _shown)(value) for key, value in row.items()] for row in drawn]
    table(f"{name}, {'by fold' if folds else _PARTS[scored]}", list(drawn[0]), cells)
    if len(found) > 1 and not folds:
        say("difference: to the first run, on the same images; all intervals hold together")
    if out is not None and out.suffix.lower() == ".html":
        _write_page(out, found, name, scored, anonymous=anonymous)
    elif out is not None:
        _write_table(out, rows)
    result({"metric": name, "part": scored, "rows": rows}, as_json=json)


def _write_table(out: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out, text.getvalue())
    say(f"table: {out}")


def _write_page(out: Path, found: list[Compared], metric: str, part: str, *, anonymous: bool) -> None:
    from maskwright.pipeline.stages import readers
    from maskwright.recipe import load_recipe
    from maskwright.report.comparison import write_comparison

    def of_run(run: Path) -> Any:
        return readers(run, load_recipe(RunFolder(run).recipe).model_dump(mode="json", include={"data"}))

    with progress():
        write_comparison(out, found, metric, part, of_run, anonymous=anonymous)
    say(f"page: {out}")


_BESIDE = 4
"""Most recipe fields that are printed as columns."""

_PARTS = {"oof": "out of fold", "holdout": "held-out part"}


def _rows(run: Compared, *, folds: bool) -> list[dict[str, Any]]:
    about = {"run": run.run.name, **run.fields}
    if folds:
        return [about | {"fold": fold, "validation": own, "held out": alone} for fold, own, alone in run.folds]
    score, difference = run.score, run.difference
    found = about | {"value": score.value, "low": score.low, "high": score.high, "n": score.n}
    of = ("value", "low", "high")
    between = {f"difference {key}": getattr(difference, key) if difference else None for key in of}
    return [found | between | {"difference p": run.p_value}]


def _joined(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with value and interval in one cell."""

    def cell(value: Any, low: Any, high: Any) -> str:
        interval = "" if low is None or low != low else f" [{_shown(low)}, {_shown(high)}]"
        return _shown(value) + interval

    numbers = {"value", "low", "high"}
    kept = {key: value for key, value in row.items() if key not in numbers and not key.startswith("difference ")}
    kept["score"] = cell(row["value"], row["low"], row["high"])
    kept["difference"] = cell(row["difference value"], row["difference low"], row["difference high"])
    kept["p"] = _shown(row["difference p"])
    return kept


def _shown(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _stated(value: Any) -> str:
    """Write the value of a recipe field, a small rate in full."""
    return f"{value:g}" if isinstance(value, float) else "–" if value is None else str(value)

"""The page of a learning curve: the chart, the advice, and the table of its points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskwright.artifacts import read_json, write_text
from maskwright.pictures import points
from maskwright.report.blocks import Group, Section, Table, chart, count, number, plural
from maskwright.report.page import render_page

WITHOUT, WITH = "labels alone", "with the pool"
_NAN = float("nan")
_DRAWN = tuple[list[float], list[float], list[float], list[float]]


def drawn_series(found: Mapping[str, Any]) -> tuple[dict[str, _DRAWN], dict[str, _DRAWN]]:
    """Return what is drawn of the content of curve.json: points with intervals, and the fitted line in its band."""
    rows = {WITHOUT: _series(found["sizes"], "without")}
    if pooled := [size for size in found["sizes"] if "with" in size]:
        rows[WITH] = _series(pooled, "with")
    line = found["fit"]["line"]
    return rows, {WITHOUT: (line["labels"], *([_known(v) for v in line[key]] for key in ("value", "low", "high")))}


def write_curve_page(folder: Path) -> Path:
    """Write curve.html from curve.json, whole or not at all, and return its path."""
    found = read_json(folder / "curve.json")
    rows, lines = drawn_series(found)
    alt = f"{found['metric']} against the number of labelled images: " + "; ".join(
        f"{x:.0f} labels {number(y)}" for x, y in zip(*rows[WITHOUT][:2], strict=True)
    )
    drawn = points(rows, lines, x="labelled images", y=found["metric"], alt=alt)
    caption = "Points: scores with their intervals. Dashed: the fitted power law with its band, to twice the labels."
    sections = [
        Section("advice", "What to do", found["advice"]["words"]),
        Section(
            "curve",
            "Score against number of labels",
            [_about(found)],
            [Group("The curve", charts=[chart(drawn, caption)])],
        ),
        Section("points", "The numbers", groups=[_numbers(found)]),
    ]
    path = folder / "curve.html"
    write_text(path, render_page("What more labels would bring", _lead(found), str(folder), sections))
    return path


def score_rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of scores by number of labels."""
    pooled = any("with" in size for size in found["sizes"])
    head = ["labels", "share", WITHOUT] + (["pool", WITH, "gain of the pool"] if pooled else [])
    rows = []
    for size in found["sizes"]:
        row = [f"{size['labels']:.0f}", f"{size['share']:.4g}", _figure(size["without"])]
        if pooled:
            row += [count(size["pool"]) if "pool" in size else "–", *(_figure(size.get(k)) for k in ("with", "gain"))]
        rows.append(row)
    return head, rows


def _lead(found: Mapping[str, Any]) -> str:
    scored = f"{plural(found['images'], 'held-out image')} of {plural(found['groups'], 'group')}"
    return f"{plural(len(found['points']), 'training')} of {count(found['steps'])} steps, scored on {scored}."


def _about(found: Mapping[str, Any]) -> str:
    return (
        "Each subset of the labels lies inside the larger ones; every point is trained for the same number "
        f"of steps and scored by {found['metric']} on the same held-out images. Intervals of "
        f"{found['confidence']:.0%} resample the groups of these images."
    )


def _numbers(found: Mapping[str, Any]) -> Group:
    head, rows = score_rows(found)
    trained = [
        [
            row["run"],
            *(count(row[key]) for key in ("labels", "groups", "pool", "repeat")),
            *(number(_known(row[key])) for key in ("score", "low", "high")),
        ]
        for row in found["points"]
    ]
    names = ("run", "labels", "groups", "pool", "seed", "score", "from", "to")
    tables = [Table(f"{found['metric']} by number of labels", head, rows), Table("Every training", names, trained)]
    return Group("Scores", tables=tables)


def _series(sizes: list[Mapping[str, Any]], key: str) -> _DRAWN:
    columns = ([_known(size[key][name]) for size in sizes] for name in ("value", "low", "high"))
    value, low, high = columns
    return [size["labels"] for size in sizes], value, low, high


def _known(value: float | None) -> float:
    return _NAN if value is None else value


def _figure(interval: Mapping[str, float | None] | None) -> str:
    if interval is None:
        return "–"
    value, low, high = (number(_known(interval[key])) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"

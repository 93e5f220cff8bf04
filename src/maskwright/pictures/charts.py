"""Charts as SVG text: no pyplot, no date, the same text for the same numbers.

Text stays text, and what is black is `currentColor`, so that a page can show a chart on a dark ground.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.pictures.colors import OKABE_ITO, Color
from maskwright.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = Mapping[str, tuple[Sequence[float] | Array, Sequence[float] | Array]]

Points = tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]
"""x, y, and the lower and upper ends of the y values' intervals; NaN where there is none."""

_LINES = ("-", "--", "-.", ":")
_MOST_POINTS = 240
_FONT = "system-ui, sans-serif"


def curves(rows: Series, *, x: str = "", y: str = "", alt: str = "", size: tuple[float, float] = (5, 3)) -> str:
    """Return a line chart as SVG text.

    Args:
        rows: name → (x values, y values); NaN is left out; series of over 240 points are averaged in blocks.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis.
        alt: what the chart shows, for people who don't see it.
        size: width and height in inches.
    """
    with _style(alt):
        figure, axes = _figure(size)
        for number, (name, (xs, ys)) in enumerate(rows.items()):
            px, py = _thin(np.asarray(xs, float), np.asarray(ys, float))
            axes.plot(
                px,
                py,
                label=name,
                color=_hex(OKABE_ITO[number % 6]),
                linestyle=_LINES[number // 6 % len(_LINES)],
                linewidth=1.4,
                marker="o" if len(px) < 12 else "",
                markersize=3,
            )
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.25, linewidth=0.5)
        if 1 < len(rows) <= 24:
            figure.legend(loc="outside upper center", ncols=min(5, len(rows)), frameon=False, fontsize=8)
        return _svg(figure, alt)


def points(rows: Mapping[str, Points], lines: Mapping[str, Points], *, x: str = "", y: str = "", alt: str = "") -> str:
    """Return values with their intervals over a doubling axis as SVG text, and lines with bands behind them.

    Args:
        rows: name → (x values above 0, y values, lower ends, upper ends), drawn as points with bars.
        lines: the same, drawn as a line in a band; of the colour of the row of that name.
        x: label of the horizontal axis, of which each step is twice the one before.
        y: label of the vertical axis.
        alt: what the chart shows, for people who don't see it.
    """
    with _style(alt):
        return _svg(_pointed(rows, lines, x, y), alt)


def points_png(rows: Mapping[str, Points], lines: Mapping[str, Points], *, x: str = "", y: str = "") -> bytes:
    """Return the chart of `points` as a PNG file."""
    stream = io.BytesIO()
    with _style(""):
        _pointed(rows, lines, x, y).savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def _pointed(rows: Mapping[str, Points], lines: Mapping[str, Points], x: str, y: str) -> Figure:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure, axes = _figure((5.6, 3.4))
    axes.set_xscale("log", base=2)
    names = [*rows, *(name for name in lines if name not in rows)]
    for name, (px, py, low, high) in lines.items():
        color = _hex(OKABE_ITO[names.index(name) % 6])
        axes.plot(px, py, color=color, linewidth=1, linestyle="--", label=None if name in rows else name)
        axes.fill_between(px, low, high, color=color, alpha=0.15, linewidth=0)
    for place, (name, (px, py, low, high)) in enumerate(rows.items()):
        color = _hex(OKABE_ITO[names.index(name) % 6])
        beside = np.asarray(px, float) * 2 ** (0.06 * (place - (len(rows) - 1) / 2))  # bars don't hide one another
        ends = np.isfinite(low) & np.isfinite(high)
        axes.vlines(beside[ends], np.asarray(low)[ends], np.asarray(high)[ends], color=color, linewidth=1.2)
        axes.plot(beside, py, "o", color=color, markersize=4, label=name)
    ticks = sorted({float(value) for px, *_ in rows.values() for value in px})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25, linewidth=0.5)
    if len(names) > 1:
        figure.legend(loc="outside upper center", ncols=min(5, len(names)), frameon=False, fontsize=8)
    return figure


def _thin(x: Array, y: Array) -> tuple[Array, Array]:
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) <= _MOST_POINTS:
        return x, y
    starts = np.linspace(0, len(x), _MOST_POINTS, endpoint=False).astype(int)
    counts = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def bars(
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float] | None = None,
    highs: Sequence[float] | None = None,
    *,
    x: str = "",
    alt: str = "",
    digits: int = 3,
    colors: Sequence[Color] | None = None,
) -> str:
    """Return horizontal bars with their intervals as SVG text, the first on top; NaN has no bar and reads "–".

    Args:
        names: labels.
        values: one a name.
        lows: lower ends of the intervals.
        highs: upper ends.
        x: label of the axis.
        alt: what the chart shows, for people who don't see it.
        digits: decimals of the written values.
        colors: RGB of each bar.
    """
    with _style(alt):
        figure, axes = _figure((5, 0.7 + 0.26 * len(names)))
        value = np.asarray(values, float)
        place = np.arange(len(names))
        fill = [_hex(c) for c in colors] if colors else _hex(OKABE_ITO[0])
        axes.barh(place, np.nan_to_num(value), height=0.7, color=fill, edgecolor="#888888", linewidth=0.4)
        if lows is not None and highs is not None:
            low, high = np.asarray(lows, float), np.asarray(highs, float)
            known = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
            axes.hlines(place[known], low[known], high[known], color="black", linewidth=1.2)
            axes.plot(np.append(low[known], high[known]), np.tile(place[known], 2), "|", color="black", markersize=5)
        for at, v in zip(place, value, strict=True):
            text = f"{v:.{digits}f}" if np.isfinite(v) else "–"
            axes.text(1.01, float(at), text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(place, [_short(n) for n in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        if not np.any(value > 1) and not np.any(value < 0):
            axes.set_xlim(0, 1)
        axes.set_xlabel(x)
        return _svg(figure, alt)


def reliability(confidence: Array, accuracy: Array, share: Array, *, alt: str = "") -> str:
    """Return a reliability diagram as SVG text: accuracy over confidence, and below how many pixels each bin holds.

    Args:
        confidence: (B,) mean confidence of each bin in 0..1, NaN where it is empty.
        accuracy: (B,) share of each bin that is right, likewise.
        share: (B,) share of all pixels.
        alt: what the chart shows, for people who don't see it.
    """
    with _style(alt):
        figure, axes = _figure((3.6, 3.6))
        edges = np.linspace(0, 1, len(share) + 1)
        axes.bar(edges[:-1], share, width=np.diff(edges), align="edge", color="#cccccc", linewidth=0)
        axes.plot([0, 1], [0, 1], "--", color="black", linewidth=0.8)
        known = np.isfinite(confidence) & np.isfinite(accuracy)
        axes.plot(confidence[known], accuracy[known], "o-", color=_hex(OKABE_ITO[0]), linewidth=1.4, markersize=4)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy (line), share of the pixels (bars)")
        return _svg(figure, alt)


def confusion(matrix: Array, names: Sequence[str], columns: Sequence[str] | None = None, *, alt: str = "") -> str:
    """Return a confusion matrix as SVG text, each row divided by its sum; numbers in cells up to 12 categories.

    Args:
        matrix: (R, K) counts, rows truth, columns prediction. A row without counts stays empty.
        names: the R rows.
        columns: the K columns; without, the rows' names.
        alt: what the chart shows, for people who don't see it.
    """
    counts = np.asarray(matrix, float)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    columns = names if columns is None else columns
    side = 1.5 + len(columns) * (0.34 if len(columns) <= 13 else min(0.2, 12 / len(columns)))
    with _style(alt):
        figure, axes = _figure((side + 0.6, side))
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, rasterized=len(names) > 12, edgecolors="face")
        axes.set_aspect("equal")
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(names), 0)
        size = min(8, 500 / len(columns))
        axes.set_xticks(np.arange(len(columns)) + 0.5, [_short(c) for c in columns], rotation=90, fontsize=size)
        axes.set_yticks(np.arange(len(names)) + 0.5, [_short(n) for n in names], fontsize=size)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if len(names) <= 12:
            for (row, column), v in np.ndenumerate(share):
                if np.isfinite(v):
                    ink = "#ffffff" if v > 0.55 else "#10202c"
                    axes.text(
                        column + 0.5, row + 0.5, f"{100 * v:.0f}", ha="center", va="center", fontsize=7.5, color=ink
                    )
        return _svg(figure, alt)


def histogram(
    values: Sequence[float] | Array,
    *,
    bins: int = 20,
    span: tuple[float, float] | None = None,
    x: str = "",
    y: str = "images",
    alt: str = "",
) -> str:
    """Return how often values occur, as SVG text; NaN is left out.

    Args:
        values: numbers.
        bins: how many bars.
        span: range of the axis; without, that of the values.
        x: label of the axis, with its unit.
        y: what is counted.
        alt: what the chart shows, for people who don't see it.
    """
    from matplotlib.ticker import MaxNLocator

    known = np.asarray(values, float)
    with _style(alt):
        figure, axes = _figure((5, 2.4))
        axes.hist(
            known[np.isfinite(known)],
            bins=bins,
            range=span,
            color=_hex(OKABE_ITO[0]),
            edgecolor="#888888",
            linewidth=0.4,
        )
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure, alt)


def boxes(names: Sequence[str], rows: Sequence[Mapping[str, float]], *, x: str = "", alt: str = "") -> str:
    """Return horizontal box plots on a logarithmic axis as SVG text, the first on top.

    Args:
        names: labels.
        rows: one a name, with low, q1, median, q3 and high, all above 0.
        x: label of the axis, with its unit.
        alt: what the chart shows, for people who don't see it.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    with _style(alt):
        figure, axes = _figure((5, 0.7 + 0.26 * len(names)))
        low, q1, median, q3, high = (
            np.array([row[key] for row in rows], float) for key in ("low", "q1", "median", "q3", "high")
        )
        place = np.arange(len(names))
        axes.hlines(place, low, high, color="black", linewidth=0.8)
        axes.barh(
            place, q3 - q1, left=q1, height=0.6, color=_hex(OKABE_ITO[5]), edgecolor="#888888", linewidth=0.4, zorder=2
        )
        axes.plot(median, place, "|", color="black", markersize=9, markeredgewidth=1.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace(",", "\u202f")))
        axes.xaxis.set_minor_formatter(NullFormatter())  # the scale's own formatters write mathematics
        axes.set_yticks(place, [_short(n) for n in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(x)
        return _svg(figure, alt)


def quantiles(
    expected: Sequence[float] | Array,
    observed: Sequence[float] | Array,
    *,
    cut: float,
    x: str = "",
    y: str = "",
    alt: str = "",
) -> str:
    """Return a quantile plot as SVG text: where observed values leave the diagonal, they leave the expectation.

    Args:
        expected: quantiles, ascending.
        observed: values, ascending; of those up to the cut over 240 points are thinned, beyond it the last 400 shown.
        cut: value that is drawn as a line.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        alt: what the chart shows, for people who don't see it.
    """
    known, seen = np.asarray(expected, float), np.asarray(observed, float)
    beyond = int(np.searchsorted(seen, cut, "right"))
    inside = np.unique(np.linspace(0, max(beyond - 1, 0), _MOST_POINTS).astype(int))[:beyond]
    outside = np.arange(max(beyond, len(seen) - 400), len(seen))
    with _style(alt):
        figure, axes = _figure((5, 3.4))
        top = float(known[-1]) if len(known) else 1.0
        axes.plot([0, top], [0, top], color="#888888", linewidth=0.8)
        axes.axhline(cut, color="black", linewidth=0.8, linestyle="--")
        axes.plot(known[inside], seen[inside], ".", color=_hex(OKABE_ITO[0]), markersize=4)
        axes.plot(known[outside], seen[outside], "x", color=_hex(OKABE_ITO[1]), markersize=5)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        return _svg(figure, alt)


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _style(alt: str) -> AbstractContextManager[None]:
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": alt,
        "font.family": ["DejaVu Sans"],  # what matplotlib brings; only measured with, `_svg` names the page's font
        "font.size": 9,
        "text.parse_math": False,  # names may hold dollar signs
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    return matplotlib.rc_context(settings)


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, alt: str) -> str:
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's fonts have it
        figure.savefig(stream, format="svg", transparent=True, dpi=150, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.S)
    svg = re.sub(
        r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg
    )  # nothing refers to these, and a page must not repeat them
    svg = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", svg)
    svg = re.sub(r"font: ([^;\"']*?)'DejaVu Sans'[^;\"]*", rf"font: \1{_FONT}", svg)
    svg = re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)
    svg = svg.replace("#000000", "currentColor").replace("xlink:href", "href")
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    width, height = box[0].split('"')[1].split()[2:]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box[0]} width="{float(width) * 4 / 3:.0f}" '
        f'height="{float(height) * 4 / 3:.0f}" role="img" aria-label="{escape(alt)}" fill="currentColor" '
        'stroke-linejoin="round">'
    )
    return head + svg[svg.index(">") + 1 :].strip()

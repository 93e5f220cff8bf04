"""What a report page is built of: tables, charts, pictures, and how numbers are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskwright.report.collect import Score
from maskwright.report.collect import number as to_float

DASH = "–"


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first cell of each row is its header.

    Attributes:
        caption: what the rows are.
        head: column headers.
        rows: cells as text.
        text: columns that hold words; the others are numbers and aligned right.
        colors: a CSS colour before each row's header, or none.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: frozenset[int] = frozenset({0})
    colors: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """An SVG chart (trusted: our own text, labels already escaped) with its caption."""

    svg: str
    caption: str
    least: int
    """Width in pixels below which it scrolls instead of shrinking."""


@dataclass(frozen=True)
class Picture:
    """A picture inside the page: address, words for those who don't see it, size in pixels, caption."""

    uri: str
    alt: str
    width: int
    height: int
    caption: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures that belong together, with a title; `problem` says why some are not there.

    Attributes:
        title: what they show.
        pictures: side by side.
        note: what is said of them.
        problem: why some are missing.
        switch: a name that no other strip has, if they are of one place: one or all of them are shown, as one chooses.
        link: address of the whole image, relative to the page; empty for none.
    """

    title: str
    pictures: Sequence[Picture] = ()
    note: str = ""
    problem: str = ""
    switch: str = ""
    link: str = ""


@dataclass(frozen=True)
class Group:
    """A part of a section: heading, words, and what is shown below them; `folded` starts closed."""

    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    strips: Sequence[Strip] = ()
    legend: Sequence[tuple[str, str]] = ()
    code: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    anchor: str
    title: str
    words: Sequence[str] = ()
    groups: Sequence[Group] = ()


def chart(svg: str, caption: str, shrink: float = 0.6) -> Chart:
    """Return a chart from our own SVG text; below `shrink` times its own width it scrolls."""
    width = re.search(r'width="(\d+)"', svg)
    assert width is not None, "our charts say how wide they are"
    return Chart(svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""), caption, round(shrink * int(width[1])))


def number(value: float, digits: int = 3) -> str:
    """Write a number; NaN is a dash.

    Example:
        >>> number(0.87251), number(float("nan"))
        ('0.873', '–')
    """
    return f"{value:.{digits}f}" if math.isfinite(value) else DASH


def percent(share: float) -> str:
    """Write a share of 0..1 in percent, small ones with more digits.

    Example:
        >>> percent(0.4213), percent(0.00031), percent(float("nan"))
        ('42.1 %', '0.031 %', '–')
    """
    if not math.isfinite(share):
        return DASH
    if share and share < 0.01:
        return f"{100 * share:.2g} %"
    return f"{100 * share:.1f} %"


def count(value: float) -> str:
    """Write a count with thin spaces between thousands.

    Example:
        >>> count(float("nan"))
        '–'
    """
    return f"{value:,.0f}".replace(",", "\u202f") if math.isfinite(value) else DASH


def with_interval(score: Score | None) -> str:
    """Write a score with its interval.

    Example:
        >>> with_interval(Score("", "pq", "", 0.5, 0.41, 0.6)), with_interval(None)
        ('0.500 (0.410–0.600)', '–')
    """
    if score is None or not math.isfinite(score.value):
        return DASH
    if not (math.isfinite(score.low) and math.isfinite(score.high)):
        return f"{score.value:.3f} (no interval)"
    return f"{score.value:.3f} ({score.low:.3f}–{score.high:.3f})"


def between(found: Mapping[str, Any]) -> str:
    """Write plain value, low and high, which may be null.

    Example:
        >>> between({"value": 0.5, "low": 0.41, "high": None})
        '0.500 (0.410 to –)'
    """
    value, low, high = (number(to_float(found[key])) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def plural(n: int, one: str, many: str = "") -> str:
    """Write a count with its noun.

    Example:
        >>> plural(1, "image"), plural(2, "category", "categories")
        ('1 image', '2 categories')
    """
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def listing(words: Sequence[str], most: int = 5) -> str:
    """Write a list as words.

    Example:
        >>> listing(["a", "b", "c"]), listing(["a", "b", "c"], most=1)
        ('a, b and c', 'a and 2 more')
    """
    shown = list(words) if len(words) <= most else [*words[:most], f"{len(words) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)

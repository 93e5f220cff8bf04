"""The page: one template, with its parts as files of the server or inside of it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskwright.pictures import category_colors
from maskwright.review.desk import Desk
from maskwright.types import Categories

STYLE, SCRIPTS = "review.css", ("view.js", "edit.js", "source.js", "review.js")
"""Files of the page, scripts in the order in which they are loaded."""


ASSETS = {STYLE: "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}
"""What the page is made of, and its media type."""


def asset(name: str) -> str:
    """Return the text of a file of the page."""
    return files("maskwright.review").joinpath("page", name).read_text(encoding="utf-8")


def page_of(desk: Desk, *, inside: dict[str, Any] | None = None) -> str:
    """Return the HTML page.

    Args:
        desk: whose queue it shows.
        inside: what a page that works from disk has instead of a server: `policy`, `style`, `script` and `data`.
    """
    environment = Environment(
        loader=PackageLoader("maskwright.review", "page"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    title = "Review" if desk.anonymous else f"Review of {desk.run.folder.root.resolve().name}"
    return environment.get_template("review.html").render(
        title=title, style_file=STYLE, script_files=SCRIPTS, inside=inside
    )


def shown_categories(categories: Categories) -> list[dict[str, Any]]:
    """Return name, position, colour and whether it is tinted of each category, as plain data.

    The colours are those that people with any colour vision tell apart, not the data's; what the metric leaves out,
    such as a background, is not tinted.
    """
    colors = category_colors(len(categories))
    tinted = categories.evaluated
    order = [*tinted, *(p for p in range(len(categories)) if p not in tinted)]  # the best colours for what is seen
    color = {position: colors[place] for place, position in enumerate(order)}
    return [
        {"name": name, "position": p, "color": list(color[p]), "tinted": p in tinted}
        for p, name in enumerate(categories.names)
    ]

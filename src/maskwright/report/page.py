"""A page from its sections: one HTML file with everything inside."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskwright.report.blocks import Section


def render_page(title: str, lead: str, folder: str, sections: Sequence[Section]) -> str:
    """Return an HTML page.

    Args:
        title: its heading.
        lead: the line below it.
        folder: where what it shows lies.
        sections: in order.
    """
    environment = Environment(
        loader=PackageLoader("maskwright.report", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    style = files("maskwright.report").joinpath("style.css").read_text(encoding="utf-8")
    template = environment.get_template("template.html")
    return template.render(title=title, lead=lead, folder=folder, style=style, sections=sections)

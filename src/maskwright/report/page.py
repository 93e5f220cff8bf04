"""A page from its sections: one HTML file with everything inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskwright.report.blocks import Section


def render_page(title: str, lead: str, folder: str, sections: Sequence[Section]) -> str:
    """Return an HTML page. Its one script sorts tables; the page's policy lets no other run, by its hash.

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
    inside = files("maskwright.report")
    style, script = (inside.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "sort.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {"style": style, "script": script, "script_hash": f"sha256-{digest}", "sections": sections}
    return environment.get_template("template.html").render(title=title, lead=lead, folder=folder, **parts)

"""The directive `command-help NAME`: what `maskwright NAME --help` prints, so that a page can't fall behind it."""

from __future__ import annotations

import io

from docutils import nodes
from rich.console import Console
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from maskwright.cli import build_app

_WIDTH = 92


class CommandHelp(SphinxDirective):
    """Writes the help of a command as a literal block."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the block."""
        name, text = self.arguments[0], io.StringIO()
        build_app(name).help_print([name], console=Console(file=text, width=_WIDTH, color_system=None))
        return [nodes.literal_block("", text.getvalue().strip(), language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}

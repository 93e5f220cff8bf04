"""The directive `benchmark-results`: a table of every row of every file below benchmarks/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


class BenchmarkResults(SphinxDirective):
    """Writes a section for each result file."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        lines: list[str] = []
        for path in sorted(RESULTS.glob("*.json")):
            self.env.note_dependency(str(path))
            lines += section(path.stem, json.loads(path.read_text(encoding="utf-8")))
        self.content = StringList(lines)
        return self.parse_content_to_nodes(allow_section_headings=True)


def section(name: str, results: dict[str, Any]) -> list[str]:
    """Return the Markdown of one result file: a table for each origin of its rows."""
    lines, tables = [f"## {name}", "", results["about"], ""], dict[str, list[str]]()
    for what, row in results["rows"].items():
        cells = [what, figure(row), against(row), comparison(row), row.get("target", ""), reached(row)]
        line = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        tables.setdefault(origin(row["origin"]), []).append(line)
    for where, table in tables.items():
        lines += [where, "", "| what | figure | against | ratio or difference | target | reached |"]
        lines += ["|---|---|---|---|---|---|", *table, ""]
    return lines


def origin(found: dict[str, Any]) -> str:
    """Return what ran, at which commit, when, on what."""
    machine, versions = found["machine"], found["versions"]
    about = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}"
    return f"`{found['command']}` at commit `{found['commit']}`, {found['when'][:10]}; {about}; " + ", ".join(
        f"{package} {version}" for package, version in versions.items()
    )


def figure(row: dict[str, Any]) -> str:
    """Return the figure with its unit and interval."""
    low, high = row.get("interval") or (None, None)
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{row['figure']:.4g}{ends} {row['unit'].replace('_', ' ')}"


def against(row: dict[str, Any]) -> str:
    """Return what it was compared with."""
    other = row.get("other")
    return row.get("against", "") + ("" if other is None else f": {other:.4g}")


def comparison(row: dict[str, Any]) -> str:
    """Return the ratio or the difference with its interval."""
    found = row.get("comparison")
    if found is None:
        return ""
    ends = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['kind']} {found['value']:.3f}{ends}, n = {found['n']}"


def reached(row: dict[str, Any]) -> str:
    """Return yes, no or nothing."""
    return {None: "", True: "yes", False: "**no**"}[row.get("reached")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("benchmark-results", BenchmarkResults)
    return {"parallel_read_safe": True}

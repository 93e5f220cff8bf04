"""What `maskwright audit` prints of all images together."""

from __future__ import annotations

from typing import Any

from maskwright.artifacts import RunFolder, read_table
from maskwright.cli.console import table

_TABLES = ("sizes", "ratios", "parts", "styles")


def print_overview(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Print the objects and the parts of the data; return the short tables of the audit as plain rows."""
    found = {name: read_table(folder.audit / f"{name}.parquet") for name in _TABLES}
    rows = [
        (
            row["category"],
            str(row["objects"]),
            f"{row['q1']:.0f} – {row['median']:.0f} – {row['q3']:.0f}",
            f"{row['touching_share']:.0%}",
        )
        for row in found["sizes"].iter_rows(named=True)
    ]
    table("Objects", ("category", "objects", "area: quartiles", "touch the border"), rows)
    parts = [
        (
            row["name"] if row["column"] == "all" else f"{row['column']}: {row['name']}",
            f"{row['images']} ({row['labelled']})",
            _number(row["brightness"]),
            _number(row["colour"]),
            "" if row["shift"] is None else f"{row['shift']:.2f} (p = {row['p']:.2g})",
        )
        for row in found["parts"].iter_rows(named=True)
    ]
    table("Parts", ("part", "images (labelled)", "brightness", "colour", "shift"), parts)
    return {name: part.to_dicts() for name, part in found.items()}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"

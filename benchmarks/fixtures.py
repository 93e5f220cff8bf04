"""Every export file of `fixtures`: by which format it is read, how many images and labels, or why it is refused."""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks import record
from benchmarks.record import Row
from maskwright.data.formats import recognised
from maskwright.data.index import build_index
from maskwright.errors import MaskwrightError
from maskwright.recipe.data import DataSpec


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fixtures", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", help="folders of fixtures/")
    arguments = parser.parse_args()
    root = arguments.data / "fixtures"
    rows: dict[str, Row] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        if arguments.only is None or folder.name in arguments.only:
            rows |= {str(path.relative_to(root)) + note: row for (path, note), row in outcomes(folder).items()}
    record.write("fixtures", rows)


def outcomes(folder: Path) -> dict[tuple[Path, str], Row]:
    """Return what comes of a folder; where it can't be read as a whole, of its folders, or of each format stated."""
    alone = read(folder, "auto")
    below = sorted(p for p in folder.iterdir() if p.is_dir())
    if alone.figure or not below:
        return {(folder, ""): alone}
    rows = {key: row for path in below for key, row in outcomes(path).items() if row.figure}
    if len(names := recognised(folder)) > 1:
        rows |= {(folder, f" as {name}"): read(folder, name) for name in names}
    return rows or {(folder, ""): alone}


def read(folder: Path, format_name: str) -> Row:
    """Return how many images and labels a folder comes to, or why it is refused."""
    started = time.perf_counter()
    why = ""
    with tempfile.TemporaryDirectory() as scratch:
        for classes in ("all", "binary"):
            spec = DataSpec.model_validate({"root": str(folder), "classes": classes, "format": format_name})
            try:
                index, spec, _ = build_index(spec, Path(scratch) / classes)
                labels = [index.labelled.read_label(row) for row in range(len(index.labelled))]
            except MaskwrightError as error:
                why = why or " ".join(str(error).replace(str(folder), folder.name).split())
                continue
            details = {
                "format": spec.format,
                "images": len(index),
                "categories": len(index.categories),
                "classes": classes,
                "seconds": round(time.perf_counter() - started, 2),
            }
            return Row(figure=len(labels), unit="labelled images", details=details)
    return Row(figure=0, unit="labelled images", details={"format": ", ".join(recognised(folder)), "refused": why})

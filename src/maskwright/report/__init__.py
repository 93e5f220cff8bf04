"""The report: one HTML file that opens offline, made from the artifacts of a run folder and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maskwright.artifacts import RunFolder, write_text
from maskwright.report.anonymous import hide
from maskwright.report.blocks import plural
from maskwright.report.collect import Artifacts, collect
from maskwright.report.gallery import Gallery
from maskwright.report.page import render_page
from maskwright.report.sections import sections
from maskwright.types import Array, LabelMap

__all__ = ["write_report"]

MOST_BYTES = 14_000_000
"""A page that would be larger shows fewer images."""


def write_report(
    run: Path,
    *,
    read_image: Callable[[Path], Array],
    read_label: Callable[[Path], LabelMap],
    thumbnails: int = 12,
    title: str | None = None,
    anonymous: bool = False,
) -> Path:
    """Write `predictions/report.html` of a run folder, whole or not at all, and return its path.

    The page holds everything it shows and asks nothing of any network. What the run folder doesn't hold yet is left
    out and listed with the command that makes it; a picture that can't be read says so in its place.

    Args:
        run: the run folder; recipe.yaml and index.parquet must be there.
        read_image: path of an image, the recipe's data.root / the index' path → (H, W, C) of any dtype.
        read_label: path of a mask, or of instances where there is no mask → (H, W) uint8 category positions.
        thumbnails: how many images or pairs each gallery shows at most.
        title: heading of the page; without one, the names of the data and of the run folder.
        anonymous: write `report-anonymous.html` instead, in which no file, folder, group or person is named.

    Raises:
        DataError: the recipe or the index is missing, or an artifact is damaged.
    """
    run = Path(run)
    artifacts = hide(collect(run)) if anonymous else collect(run)
    gallery = Gallery(artifacts, read_image, read_label)
    named = "What the run found" if anonymous else None
    heading = title or named or f"{artifacts.root.resolve().name}: what the run {run.resolve().name} found"
    while True:
        parts = sections(artifacts, gallery, thumbnails)
        page = render_page(heading, _lead(artifacts), artifacts.told if anonymous else str(run), parts)
        if len(page) <= MOST_BYTES or thumbnails <= 1:  # a page is nearly all base64: a byte a character
            break
        thumbnails = max(1, min(thumbnails // 2, int(thumbnails * MOST_BYTES / len(page))))
    path = RunFolder(run).predictions / ("report-anonymous.html" if anonymous else "report.html")
    write_text(path, page)
    return path


def _lead(artifacts: Artifacts) -> str:
    categories = plural(len(artifacts.categories), "category", "categories")
    started = str((artifacts.run or {}).get("started") or "")
    return (
        f"{plural(artifacts.index.height, 'image')}, {categories}" + (f", started {started}" if started else "") + "."
    )

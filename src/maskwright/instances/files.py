"""Objects as files: ids beside each label, COCO panoptic PNGs, and the two lists that say what the ids are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from maskwright.artifacts import write_text
from maskwright.data.written import write_array
from maskwright.panoptic import PanopticMap
from maskwright.panoptic.files import PANOPTIC, annotation_of, write_tree
from maskwright.predict.log import append_line
from maskwright.types import Categories

INSTANCES, SEGMENTS = "instances", "segments.csv"
_LOG = ".segments.jsonl"


class ObjectFiles:
    """Writes `instances/NAME.png` (ids of things, 0 none) and `panoptic/NAME.png`, one image at a time.

    What the ids are is noted as it is written, so that what was cut short goes on; `gather` makes of it
    `instances/segments.csv`, as `maskwright evaluate --kind instances` reads it, and `panoptic.json`.

    Args:
        out: folder of both.
        categories: what positions mean.
        place: folder of the notes, `out` or one inside.
    """

    def __init__(self, out: Path, categories: Categories, place: Path | None = None) -> None:
        self.out, self.categories, self.log = out, categories, (place or out) / _LOG
        self.things = categories.things

    def write(self, name: str, found: PanopticMap) -> None:
        """Write the files of an image."""
        write_array(self.out / INSTANCES / f"{name}.png", found.instances(self.things))
        append_line(self.log, [name, annotation_of(self.out / PANOPTIC, name, found, self.categories)])

    def gather(self, names: Sequence[str], *, suffix: str = "") -> None:
        """Write the two lists of these images, in their order.

        Args:
            names: of the images.
            suffix: of the lists' names, where several processes write their own.
        """
        noted = self._noted(set(names))
        known = [(name, noted[name]) for name in names if name in noted]
        write_tree(self.out / f"{PANOPTIC}{suffix}.json", known, self.categories)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("name", "id", "category", "score"))
        named = {category.id: category for category in self.categories.items}
        for name, entry in known:
            for segment in entry["segments_info"]:
                if (category := named[segment["category_id"]]).isthing:
                    writer.writerow((name, segment["id"], category.name, segment.get("score", "")))
        write_text(self.out / INSTANCES / SEGMENTS.replace(".csv", f"{suffix}.csv"), buffer.getvalue())

    def _noted(self, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
        noted = dict[str, dict[str, Any]]()
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.is_file() else []:
            try:
                name, entry = json.loads(line)
            except ValueError:  # a killed process cuts a line short
                continue
            if name in wanted:
                noted[name] = entry
        return noted

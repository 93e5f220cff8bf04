"""Objects as files: ids beside each label, COCO panoptic PNGs, and the two lists that say what the ids are."""

from __future__ import annotations

import contextlib
import csv
import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from maskwright.artifacts import atomic
from maskwright.data.written import write_array
from maskwright.panoptic import PanopticMap
from maskwright.panoptic.files import PANOPTIC, annotation_of, write_tree
from maskwright.predict.log import append_line
from maskwright.types import Categories

INSTANCES, SEGMENTS = "instances", "segments.csv"
_LOG, _PART = ".segments.jsonl", ".gathered.jsonl"


class ObjectFiles:
    """Writes `instances/NAME.png` (ids of things, 0 none) and `panoptic/NAME.png`, one image at a time.

    What the ids are is noted as it is written, so that what was cut short goes on; `gather` makes of it
    `instances/segments.csv`, as `maskwright evaluate --kind instances` reads it, and `panoptic.json`. Where several
    processes write into the same folder, each with notes of its own, these list what all of them have gathered so far.

    Args:
        out: folder of both.
        categories: what positions mean.
        place: folder of the notes: `out`, or one beside those of the other processes, inside.
    """

    def __init__(self, out: Path, categories: Categories, place: Path | None = None) -> None:
        self.out, self.categories, self.place = out, categories, place or out
        self.log, self.things = self.place / _LOG, categories.things

    def write(self, name: str, found: PanopticMap) -> None:
        """Write the files of an image."""
        write_array(self.out / INSTANCES / f"{name}.png", found.instances(self.things))
        append_line(self.log, [name, annotation_of(self.out / PANOPTIC, name, found, self.categories)])

    def gather(self, names: Sequence[str]) -> None:
        """Write the two lists, of these images in their order, or of all that every process has gathered."""
        known = [[category.id, category.name, category.isthing] for category in self.categories.items]
        if self.place == self.out:
            return self._write_lists(_Notes(self.log, names))
        with atomic(self.place / _PART) as temporary, temporary.open("w", encoding="utf-8") as file:
            for item in (known, *_Notes(self.log, sorted(names))):
                file.write(json.dumps(item) + "\n")
        written = None
        while (parts := _Parts.of(self.place.parent, known)) != written:  # another one may have come meanwhile
            self._write_lists(parts)
            written = parts
        return None

    def _write_lists(self, noted: Iterable[tuple[str, dict[str, Any]]]) -> None:
        write_tree(self.out / f"{PANOPTIC}.json", noted, self.categories)
        named = {category.id: category for category in self.categories.items}
        with (
            atomic(self.out / INSTANCES / SEGMENTS) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("name", "id", "category", "score"))
            for name, entry in noted:
                for segment in entry["segments_info"]:
                    if (category := named[segment["category_id"]]).isthing:
                        writer.writerow((name, segment["id"], category.name, segment.get("score", "")))


@dataclass(frozen=True)
class _Parts:
    """What each process has gathered: the categories, then lines [name, entry] by name; and when each was written."""

    files: tuple[tuple[Path, int], ...]

    @classmethod
    def of(cls, place: Path, categories: list[list[Any]]) -> _Parts:
        """Return those in the folders of all processes that have these categories: others are of an earlier run."""
        found = []
        for path in sorted(place.glob(f"*/{_PART}")):
            with path.open(encoding="utf-8") as file:
                if json.loads(file.readline()) == categories:
                    found.append((path, path.stat().st_mtime_ns))
        return cls(tuple(found))

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(path.open(encoding="utf-8")) for path, _ in self.files]
            for file in opened:
                file.readline()  # the categories
            yield from heapq.merge(*(map(json.loads, file) for file in opened), key=itemgetter(0))


class _Notes:
    """The last note of each image, read again whenever it is gone through: where it stands is all that is kept.

    A log most of whose lines were overtaken by later ones is written anew.

    Args:
        log: a line an image, [name, entry].
        names: the images, in order.
    """

    def __init__(self, log: Path, names: Sequence[str]) -> None:
        self.log, self.names = log, names
        self.places, lines = self._found()
        if lines > 2 * len(self.places):
            with atomic(log) as temporary, temporary.open("wb") as file:
                for place in sorted(self.places.values()):
                    file.write(self._line(place))
            self.places, _ = self._found()

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in self.names:
            if name in self.places:
                yield name, json.loads(self._line(self.places[name]))[1]

    def _found(self) -> tuple[dict[str, int], int]:
        """Return where the last whole line of each image begins, and the number of lines."""
        places, lines, place = dict[str, int](), 0, 0
        if self.log.is_file():
            with self.log.open("rb") as file:
                for line in file:
                    with contextlib.suppress(ValueError):  # a killed process cuts a line short
                        places[json.loads(line)[0]] = place
                    place += len(line)
                    lines += 1
        return places, lines

    def _line(self, place: int) -> bytes:
        with self.log.open("rb") as file:
            file.seek(place)
            return file.readline()

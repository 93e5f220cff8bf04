"""Which label file of a folder was made from which image by what: nothing is continued that was made otherwise."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from maskwright.data.predicted import BESIDE
from maskwright.errors import StaleArtifactError, problem
from maskwright.tasks import file_state

LOG, SHARDS = ".made.jsonl", ".shards"


class PredictionLog:
    """`.made.jsonl` beside the labels: one line a label, written before it, so that no label is without one.

    Args:
        folder: of the label files; made at the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self.entries: dict[str, list[Any]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []:
            with suppress(ValueError):  # a full disk or a killed process cuts a line short
                name, *entry = json.loads(line)
                self.entries[name] = entry

    def open_items(
        self, files: Sequence[tuple[str, Path]], targets: Mapping[str, Path], maker: str, *, redo: bool
    ) -> list[tuple[str, Path]]:
        """Return the images whose label isn't there; with `redo` also those made otherwise, their labels removed.

        Args:
            files: (name, image file).
            targets: name → label file.
            maker: fingerprint of networks and settings.
            redo: replace labels that were made otherwise.

        Raises:
            StaleArtifactError: a label was made otherwise and `redo` is off, or is none of ours.
        """
        standing = [(name, path) for name, path in files if targets[name].is_file()]
        foreign = [name for name, _ in standing if name not in self.entries]
        other = [name for name, path in standing if self.entries.get(name) != [maker, *file_state(path)]]
        if foreign or (other and not redo):
            first = (foreign or other)[0]
            raise StaleArtifactError(
                problem(
                    "a folder without other labels of these names",
                    f"{targets[first].name} of unknown origin"
                    if foreign
                    else f"{len(other)} made otherwise, as {first}",
                    where=str(self.path.parent),
                    next_move="give another --out" + ("" if foreign else ", or add --redo to replace them"),
                )
            )
        for name in other:
            targets[name].unlink()
        return [(name, path) for name, path in files if not targets[name].is_file()]

    def add(self, name: str, image: Path, maker: str) -> None:
        """Note what makes a label that is about to be written."""
        self.entries[name] = [maker, *file_state(image)]
        append_line(self.path, [name, *self.entries[name]])


def written_here(images: Path, files: Sequence[Path]) -> list[Path]:
    """Return the files below a folder that `predict_folder` wrote, by the logs that it left: they are no images.

    Args:
        images: the folder.
        files: below it. Those in a folder of predictions are all of predict's; where the folder itself is one, the
            labels of which the image lies beside them, and what stands in `BESIDE`.
    """

    @cache
    def predictions(folder: Path) -> bool:
        return folder != images and (_is_written(folder) or predictions(folder.parent))

    found = [path for path in files if predictions(path.parent)]
    if _is_written(images):
        logged = PredictionLog(images).entries.keys()
        names = Counter(path.with_suffix("") for path in files)
        for path in set(files) - set(found):
            name = path.relative_to(images).with_suffix("")
            label = path.suffix == ".png" and name.as_posix() in logged and names[path.with_suffix("")] > 1
            found += [path] if label or name.parts[0] in BESIDE else []
    return found


def _is_written(folder: Path) -> bool:
    return (folder / LOG).is_file() or (folder / SHARDS).is_dir()


def append_line(path: Path, value: Any) -> None:
    """Add a line of JSON to a file; one that a killed process cut short keeps to itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(value).encode() + b"\n"
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else b"\n" + line
        file.write(line)

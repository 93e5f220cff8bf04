"""A run folder as the review reads it: its index, its masks as they count now, its pictures, and nothing outside."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl

from maskwright.artifacts import IMPORTED, MADE, RunFolder, read_json, read_table, write_bytes
from maskwright.audit.copies import fitted
from maskwright.augment.dihedral import DIHEDRAL
from maskwright.data.categories import as_written, read_label
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, load_index
from maskwright.data.intensity import resize_label
from maskwright.decisions import Decision, held
from maskwright.errors import DataError, UsageError, problem
from maskwright.recipe.data import DataSpec
from maskwright.review.items import Item, Suggestion
from maskwright.types import IGNORE, Array, LabelMap

FOLDER = "review"
"""Folder of the review in a run folder: masks/ that were drawn, and salt."""

Answers = Mapping[tuple[str, str], Decision]


@dataclass(frozen=True)
class Reviewed:
    """A run that people look at.

    Attributes:
        folder: of the run.
        index: as the data folder gives it.
    """

    folder: RunFolder
    index: Index

    @classmethod
    def of(cls, run: Path) -> Reviewed:
        """Read a run folder.

        Raises:
            UsageError: the folder holds no audited run.
            DataError: an artifact is damaged.
        """
        folder = RunFolder(run)
        record = folder.records / "index.json"
        if not record.is_file() or not folder.findings.is_file():
            raise UsageError(
                problem(
                    "the folder of a run whose data was audited",
                    "another folder" if run.is_dir() else "none",
                    where=str(run),
                    next_move=f"make it: maskwright audit --data FOLDER --out {run} (or maskwright run)",
                )
            )
        return cls(folder, load_index(folder.index, DataSpec.model_validate(read_json(record)["resolved"]["data"])))

    @cached_property
    def rows(self) -> dict[str, int]:
        """Image → its row of the index."""
        return {image: row for row, image in enumerate(self.index.images)}

    @cached_property
    def salt(self) -> bytes:
        """What makes the names of items unguessable; made once a run."""
        path = self.folder.root / FOLDER / "salt"
        with held(self.folder.decisions):  # of two servers that begin at once, one makes it
            if not path.is_file():
                write_bytes(path, secrets.token_bytes(16))
        return path.read_bytes()[:32]

    @cached_property
    def unusable(self) -> frozenset[str]:
        """Images that the audit couldn't read."""
        path = self.folder.audit / "unusable.json"
        return frozenset(read_json(path) if path.is_file() else ())

    def table(self, path: Path) -> pl.DataFrame | None:
        """Return a table of the run, None if there is none."""
        return read_table(path) if path.is_file() else None

    def size(self, image: str) -> tuple[int, int]:
        """Return (H, W) of an image."""
        row = self.rows[image]
        height, width = self.index.table["height"][row], self.index.table["width"][row]
        if height is None or width is None:
            raise DataError(problem("an image that can be read", "none", where=image, next_move="see the audit"))
        return int(height), int(width)

    def masked(self, image: str) -> bool:
        """Tell whether the data folder has a mask of an image."""
        return self.index.table[self.index.label_column][self.rows[image]] is not None

    def path(self, file: str) -> Path:
        """Return where a file of the index lies.

        Raises:
            DataError: outside the data folder and the run folder.
        """
        inner = file.removeprefix(IMPORTED).removeprefix(MADE)
        if PurePosixPath(inner).is_absolute() or ".." in PurePosixPath(inner).parts or "\0" in inner:
            next_move = "see where this run folder comes from; nothing outside the data folder is shown"
            raise DataError(
                problem("a file in the data folder", repr(file), where="index.parquet", next_move=next_move)
            )
        return self.index.path(file)

    def picture(self, image: str) -> Array:
        """Return the (H, W, C) image.

        Raises:
            DataError: it can't be read, or lies outside.
        """
        return read_image(self.path(self.index.table["image"][self.rows[image]]))

    def own_mask(self, image: str) -> LabelMap | None:
        """Return the (H, W) mask that the data folder has of an image, in category positions."""
        row = self.rows[image]
        file = self.index.table[self.index.label_column][row]
        if file is None:
            return None
        self.path(file)
        return self.index.read_label(row)

    def label_file(self, file: str) -> LabelMap:
        """Return a label file with category ids that lies in the run folder."""
        return read_label(self.path(MADE + file), as_written(self.index.categories))

    def mask(self, image: str, answers: Answers) -> LabelMap:
        """Return the mask of an image as it counts now, all ignored where it has none.

        Args:
            image: as the index has it.
            answers: as `settled` returns them.
        """
        answer = answers.get((image, "mask"))
        found = None
        if answer is not None and answer.action == "drawn_mask" and answer.file is not None:
            found = self.label_file(answer.file)
        found = self.own_mask(image) if found is None else found
        return np.full(self.size(image), IGNORE, np.uint8) if found is None else found

    def suggestion(self, item: Item, suggestion: Suggestion, answers: Answers) -> LabelMap:
        """Return the (H, W) label that a suggestion of an item comes to, at the size of the item's first image.

        Raises:
            DataError: a file of it can't be read.
        """
        if suggestion.image != item.image:  # of a pair: laid over the first
            label = self.mask(suggestion.image, answers)
            return fitted(label, item.transform if item.transform in DIHEDRAL else "identity", self.size(item.image))
        if suggestion.file is None:
            return shifted(self.mask(item.image, answers), *(suggestion.shift or (0, 0)))
        found = self.label_file(suggestion.file)
        if found.shape != self.size(item.image):
            found = np.asarray(resize_label(found, self.size(item.image)), np.uint8)
        if suggestion.swap is None or item.region is None:
            return found
        given, suggested = (self.index.categories.names.index(name) for name in suggestion.swap)
        mask = self.mask(item.image, answers).copy()
        left, top, right, bottom = item.region
        inside = mask[top:bottom, left:right]
        inside[(inside == given) & (found[top:bottom, left:right] == suggested)] = suggested
        return mask

    def prediction(self, image: str) -> str | None:
        """Return the file of the run's prediction of an image, relative to the run folder; None if there is none."""
        file = f"predictions/labels/{name_of(image)}.png"
        return file if (self.folder.root / file).is_file() else None

    def stamp(self) -> tuple[int, int]:
        """Return what changes when somebody writes to the log."""
        try:
            stat = os.stat(self.folder.decisions)
        except FileNotFoundError:
            return 0, 0
        return stat.st_size, stat.st_mtime_ns


def shifted(label: LabelMap, down: int, right: int) -> LabelMap:
    """Return a label map moved by so many pixels; what comes in from outside is ignored.

    Example:
        >>> shifted(np.uint8([[1, 2], [3, 4]]), 0, 1).tolist()
        [[255, 1], [255, 3]]
    """
    height, width = label.shape
    found = np.full_like(label, IGNORE)
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    to_row, to_column, from_row, from_column = max(down, 0), max(right, 0), max(-down, 0), max(-right, 0)
    found[to_row : to_row + rows, to_column : to_column + columns] = label[
        from_row : from_row + rows, from_column : from_column + columns
    ]
    return found

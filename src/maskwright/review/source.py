"""A run folder as the review reads it: its index, its masks as they count now, its pictures, and nothing outside."""

from __future__ import annotations

import difflib
import hashlib
import os
import secrets
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.artifacts import IMPORTED, MADE, RECORDS, REVIEW, RunFolder, read_json, read_table, write_bytes
from maskwright.audit.copies import fitted
from maskwright.audit.masks import Answers, DecidedMasks, shifted
from maskwright.augment.dihedral import DIHEDRAL
from maskwright.data.categories import as_written, read_label
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index, load_index
from maskwright.data.intensity import resize_label
from maskwright.decisions import held
from maskwright.errors import DataError, UsageError, problem
from maskwright.recipe.data import DataSpec
from maskwright.review.items import Item, Suggestion
from maskwright.types import Array, LabelMap

Pixels = npt.NDArray[np.bool_]


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
            DataError: an artifact is damaged, or the data folder is gone.
        """
        folder = RunFolder(run)
        record = folder.records / "index.json"
        if not record.is_file() or not folder.findings.is_file():
            raise _no_run(folder)
        index = load_index(folder.index, DataSpec.model_validate(read_json(record)["resolved"]["data"]))
        if not index.root.is_dir():
            expected, next_move = "the data folder of the run", "put it back there, or a link to where it is now"
            raise DataError(problem(expected, "nothing", where=f"{index.root}, of {run}", next_move=next_move))
        return cls(folder, index)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Image → its row of the index."""
        return {image: row for row, image in enumerate(self.index.images)}

    @cached_property
    def _inside(self) -> pl.DataFrame:
        """The index, with masks that lie outside left out: nothing is read from there."""
        column = self.index.label_column
        files = self.index.table[column]
        kept = [file if file is None or _lies_inside(file) else None for file in files]
        return self.index.table.with_columns(pl.Series(column, kept, pl.String))

    @cached_property
    def salt(self) -> bytes:
        """What makes the names of items unguessable; made once a run."""
        path = self.folder.root / REVIEW / "salt"
        if not path.is_file():
            try:
                with held(self.folder.decisions):  # of two servers that begin at once, one makes it
                    if not path.is_file():
                        write_bytes(path, secrets.token_bytes(16))
            except OSError:  # a folder that can only be read: nothing can be answered, but looked at
                return secrets.token_bytes(16)
        return path.read_bytes()[:32]

    @cached_property
    def unusable(self) -> frozenset[str]:
        """Images that the audit couldn't read."""
        path = self.folder.audit / "unusable.json"
        return frozenset(read_json(path) if path.is_file() else ())

    @cached_property
    def unreadable(self) -> frozenset[str]:
        """Images without a size: nothing can be shown of them."""
        sizes = self.index.table.filter(pl.col("width").is_null() | pl.col("height").is_null())
        return frozenset(sizes["image"])

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
        if not _lies_inside(file):
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

    def label_file(self, file: str) -> LabelMap:
        """Return a label file with category ids that lies in the run folder."""
        return read_label(self.path(MADE + file), as_written(self.index.categories))

    def masks(self, answers: Answers) -> DecidedMasks:
        """Return the masks as decisions leave them.

        Args:
            answers: as `settled` returns them.
        """
        return DecidedMasks(replace(self.index, table=self._inside), answers, self.rows)

    def mask(self, image: str, answers: Answers) -> LabelMap:
        """Return the mask of an image as it counts now.

        Args:
            image: as the index has it.
            answers: as `settled` returns them.

        Raises:
            DataError: it has none, or one that can't be read.
        """
        return self.masks(answers).label(image)

    def digest(self, suggestion: Suggestion, answers: Answers) -> str:
        """Return what a suggestion was made of when it was shown: 16 hex digits that other labels don't have.

        What people patched, moved or ignored in a mask isn't among it: an answer about another part of it changes
        nothing of the question.

        Raises:
            DataError: a file of it can't be read.
        """
        if suggestion.file is not None:
            return digest_of(self.label_file(suggestion.file))
        return digest_of(self.masks(answers).whole(suggestion.image))

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
        if suggestion.swap is None or item.region is None:
            found = self.label_file(suggestion.file)
            return found if found.shape == self.size(item.image) else _resized(found, self.size(item.image))
        mask = self.mask(item.image, answers)
        suggested = self.index.categories.names.index(suggestion.swap[1])
        return np.where(self.contradicted(item, suggestion, mask), np.uint8(suggested), mask)

    def contradicted(self, item: Item, suggestion: Suggestion, mask: LabelMap) -> Pixels:
        """Return the (H, W) pixels of an item's region that a mask and a suggestion call otherwise."""
        assert suggestion.swap is not None
        assert suggestion.file is not None
        assert item.region is not None
        found = self.label_file(suggestion.file)
        if found.shape != mask.shape:
            found = _resized(found, (mask.shape[0], mask.shape[1]))
        given, suggested = (self.index.categories.names.index(name) for name in suggestion.swap)
        left, top, right, bottom = item.region
        inside = np.zeros(mask.shape, np.bool_)
        inside[top:bottom, left:right] = True
        return np.asarray(inside & (mask == given) & (found == suggested), np.bool_)

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


def _no_run(folder: RunFolder) -> UsageError:
    """Return what is wrong with a folder that holds no audited run, and which one may be meant."""
    place, near = folder.root, _runs_near(folder.root)
    if folder.records.is_dir():
        got, next_move = "one whose audit isn't over", "give the command that began it again: it goes on"
        if folder.recipe.is_file():
            next_move = f"finish it: maskwright run --recipe {folder.recipe} --out {place}"
    else:
        got = "a file" if place.is_file() else "a folder without a run" if place.is_dir() else "nothing"
        next_move = f"did you mean {' or '.join(near)}?" if near else "make one: maskwright run --data FOLDER"
    return UsageError(problem("the folder of a run whose data was audited", got, where=str(place), next_move=next_move))


def _runs_near(place: Path) -> list[str]:
    """Return the run that a place lies in, else those in it, else those beside it of a like name; three at most."""
    inside = [str(parent) for parent in place.parents if (parent / RECORDS).is_dir()]
    below = sorted(str(found.parent) for depth in ("*", "*/*") for found in place.glob(f"{depth}/{RECORDS}"))
    beside = {found.parent.name: str(found.parent) for found in place.parent.glob(f"*/{RECORDS}")}
    alike = [beside[name] for name in difflib.get_close_matches(place.name, beside, 3)]
    return (inside[:1] or below or alike)[:3]


def digest_of(label: Array) -> str:
    """Return 16 hex digits that tell a label map from others.

    Example:
        >>> digest_of(np.uint8([[1, 2]])) == digest_of(np.uint8([[1], [2]]))
        False
    """
    return hashlib.blake2b(repr(label.shape).encode() + label.tobytes(), digest_size=8).hexdigest()


def _resized(label: LabelMap, size: tuple[int, int]) -> LabelMap:
    return np.asarray(resize_label(label, size), np.uint8)


def _lies_inside(file: str) -> bool:
    inner = PurePosixPath(file.removeprefix(IMPORTED).removeprefix(MADE))
    return not inner.is_absolute() and ".." not in inner.parts and "\0" not in file

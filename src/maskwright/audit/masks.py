"""The mask of an image as the decisions leave it: taken over, agreed on, drawn, patched, moved, cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.artifacts import MADE, turned_like
from maskwright.audit.copies import fitted
from maskwright.audit.policies import majority
from maskwright.augment.dihedral import apply
from maskwright.data.categories import as_written, read_label
from maskwright.data.images import read_image, read_objects
from maskwright.data.index import Index
from maskwright.data.intensity import resize_instances
from maskwright.decisions import CHANGES, POLICY, QUESTIONS, Decision, changes_of
from maskwright.errors import DataError, problem
from maskwright.labels import components
from maskwright.types import IGNORE, Array, LabelMap

Answers = Mapping[tuple[str, str], Decision]
Region = tuple[int, int, int, int]


class DecidedMasks:
    """Masks and object numbers as decisions say.

    Args:
        index: as the folder gives it.
        answers: as `settled` returns them.
        rows: image → its row of the index, where somebody knows it already.
    """

    def __init__(self, index: Index, answers: Answers, rows: Mapping[str, int] | None = None) -> None:
        self.index, self.answers = index, answers
        self._rows = rows
        self.changes = changes_of(answers)
        self.regions: dict[str, list[Region]] = {}
        for answer in answers.values():
            if answer.region is not None and answer.action == "ignore_region":
                self.regions.setdefault(answer.image, []).append(answer.region)

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Image → its row of the index."""
        return self._rows or {image: row for row, image in enumerate(self.index.images)}

    @property
    def changed(self) -> set[str]:
        """Images about whose masks there are decisions."""
        asked = {"mask", "region"} | {question for action, question in QUESTIONS.items() if action in CHANGES}
        return {d.image for d in self.answers.values() if QUESTIONS[d.action] in asked}

    def answer(self, image: str) -> Decision:
        """Return what is said of the mask of an image as a whole."""
        return self.answers.get((image, "mask"), Decision(image=image, action="own_mask", by=POLICY))

    def labelled(self, image: str) -> bool:
        """Tell whether the folder has a mask of an image."""
        return self.index.table[self.index.label_column][self.rows[image]] is not None

    def differs(self, image: str) -> bool:
        """Tell whether the mask of an image is another one than the folder's."""
        said = self.answer(image).action != "own_mask" or image in self.changes
        return said or (image in self.regions and self.labelled(image))

    def predicted(self, image: str) -> bool:
        """Tell whether networks made some of the mask of an image that has none of its own."""
        if self.labelled(image) or takes(self.answer(image)):
            return False
        return bool(self.answer(image).made_by) or any(change.made_by for change in self.changes.get(image, ()))

    def label(self, image: str, asked: tuple[str, ...] = ()) -> LabelMap:
        """Return the (H, W) mask of an image as the decisions say, those of others on the way included.

        Args:
            image: as the index has it.
            asked: images whose masks are taken from it.

        Raises:
            DataError: it has none, masks lead to each other in a ring, or a file can't be read.
        """
        label = self._changed(image, self.whole(image, asked))
        return _cut(label, self.regions.get(image, ()), IGNORE)

    def strokes(self, image: str) -> LabelMap:
        """Return what people changed in the mask of an image, all else ignored."""
        return _cut(self._changed(image, self._nothing(image)), self.regions.get(image, ()), IGNORE)

    def numbers(self, image: str) -> Array | None:
        """Return the object numbers of an image, 0 wherever its mask says something else now; None without any."""
        numbers = self._whole_numbers(image)
        if numbers is None:
            return None
        answer = self.answer(image)
        replaced = answer.action in ("consensus", "drawn_mask") and answer.objects is None and self.labelled(image)
        if replaced or image in self.changes:
            whole = self.whole(image)
            before = self._own(image) if replaced else whole  # what the numbers belong to
            for change in self.changes.get(image, ()):
                if change.shift is not None:
                    before, numbers = shifted(before, *change.shift), moved(numbers, *change.shift, blank=0)
            things = [p for p, c in enumerate(self.index.categories.items) if c.isthing]
            numbers = _renumbered(numbers, before, self._changed(image, whole), things)
        return _cut(numbers, self.regions.get(image, ()), 0)

    def _whole_numbers(self, image: str) -> Array | None:
        """Return the object numbers that belong to the mask before people changed it."""
        answer = self.answer(image)
        if takes(answer):
            numbers = self.numbers(str(answer.other_image))
            if numbers is None:
                return None
            turned = apply(numbers, answer.transform or "identity").astype(np.int32)
            return resize_instances(turned, self._size(image))
        if answer.objects is not None:
            return read_objects(self._place(answer.objects))
        file = self.index.table["instances"][self.rows[image]]
        if file is None:
            return None
        return read_objects(self.index.path(file), like=turned_like(file, self.index.path(image)))

    def whole(self, image: str, asked: tuple[str, ...] = ()) -> LabelMap:
        """Return the mask before people patched or moved it, or ignored regions; arguments and errors as `label`."""
        if image in asked:
            raise DataError(
                problem(
                    "masks that lead to a mask of the folder",
                    f"a ring: {' → '.join((*asked, image))}",
                    where="use_mask_of in decisions.jsonl",
                    next_move="let one of these images keep its own_mask",
                )
            )
        answer = self.answer(image)
        if takes(answer):
            label = self.label(str(answer.other_image), (*asked, image))
            return fitted(label, answer.transform or "identity", self._size(image))
        if answer.action == "consensus":
            return self._agreed(answer)
        if answer.action == "drawn_mask":
            return self._file(str(answer.file))
        if self.labelled(image) or image not in self.changes:
            return self._own(image)
        return self._nothing(image)

    def _changed(self, image: str, label: LabelMap) -> LabelMap:
        """Return a mask with the changes that people made to it, one after the other."""
        for change in self.changes.get(image, ()):
            if change.shift is not None:
                label = shifted(label, *change.shift)
            else:
                where = read_image(self._place(str(change.where)))[..., 0] > 0
                new = self._nothing(image) if change.file is None else self._file(change.file)
                label = np.where(where, new, label)
        return label

    def _agreed(self, answer: Decision) -> LabelMap:
        size = self._size(answer.image)
        own = [fitted(self._own(other), turn or "identity", size) for other, turn in answer.others.items()]
        return majority(np.stack(own))

    def _own(self, image: str) -> LabelMap:
        label = self.index.read_label(self.rows[image])
        if label is None:
            next_move = "draw one, or see decisions.jsonl: what gave it one was taken back"
            raise DataError(problem("an image with a mask", "one without", where=image, next_move=next_move))
        return label

    def _file(self, name: str) -> LabelMap:
        """Return a label file with category ids that lies in the run folder."""
        return read_label(self._place(name), as_written(self.index.categories))

    def _place(self, name: str) -> Path:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            expected, next_move = "a file in the run folder", "name it relative to that, or undo this line"
            raise DataError(problem(expected, repr(name), where="decisions.jsonl", next_move=next_move))
        return self.index.path(f"{MADE}{name}")

    def _nothing(self, image: str) -> LabelMap:
        return np.full(self._size(image), IGNORE, np.uint8)

    def _size(self, image: str) -> tuple[int, int]:
        row = self.rows[image]
        return self.index.table["height"][row], self.index.table["width"][row]


def shifted(label: LabelMap, down: int, right: int) -> LabelMap:
    """Return a label map moved by so many pixels; what comes in from outside is ignored.

    Example:
        >>> shifted(np.uint8([[1, 2], [3, 4]]), 0, 1).tolist()
        [[255, 1], [255, 3]]
    """
    return np.asarray(moved(label, down, right, blank=IGNORE), np.uint8)


def moved(values: Array, down: int, right: int, *, blank: int) -> Array:
    """Return an (H, W) map moved by so many pixels; what comes in from outside is blank."""
    height, width = values.shape
    found = np.full_like(values, blank)
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    to_row, to_column, from_row, from_column = max(down, 0), max(right, 0), max(-down, 0), max(-right, 0)
    found[to_row : to_row + rows, to_column : to_column + columns] = values[
        from_row : from_row + rows, from_column : from_column + columns
    ]
    return found


def _renumbered(numbers: Array, before: LabelMap, after: LabelMap, things: Sequence[int]) -> Array:
    """Return object numbers for a mask that was changed: 0 where something is gone; what came is an object, too.

    A connected piece that came to a category of things has the number of the object that it touches, the one with most
    pixels around it, or a new one.
    """
    found = np.where(after == before, numbers, 0).astype(np.int64)
    for category in things:
        there = after == category
        pieces, count = components(there & (before != category))
        names = _touched(pieces, count, np.where(there, found, 0))
        new = np.flatnonzero(names[1:] == 0) + 1
        names[new] = found.max(initial=0) + 1 + np.arange(len(new))
        found = np.where(pieces > 0, names[pieces], found)
    return found


def _touched(pieces: Array, count: int, numbers: Array) -> npt.NDArray[np.int64]:
    """Return for each piece the number with most pixels around it, the smallest of equals; 0 where it touches none.

    Args:
        pieces: (H, W), 1..count, 0 outside.
        count: how many there are.
        numbers: (H, W) object numbers, 0 in pieces.

    Returns:
        (1 + count,), of 0 first.
    """
    beside = cv2.dilate((pieces > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rows, columns = np.nonzero(beside & (numbers > 0))
    padded = np.pad(pieces, 1)
    around = np.stack([padded[rows + down, columns + right] for down in range(3) for right in range(3)], axis=1)
    around.sort(axis=1)
    once = (around > 0) & (
        np.diff(around, axis=1, prepend=0) != 0
    )  # a pixel counts once for each piece that it touches
    number = np.broadcast_to(numbers[rows, columns][:, None], around.shape)[once]
    pairs, pixels = np.unique(np.stack([around[once], number]), axis=1, return_counts=True)
    order = np.lexsort((-pairs[1], pixels))
    found = np.zeros(1 + count, np.int64)
    found[pairs[0, order]] = pairs[1, order]  # of several for one piece, the last one stays
    return found


def takes(decision: Decision) -> bool:
    """Tell whether a decision takes over another image's mask."""
    return decision.action == "use_mask_of"


def _cut(values: Array, regions: Sequence[Region], blank: int) -> Array:
    """Return a map with regions blanked."""
    values = values.copy() if regions else values
    for left, top, right, bottom in regions:
        values[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = blank
    return values

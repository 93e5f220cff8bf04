"""Answers: which an item takes, and the lines of the log that each of them comes to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from maskwright.decisions import Decision
from maskwright.errors import UsageError, problem
from maskwright.predict.files import write_label
from maskwright.review.drawing import draw
from maskwright.review.items import Box, Item, Kind
from maskwright.review.reply import Reply
from maskwright.review.source import FOLDER, Answers, Reviewed
from maskwright.types import LabelMap


@dataclass(frozen=True)
class Answer:
    """What can be said of an item.

    Attributes:
        name: as the log has it.
        key: on the keyboard.
        label: on the button.
    """

    name: str
    key: str
    label: str


_A, _B = Answer("a", "1", "A is right"), Answer("b", "2", "B is right")
_IGNORE = Answer("ignore", "i", "ignore a region")
_EDIT = Answer("edit", "e", "draw the mask")
_REJECT = Answer("reject", "x", "neither: leave the image out")
_OUT = Answer("reject", "x", "leave the image out")

ANSWERS: dict[Kind, tuple[Answer, ...]] = {
    "conflict": (
        _A,
        _B,
        Answer("both", "k", "keep both"),
        Answer("not_same", "n", "not the same picture"),
        _IGNORE,
        _EDIT,
        Answer("reject", "x", "neither: leave both out"),
    ),
    "shifted": (_A, _B, _EDIT, _REJECT),
    "suspect": (_A, _B, Answer("ignore", "i", "ignore the framed region"), _EDIT, _REJECT),
    "disagreement": (_A, _B, _EDIT, _REJECT),
    "rare": (Answer("accept", "y", "accept the mask"), _IGNORE, _EDIT, _OUT),
    "outlier": (Answer("alien", "a", "alien: leave it out"), Answer("not_alien", "o", "it belongs to the others")),
    "duplicate": (Answer("same", "s", "the same"), Answer("not_same", "n", "not the same")),
    "uncertain": (Answer("accept", "y", "accept as its mask"), _EDIT, _OUT),
}
"""What each kind of item takes."""


def answers_of(item: Item, *, target: str) -> list[Answer]:
    """Return what an item takes; without semantic masks nothing that would have to draw one.

    Args:
        item: what is asked.
        target: what the run learns from: `masks` or `instances`.
    """
    taken = list(ANSWERS[item.kind])
    if len(item.suggestions) < 2:
        taken = [answer for answer in taken if answer.name != "b"]
    if target == "masks":
        return taken
    drawn = {"edit", "ignore"} | ({"b"} if item.kind != "conflict" else set())
    drawn |= {"a", "accept"} if item.kind in ("disagreement", "uncertain") else set()
    return [answer for answer in taken if answer.name not in drawn]


def lines_of(run: Reviewed, item: Item, reply: Reply, answers: Answers) -> list[Decision]:
    """Return the lines that an answer comes to; a mask that they speak of is written first.

    Args:
        run: what is reviewed.
        item: that is answered.
        reply: the answer.
        answers: what counts now, as `settled` returns it.

    Raises:
        UsageError: the item doesn't take this answer, or it lacks what it needs.
        DataError: a mask can't be read.
    """
    if reply.answer not in [answer.name for answer in answers_of(item, target=run.index.target)]:
        _refuse("an answer that this item takes", reply.answer)
    said = _Said(run, item, reply, answers)
    return {
        "a": said.first,
        "b": said.second,
        "accept": said.first,
        "both": said.both,
        "same": said.same,
        "not_same": said.not_same,
        "alien": said.reject,
        "not_alien": said.both,
        "reject": said.reject,
        "ignore": said.ignore,
        "edit": said.edit,
    }[reply.answer]()


def written_mask(run: Reviewed, label: LabelMap) -> str:
    """Write a mask into the run folder under a name that says what it holds, and return that: the same is one file."""
    name = hashlib.blake2b(repr(label.shape).encode() + label.tobytes(), digest_size=16).hexdigest()
    file = f"{FOLDER}/masks/{name}.png"
    if not (path := run.folder.root / file).is_file():
        write_label(path, label, run.index.categories)
    return file


@dataclass(frozen=True)
class _Said:
    """One answer on its way to lines."""

    run: Reviewed
    item: Item
    reply: Reply
    answers: Answers

    def first(self) -> list[Decision]:
        """A: the first mask of a conflict, the prediction of an image without a mask, the mask as it is."""
        if self.item.kind == "conflict":
            return self._instead(self.item.image, str(self.item.other_image))
        if self.item.kind in ("disagreement", "uncertain"):
            return [self._taken(0)]
        return [self._line("confirm", region=self.item.region)]

    def second(self) -> list[Decision]:
        """B."""
        if self.item.kind == "conflict":
            return self._instead(str(self.item.other_image), self.item.image)
        return [self._taken(1)]

    def both(self) -> list[Decision]:
        """Everything stays as the folder has it."""
        return [line for image in self.item.images for line in self._kept(image)]

    def same(self) -> list[Decision]:
        """Both show the same thing."""
        return [self._line("same", other_image=self.item.other_image)]

    def not_same(self) -> list[Decision]:
        """They don't, so nothing that was decided because they did holds."""
        line = self._line("not_same", other_image=self.item.other_image)
        return [line, *(self.both() if self.item.kind == "conflict" else self._freed())]

    def reject(self) -> list[Decision]:
        """None of the labels, or not this image."""
        images = self.item.images if self.item.kind == "conflict" else (self.item.image,)
        return [self._line("drop", image) for image in images]

    def ignore(self) -> list[Decision]:
        """A region doesn't count."""
        region = self.reply.region or self.item.region
        height, width = self.run.size(self.item.image)
        if region is None:
            _refuse("a region", "none")
        left, top, right, bottom = region
        inside: Box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            _refuse("a region in the image", str(region))
        kept = self._kept(self.item.image) if self.item.kind == "conflict" else []
        return [*kept, self._line("ignore_region", region=inside)]

    def edit(self) -> list[Decision]:
        """A mask that was drawn."""
        if not self.reply.strokes:
            _refuse("a mask that was drawn on", "no stroke")
        if self.reply.base >= max(1, len(self.item.suggestions)):
            _refuse("a suggestion that there is", str(self.reply.base))
        before = self._suggested(self.reply.base)
        label = draw(before, self.reply.strokes, len(self.run.index.categories))
        if np.array_equal(label, before):
            _refuse("strokes that change the mask", "none that do")
        drawn = self._line("drawn_mask", file=written_mask(self.run, label))
        if self.item.kind != "conflict":
            return [drawn]
        return [self._line("keep"), drawn, self._line("drop", self.item.other_image)]

    def _instead(self, right: str, wrong: str) -> list[Decision]:
        """One image of a picture with its mask, the other one not."""
        return [*self._kept(right), self._line("drop", wrong)]

    def _kept(self, image: str) -> list[Decision]:
        """An image with its own mask, whatever a policy says."""
        return [self._line("keep", image), *self._own_mask(image)]

    def _own_mask(self, image: str) -> list[Decision]:
        mask = self.answers.get((image, "mask"))
        return [self._line("own_mask", image)] if mask is not None and mask.by_policy else []

    def _freed(self) -> list[Decision]:
        """What policies did to images because the other one was a copy."""
        lines = list[Decision]()
        for image, other in (self.item.images, self.item.images[::-1]):
            use, mask = self.answers.get((image, "use")), self.answers.get((image, "mask"))
            if use is not None and use.by_policy and use.other_image == other:
                lines.append(self._line("keep", image))
            if mask is not None and mask.by_policy and other in (mask.other_image, *mask.others):
                lines.append(self._line("own_mask", image))
        return lines

    def _taken(self, place: int) -> Decision:
        """A suggestion as the mask."""
        suggestion, label = self.item.suggestions[place], self._suggested(place)
        made_by = suggestion.name if suggestion.predicted else ""
        return self._line("drawn_mask", file=written_mask(self.run, label), made_by=made_by)

    def _suggested(self, place: int) -> LabelMap:
        if not self.item.suggestions:
            return self.run.mask(self.item.image, self.answers)
        return self.run.suggestion(self.item, self.item.suggestions[place], self.answers)

    def _line(self, action: Any, image: str | None = None, **more: Any) -> Decision:
        image = self.item.image if image is None else image
        reply, kind = self.reply, f"review:{self.item.kind}"
        words = next(answer.label for answer in ANSWERS[self.item.kind] if answer.name == reply.answer)
        shared = {"by": reply.by, "kind": kind, "id": reply.id, "item": reply.item, "answer": reply.answer}
        shared["reason"] = words
        return Decision(image=image, action=action, time=reply.time, **shared, **more)


def _refuse(expected: str, got: str) -> NoReturn:
    raise UsageError(problem(expected, got, where="the review", next_move="answer again"))

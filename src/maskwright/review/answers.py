"""Answers: which an item takes, and the lines of the log that each of them comes to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from maskwright.artifacts import REVIEW, write_bytes
from maskwright.audit.masks import Answers
from maskwright.augment.dihedral import DIHEDRAL
from maskwright.data.categories import to_ids
from maskwright.data.written import write_array
from maskwright.decisions import Decision
from maskwright.errors import UsageError, problem
from maskwright.labels import relabel_consecutive
from maskwright.review.drawing import Drawn, painted
from maskwright.review.items import Box, Item, Kind
from maskwright.review.makers import learned_by
from maskwright.review.pictures import png
from maskwright.review.reply import Reply
from maskwright.review.source import Pixels, Reviewed
from maskwright.types import IGNORE, Array, LabelMap


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
_JUDGED = (Answer("accept", "y", "good enough to learn from"), Answer("right", "r", "it looks right"), _EDIT, _OUT)

ANSWERS: dict[Kind, tuple[Answer, ...]] = {
    "conflict": (
        _A,
        _B,
        Answer("both", "k", "keep both"),
        Answer("not_same", "n", "not the same picture"),
        Answer("ignore", "i", "A, but for a region"),
        _EDIT,
        Answer("reject", "x", "neither: leave both out"),
    ),
    "shifted": (_A, _B, _EDIT, _REJECT),
    "suspect": (
        _A,
        Answer("b", "2", "A is wrong there: what B changes doesn’t count"),
        Answer("ignore", "i", "ignore the framed region"),
        _EDIT,
        _REJECT,
    ),
    "disagreement": (_A, _B, _EDIT, _REJECT),
    "rare": (Answer("accept", "y", "accept the mask"), _IGNORE, _EDIT, _OUT),
    "outlier": (Answer("alien", "a", "alien: leave it out"), Answer("not_alien", "o", "it belongs to the others")),
    "duplicate": (Answer("same", "s", "the same"), Answer("not_same", "n", "not the same")),
    "objectness": _JUDGED,
    "uncertain": _JUDGED,
}
"""What each kind of item takes."""


OF_POOL: tuple[Kind, ...] = ("disagreement", "objectness", "uncertain")
"""Kinds that ask about images without a mask."""

_SEEN = ("a", "b", "accept", "right", "edit")
"""Answers that take a label as it was shown."""


def answers_of(item: Item, *, target: str) -> list[Answer]:
    """Return what an item takes; without semantic masks nothing that would have to draw one.

    A prediction of the networks of all folds can't be taken as it is, for each fold has been learned from by some of
    them, and without semantic masks none can: that one looks right can be said, which settles the item and no more.

    Args:
        item: what is asked.
        target: what the run learns from: `masks` or `instances`.
    """
    without = set[str]() if len(item.suggestions) > 1 else {"b"}
    if item.kind in OF_POOL:
        without |= {"right"} if _learned(item, 0, target) else {"accept"}
    if target != "masks":
        without |= {"edit", "ignore"} | ({"b"} if item.kind not in ("conflict", "disagreement") else set())
    return [answer for answer in ANSWERS[item.kind] if answer.name not in without]


def lines_of(run: Reviewed, item: Item, reply: Reply, answers: Answers, drawn: Drawn | None = None) -> list[Decision]:
    """Return the lines that an answer comes to; a mask that they speak of is written first.

    Args:
        run: what is reviewed.
        item: that is answered.
        reply: the answer.
        answers: what counts now, as `settled` returns it.
        drawn: of an edit: what was drawn, in the place of the reply's strokes.

    Raises:
        UsageError: the item doesn't take this answer, or it lacks what it needs.
        DataError: a mask can't be read.
    """
    if reply.answer not in [answer.name for answer in answers_of(item, target=run.index.target)]:
        _refuse("an answer that this item takes", reply.answer)
    if reply.answer in _SEEN and (wrong := changed_since(run, item, reply, answers)):
        next_move = "reload the page and look again"
        raise UsageError(problem("labels as they were shown", wrong, where="the review", next_move=next_move))
    said = _Said(run, item, reply, answers, drawn)
    return {
        "a": said.first,
        "b": said.second,
        "accept": said.first,
        "right": said.first,
        "both": said.both,
        "same": said.same,
        "not_same": said.not_same,
        "alien": said.reject,
        "not_alien": said.belongs,
        "reject": said.reject,
        "ignore": said.ignore,
        "edit": said.edit,
    }[reply.answer]()


def written_mask(run: Reviewed, label: LabelMap) -> str:
    """Write a mask into the run folder under a name that says what it holds, and return that: the same is one file."""
    return _kept_file(run, "masks", png(to_ids(label, run.index.categories)), ".png")


def written_objects(run: Reviewed, numbers: Array) -> str:
    """Write objects' numbers into the run folder as `written_mask` writes masks, numbered without gaps."""
    packed = relabel_consecutive(numbers)
    digest = hashlib.blake2b(repr(packed.shape).encode() + packed.tobytes(), digest_size=16).hexdigest()
    path = run.folder.root / REVIEW / "objects" / f"{digest}.png"
    known = next((p for p in (path, path.with_suffix(".tif")) if p.is_file()), None)
    return (known or write_array(path, packed)).relative_to(run.folder.root).as_posix()


def written_seen(run: Reviewed, number: int, fold: int | None) -> str:
    """Write which masks the networks of a round have learned from into the run folder, and return the file's name."""
    seen = json.dumps(sorted(learned_by(run.folder, number, fold)), ensure_ascii=False).encode()
    return _kept_file(run, "seen", seen, ".json")


def changed_since(run: Reviewed, item: Item, reply: Reply, answers: Answers) -> str:
    """Return in words what isn't as it was when a reviewer looked at it; empty: nothing."""
    if len(reply.shown) != len(item.suggestions):
        return f"{len(reply.shown)} labels that were looked at, of {len(item.suggestions)}"
    for suggestion, shown in zip(item.suggestions, reply.shown, strict=True):
        now = run.digest(suggestion, answers)
        if now != shown or suggestion.digest not in ("", now):
            return "another label: it was made anew since"
    return ""


def _learned(item: Item, place: int, target: str) -> bool:
    """Tell whether a suggestion of an image without a mask can be learned from as it is."""
    return target == "masks" and all(suggestion.learnable for suggestion in item.suggestions[place : place + 1])


def _kept_file(run: Reviewed, kind: str, data: bytes, suffix: str) -> str:
    """Write a file under a name that says what it holds, and return that: the same content is one file."""
    name = hashlib.blake2b(data, digest_size=16).hexdigest()
    file = f"{REVIEW}/{kind}/{name}{suffix}"
    if not (path := run.folder.root / file).is_file():
        write_bytes(path, data)
    return file


@dataclass(frozen=True)
class _Said:
    """One answer on its way to lines."""

    run: Reviewed
    item: Item
    reply: Reply
    answers: Answers
    drawn: Drawn | None

    def first(self) -> list[Decision]:
        """A: the first mask of a conflict, the prediction of an image without a mask, the mask as it is."""
        if self.item.kind == "conflict":
            return self._instead(self.item.image, str(self.item.other_image))
        if self.item.kind in OF_POOL:
            return [self._right(0)]
        return [self._line("confirm", region=self.item.region)]

    def second(self) -> list[Decision]:
        """B: of masks that are contradicted, what the networks say isn't learned, and A isn't either."""
        if self.item.kind == "conflict":
            return self._instead(str(self.item.other_image), self.item.image)
        if self.item.kind in OF_POOL:
            return [self._right(1)]
        if self.item.kind == "shifted":
            return [self._line("shift_mask", shift=self.item.suggestions[1].shift)]
        mask = self.run.mask(self.item.image, self.answers)
        where = self.run.contradicted(self.item, self.item.suggestions[1], mask)
        if not where.any():
            _refuse("a suggestion that changes the mask", "none that does: the mask says the same now")
        return [self._patch(where, None)]

    def both(self) -> list[Decision]:
        """Everything stays as the folder has it."""
        return [line for image in self.item.images for line in self._kept(image)]

    def belongs(self) -> list[Decision]:
        """It is no stranger; what else was decided of it stays."""
        return [self._line("belongs")]

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
        instead = self.item.kind == "conflict"
        kept = self._instead(self.item.image, str(self.item.other_image)) if instead else []
        return [*kept, self._line("ignore_region", region=inside)]

    def edit(self) -> list[Decision]:
        """What was drawn, on A, on B, or on nothing."""
        drawing = self.reply.strokes if self.drawn is None else self.drawn
        if not drawing:
            _refuse("a mask that was drawn on", "no stroke")
        if self.reply.base >= max(1, len(self.item.suggestions)):
            _refuse("a suggestion that there is", str(self.reply.base))
        if self.reply.base < 0 and self.item.kind not in OF_POOL:
            _refuse("a drawing that begins with a mask", "one that begins with nothing")
        before = self._base()
        label, where = painted(before, drawing, len(self.run.index.categories))
        if np.array_equal(label, before):
            _refuse("a drawing that changes the mask", "none that does")
        if self.item.kind in OF_POOL:
            return self._on_prediction(label, where)
        patch = self._patch(where, label)
        if self.item.kind == "conflict":
            return self._on_one_of_two(patch)
        if self.reply.base == 1 and self.item.kind == "shifted":
            return [self._line("shift_mask", shift=self.item.suggestions[1].shift), patch]
        if self.reply.base == 1:
            mask = self.run.mask(self.item.image, self.answers)
            gone = self.run.contradicted(self.item, self.item.suggestions[1], mask) & ~where
            return [self._patch(where | gone, np.where(where, label, np.uint8(IGNORE)))]
        return [patch]

    def _on_prediction(self, label: LabelMap, where: Pixels) -> list[Decision]:
        """A drawing on an image without a mask: what networks made and what a person drew are told apart."""
        if self.reply.base < 0:
            return [self._patch(where, label)]
        base = self.item.suggestions[self.reply.base]
        if where.all():
            return [self._patch(where, label).model_copy(update={"begun_with": base.name})]
        patch = self._patch(where, label).model_copy(update={"made_by": base.name})
        return [self._predicted(self.reply.base), patch] if base.learnable else [patch]

    def _on_one_of_two(self, patch: Decision) -> list[Decision]:
        """A drawing on one of two masks of a picture: the other image goes."""
        out = self._line("drop", self.item.other_image)
        if self.reply.base != 1:
            return [*self._kept(self.item.image), patch, out]
        turn = self.item.transform if self.item.transform in DIHEDRAL else "identity"
        taken = self._line("use_mask_of", other_image=self.item.other_image, transform=turn)
        return [self._line("keep"), taken, patch, out]

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

    def _base(self) -> LabelMap:
        """What a drawing begins with."""
        if self.reply.base < 0:
            return np.full(self.run.size(self.item.image), IGNORE, np.uint8)
        if not self.item.suggestions:
            return self.run.mask(self.item.image, self.answers)
        return self.run.suggestion(self.item, self.item.suggestions[self.reply.base], self.answers)

    def _right(self, place: int) -> Decision:
        """A prediction as the mask where it can be learned from, else that somebody found it right."""
        learned = _learned(self.item, place, self.run.index.target)
        return self._predicted(place) if learned else self._line("confirm")

    def _predicted(self, place: int) -> Decision:
        """A prediction as the mask, with what its networks have learned from."""
        suggestion = self.item.suggestions[place]
        file = written_mask(self.run, self.run.suggestion(self.item, suggestion, self.answers))
        assert suggestion.maker is not None
        seen = written_seen(self.run, *suggestion.maker)
        return self._line("drawn_mask", file=file, made_by=suggestion.name, seen=seen)

    def _patch(self, where: Pixels, label: LabelMap | None) -> Decision:
        """What a label says in some pixels; None: that they don't count."""
        pixels = _kept_file(self.run, "masks", png(np.where(where, np.uint8(255), np.uint8(0))), ".png")
        file = None if label is None else written_mask(self.run, np.where(where, label, np.uint8(IGNORE)))
        return self._line("patch_mask", where=pixels, file=file)

    def _line(self, action: Any, image: str | None = None, **more: Any) -> Decision:
        image = self.item.image if image is None else image
        reply, kind = self.reply, f"review:{self.item.kind}"
        words = next(answer.label for answer in ANSWERS[self.item.kind] if answer.name == reply.answer)
        shared = {"by": reply.by, "kind": kind, "id": reply.id, "item": reply.item, "answer": reply.answer}
        shared["reason"] = words
        return Decision(image=image, action=action, time=reply.time, **shared, **more)


def _refuse(expected: str, got: str) -> NoReturn:
    raise UsageError(problem(expected, got, where="the review", next_move="answer again"))

"""A reviewer's session: which item is looked at, what it shows, and what answers to it come to. Knows no viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.data.intensity import resize
from maskwright.errors import UsageError, problem
from maskwright.pictures import to_rgb8
from maskwright.review import Desk, Drawn
from maskwright.review.answers import OF_POOL
from maskwright.review.items import Box, Item
from maskwright.review.page import shown_categories
from maskwright.review.pictures import digest_shown
from maskwright.review.reply import Reply, read_reply
from maskwright.types import IGNORE, Array, LabelMap

NOTHING = "nothing"
"""What a drawing may begin with, beside the item's labels."""


@dataclass(frozen=True)
class Pane:
    """One picture of those that stand side by side.

    Attributes:
        title: what it shows.
        caption: that in a word, for above it.
        image: (H, W, 3) uint8.
        label: (H, W) category positions with `IGNORE`; None: the picture alone.
    """

    title: str
    caption: str
    image: Array
    label: LabelMap | None = None


class Session:
    """What one reviewer sees and says, item after item.

    Args:
        desk: queue and log, the same that the page has.

    Attributes:
        by: the reviewer's name, as typed.
        second: whether items come that others have answered.
        place: of the item in the queue; None: nothing is left, or nothing was opened yet.
        described: what `Desk.described` says of it.
        panes: what it shows; none where that can't be read.
        begun: of a drawing: the label suggestion that it began with (-1: nothing) and the (H, W) label itself.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk, self.by, self.second = desk, "", False
        self.categories = shown_categories(desk.run.index.categories)
        self.place: int | None = None
        self.described = dict[str, Any]()
        self.panes = tuple[Pane, ...]()
        self.begun: tuple[int, LabelMap] | None = None
        self._shown = tuple[str, ...]()

    @property
    def item(self) -> Item:
        """The item that is looked at.

        Raises:
            UsageError: none is.
        """
        if self.place is None:
            raise _impossible("an item to answer", "none that is open")
        return self.desk.item(self.place)

    @property
    def labels(self) -> list[LabelMap]:
        """The labels to choose from, as shown."""
        return [pane.label for pane in self.panes if pane.label is not None]

    @property
    def bases(self) -> list[int]:
        """What a drawing may begin with: suggestions by their place, -1 for nothing."""
        return [*range(len(self.labels)), *([-1] if self.item.kind in OF_POOL else [])]

    def told(self, base: int) -> str:
        """Return in words what a drawing begins with."""
        if base < 0:
            return NOTHING
        return "AB"[base] if len(self.labels) > 1 else "the mask"

    def forward(self) -> bool:
        """Go to the item that is worth the most after this one; return False where none is left.

        Raises:
            DataError: it can't be shown; then nothing but leaving it out can be answered.
        """
        after = -1 if self.place is None else self.place
        place = self.desk.next(self._name(), second=self.second, after=after)
        if place is None:
            self._leave()
            return False
        self.show(place)
        return True

    def step(self, by: int) -> None:
        """Go on or back in the queue, whatever has been answered; errors as `show`."""
        place = by - 1 if self.place is None and by > 0 else (self.place or 0) + by
        if not 0 <= place < len(self.desk.items):
            raise _impossible("another item there", "the last one" if by > 0 else "the first one")
        self.show(place)

    def show(self, place: int) -> None:
        """Open an item.

        Raises:
            UsageError: there is no such item.
            DataError: it can't be shown; then nothing but leaving it out can be answered.
        """
        item = self.desk.item(place)
        self._leave()
        self.place, self.described = place, self.desk.described(place, self._name())
        answers = self.desk.answers(place)
        count = len(item.suggestions)
        shown = tuple(digest_shown(self.desk.run, item, which, answers) for which in range(count))
        labels = [self.desk.run.suggestion(item, suggestion, answers) for suggestion in item.suggestions]
        self.panes = self._panes(item, labels)
        self._shown = shown

    def can_be_blind(self, answer: str) -> bool:
        """Tell whether an answer needs no look at what is asked."""
        return answer == "reject"

    def asks_region(self, answer: str) -> bool:
        """Tell whether an answer needs a region that somebody draws."""
        return answer == "ignore" and self.item.region is None

    def answer(self, name: str, *, region: Box | None = None) -> str:
        """Append an answer to the log, and return in words what became of it.

        Args:
            name: one of those of the item; not `edit`, see `save`.
            region: left, top, right and bottom in pixels, right and bottom outside; None: the item's own.

        Raises:
            UsageError: nobody's name is known, the item wasn't seen, it doesn't take this, or labels were made anew.
            DataError: a file that it needs can't be read.
        """
        return self._decide(name, {"region": region})

    def begin(self, base: int) -> LabelMap:
        """Begin a drawing, and return the (H, W) label to draw on.

        Args:
            base: one of `bases`.

        Raises:
            UsageError: nothing can be drawn on this item, or it wasn't seen.
        """
        if "edit" not in self.names or base not in self.bases or not self.panes:
            raise _impossible("an item to draw on", "one that isn't")
        height, width = self.panes[0].image.shape[:2]
        before = self.labels[base] if base >= 0 else np.full((height, width), IGNORE, np.uint8)
        self.begun = base, before
        return before.copy()

    def cancel(self) -> None:
        """Leave a drawing off."""
        self.begun = None

    def save(self, after: LabelMap) -> str:
        """Append a drawing to the log, and return in words what became of it.

        Args:
            after: the (H, W) label that `begin` gave, edited.

        Raises:
            UsageError: as `answer`; or nothing was begun, or drawn.
            DataError: a file that it needs can't be read.
        """
        if self.begun is None:
            raise _impossible("a drawing", "none that was begun")
        base, before = self.begun
        if np.array_equal(before, after):
            raise _impossible("a drawing", "nothing yet: what was drawn says what the label says")
        told = self._decide("edit", {"base": base}, Drawn.between(before, after))
        self.begun = None
        return told

    def undo(self) -> str:
        """Take the reviewer's last answer back, open its item, and return what became of it; errors as `show`."""
        self._check_name()
        place = self.desk.undo(self._name())
        if place is None:
            return "There is no answer of yours to take back."
        self.show(place)
        return f"Taken back: your answer to item {place + 1}."

    @property
    def names(self) -> list[str]:
        """The answers that the item takes."""
        return [answer["name"] for answer in self.described.get("answers", ())]

    @property
    def progress(self) -> str:
        """How far the queue is answered, in words."""
        known = self.desk.progress(self._name())
        mine = f", {known['mine']} by you" if self._name() else ""
        return f"{known['decided']} of {known['total']} answered{mine}"

    def _leave(self) -> None:
        self.place, self.described, self.panes, self._shown, self.begun = None, {}, (), (), None

    def _panes(self, item: Item, labels: Sequence[LabelMap]) -> tuple[Pane, ...]:
        """The picture as it is, then with each label laid over it; of a pair without labels, both."""
        pictures = [to_rgb8(self.desk.run.picture(image)) for image in item.images]
        if item.other_image is not None and item.transform in DIHEDRAL:
            pictures[1] = apply(pictures[1], item.transform)
        alone = pictures if not labels else pictures[:1]
        titles = self.described["names"]
        words = ("image",) if len(alone) == 1 else ("first", "second")
        found = [Pane(*said) for said in zip(titles, words, alone, strict=False)]
        for place, (suggestion, label) in enumerate(zip(item.suggestions, labels, strict=True)):
            picture = resize(pictures[min(place, len(pictures) - 1)], (label.shape[0], label.shape[1]))
            several = len(labels) > 1
            title = f"{'AB'[place]}: {suggestion.name}" if several else suggestion.name
            found.append(Pane(title, "AB"[place] if several else "with label", picture, label))
        return tuple(found)

    def _decide(self, name: str, more: dict[str, Any], drawn: Drawn | None = None) -> str:
        self._check_name()
        item, place = self.item, self.place
        if not self.panes and not self.can_be_blind(name):
            raise _impossible("an item that was seen", "one that can't be shown")
        said = {"item": item.key(self.desk.run.salt), "answer": name, "by": self.by, "shown": self._shown}
        self.desk.decide(read_reply(said | more), drawn)
        assert place is not None
        label = next(answer["label"] for answer in self.described["answers"] if answer["name"] == name)
        self.described = self.desk.described(place, self._name())
        return f"Saved: {label} (item {place + 1})."

    def _name(self) -> str:
        """Return the reviewer's name as the log has it; empty: unknown."""
        if not self.by.strip():
            return ""
        return self._reply().by

    def _reply(self) -> Reply:
        return read_reply({"item": "0" * 16, "answer": "undo", "by": self.by})

    def _check_name(self) -> None:
        if not self.by.strip():
            next_move = "type your name first: every answer says whose it is"
            raise UsageError(problem("a reviewer's name", "none", where="the review", next_move=next_move))


def _impossible(expected: str, got: str) -> UsageError:
    return UsageError(problem(expected, got, where="the review", next_move="answer what is shown, or go on"))

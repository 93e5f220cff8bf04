"""The desk: the queue, the log and who looks at what; every answer is on the disk before it is confirmed."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from maskwright.audit.masks import Answers
from maskwright.decisions import Decision, append_decisions, settled, standing
from maskwright.errors import DataError, MaskwrightError, UsageError, problem
from maskwright.review.agreement import given_answers
from maskwright.review.answers import answers_of, lines_of
from maskwright.review.drawing import Drawn
from maskwright.review.items import QUESTIONS, Item
from maskwright.review.log import LogReader
from maskwright.review.reply import Reply
from maskwright.review.source import Reviewed

LENT = 120.0
"""Seconds for which an item that one reviewer looks at isn't offered to another."""


@dataclass
class Desk:
    """Where reviewers get items and leave answers; safe to use from several threads, beside other processes.

    Attributes:
        run: what is reviewed.
        items: the queue.
        anonymous: whether file names are hidden.
    """

    run: Reviewed
    items: Sequence[Item]
    anonymous: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _lent: dict[int, tuple[str, float]] = field(default_factory=dict)
    _known: list[Decision] = field(default_factory=list)
    _stamp: tuple[int, int] = (-1, -1)
    _counting: dict[str, Answers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reader = LogReader(self.run.folder.decisions)
        self.keys = [item.key(self.run.salt) for item in self.items]
        self.places = {key: place for place, key in enumerate(self.keys)}

    def item(self, place: int) -> Item:
        """Return an item by its place.

        Raises:
            UsageError: there is none.
        """
        if not 0 <= place < len(self.items):
            expected = f"an item from 0 to {len(self.items) - 1}"
            raise UsageError(problem(expected, str(place), where="the queue", next_move="reload the page"))
        return self.items[place]

    def answers(self, place: int) -> Answers:
        """Return what counts beside the answers to one item, as `settled` does: everybody is asked the same of it."""
        with self._lock:
            self._refresh()
            key = self.keys[place]
            if key not in self._counting:  # of what is looked at now: pictures ask for it again
                self._counting = {key: settled(decision for decision in self._known if decision.item != key)}
            return self._counting[key]

    def described(self, place: int, by: str = "") -> dict[str, Any]:
        """Return what a page shows of an item, as plain data."""
        item = self.item(place)
        with self._lock:
            self._refresh()
            given = given_answers(self._known)
        key = self.keys[place]
        names = [self.title(image, which, place) for which, image in enumerate(item.images)]
        height, width = self.run.size(item.image)
        return {
            "place": place,
            "key": key,
            "kind": item.kind,
            "question": QUESTIONS[item.kind],
            "names": names,
            "detail": item.detail,
            "size": [width, height],
            "region": item.region,
            "suggestions": [suggestion.name for suggestion in item.suggestions],
            "answers": [vars(answer) for answer in answers_of(item, target=self.run.index.target)],
            "mine": given.get((by, key), ("", ""))[1],
            "others": sum(1 for name, of in given if of == key and name != by),
        }

    def title(self, image: str, which: int, place: int) -> str:
        """Return the name of an image as people may see it."""
        return f"image {place + 1}{'ab'[which]}" if self.anonymous else image

    def told(self, error: MaskwrightError) -> str:
        """Return what people may read of an error: messages about data name files."""
        hidden = self.anonymous and isinstance(error, DataError)
        return "a file of this item can't be read" if hidden else str(error)

    def next(self, by: str, *, second: bool = False, after: int = -1) -> int | None:
        """Return the next item that a reviewer is to look at, and keep it for them a while; None: all are answered.

        What is kept for others comes where nothing else is left.

        Args:
            by: the reviewer.
            second: also items that others have answered.
            after: place of the one before it; those before that come again at the end.
        """
        with self._lock:
            self._refresh()
            given, now = given_answers(self._known), time.monotonic()
            done = {item for name, item in given if second is False or name == by}
            lent = {place for place, (name, until) in self._lent.items() if name != by and until > now}
            left = [n for n, key in enumerate(self.keys) if key not in done]
            left.sort(key=lambda n: n <= after)
            place = next((n for n in left if second or n not in lent), next(iter(left), None))
            if place is not None and by:
                self._lent = {n: entry for n, entry in self._lent.items() if entry[0] != by and entry[1] > now}
                self._lent[place] = by, now + LENT
            return place

    def decide(self, reply: Reply, drawn: Drawn | None = None) -> str:
        """Append what an answer comes to, and return the answer's id. An id that the log has already changes nothing.

        Args:
            reply: the answer.
            drawn: of an edit: what was drawn, in the place of the reply's strokes.

        Raises:
            UsageError: there is no such item, or it doesn't take this answer.
            DataError: a file that it needs can't be read.
        """
        if reply.item not in self.places:
            next_move = "reload the page: the queue may have changed"
            raise UsageError(
                problem("an item of the queue", "one that isn't in it", where="the review", next_move=next_move)
            )
        reply = reply if reply.id else reply.model_copy(update={"id": secrets.token_hex(8)})
        place = self.places[reply.item]
        for last in (False, False, True):  # what is drawn is drawn while others may go on
            with self._lock:
                self._refresh()
                if self._has(reply.id):
                    return reply.id
                stamp = self._stamp
                answers = self.answers(place)
                if last:
                    return self._append(lines_of(self.run, self.items[place], reply, answers, drawn), reply.id)
            lines = lines_of(self.run, self.items[place], reply, answers, drawn)
            with self._lock:
                self._refresh()
                if self._has(reply.id):
                    return reply.id
                if stamp == self._stamp:
                    return self._append(lines, reply.id)
        raise AssertionError("the last time appends")

    def _has(self, name: str) -> bool:
        return any(decision.id == name for decision in self._known)

    def _append(self, lines: Sequence[Decision], name: str) -> str:
        append_decisions(self.run.folder.decisions, lines)
        return name

    def undo(self, by: str) -> int | None:
        """Take back a reviewer's last answer; return its item's place, None if there is none to take back.

        Raises:
            UsageError: it is about what isn't asked any more: nobody would see what was taken back.
        """
        with self._lock:
            self._refresh()
            gone = {decision.id for decision in self._known if decision.action == "undo"}
            mine = [d for d in self._known if d.by == by and d.item and d.action != "undo" and d.id not in gone]
            if not mine:
                return None
            if mine[-1].item not in self.places:
                raise self._out_of_sight(mine[-1])
            self.take_back(mine[-1].id, by)
            return self.places[mine[-1].item]

    def _out_of_sight(self, line: Decision) -> UsageError:
        about = "an image" if self.anonymous else line.image
        got = f"“{line.reason}”, of {about}, which isn't asked any more"
        undo = {"image": "" if self.anonymous else line.image, "action": "undo", "by": line.by, "id": line.id}
        next_move = f"to take it back all the same, append this line to decisions.jsonl: {json.dumps(undo)}"
        return UsageError(problem("a last answer to what is asked", got, where="the review", next_move=next_move))

    def take_back(self, name: str, by: str) -> bool:
        """Take back an answer by its id; return False if there is nothing of that reviewer's to take back."""
        with self._lock:
            self._refresh()
            gone = any(d.action == "undo" and d.id == name for d in self._known)
            line = next((d for d in self._known if d.id == name and d.by == by and d.action != "undo"), None)
            if gone or line is None:
                return False
            undo = Decision(image=line.image, action="undo", by=by, id=name, kind=line.kind)
            append_decisions(self.run.folder.decisions, [undo])
            return True

    def knows(self, name: str) -> bool:
        """Tell whether the log has an answer of this id."""
        with self._lock:
            self._refresh()
            return self._has(name)

    def given_to(self, item: str, by: str) -> list[Decision]:
        """Return the lines of a reviewer's answers to an item that nobody took back."""
        with self._lock:
            self._refresh()
            gone = {decision.id for decision in self._known if decision.action == "undo"}
            return [d for d in self._known if (d.item, d.by) == (item, by) and d.action != "undo" and d.id not in gone]

    def stands(self, name: str) -> bool:
        """Tell whether the answer of this id is the one that counts."""
        with self._lock:
            self._refresh()
            return any(decision.id == name for decision in standing(self._known))

    def progress(self, by: str = "") -> dict[str, int]:
        """Return how many items there are, how many anybody has answered, and how many this reviewer."""
        with self._lock:
            self._refresh()
            given = [(name, item) for name, item in given_answers(self._known) if item in self.places]
        mine = sum(1 for name, _ in given if name == by)
        return {"total": len(self.items), "decided": len({item for _, item in given}), "mine": mine}

    def log(self) -> list[Decision]:
        """Return the lines of the log."""
        with self._lock:
            self._refresh()
            return list(self._known)

    def _refresh(self) -> None:
        """Read the log if somebody wrote to it."""
        if (stamp := self.run.stamp()) != self._stamp:
            self._known, self._stamp = self._reader.read(), stamp
            self._counting = {}

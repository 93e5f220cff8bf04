"""The review without a server: one file that opens from disk and gives a file of answers back, and that taken in."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.artifacts import write_text
from maskwright.decisions import moment_of
from maskwright.errors import DataError, MaskwrightError, UsageError, problem
from maskwright.progress import track
from maskwright.review.agreement import given_answers
from maskwright.review.desk import Desk
from maskwright.review.page import SCRIPTS, STYLE, asset, page_of, shown_categories
from maskwright.review.pictures import digest_shown, image_bytes, label_bytes
from maskwright.review.reply import Reply, read_reply, tidied

SIDE = 768
"""Longer side of the pictures in the file, in pixels."""

_FORM = 1


@dataclass(frozen=True)
class Imported:
    """What became of a file of answers.

    Attributes:
        taken: answers that are in the log now.
        known: that were there before.
        refused: (item, why) of those that can't be taken.
        overruled: of those that were taken, how many don't count: somebody else answered later.
    """

    taken: int
    known: int
    refused: list[tuple[str, str]]
    overruled: int = 0


def write_static(desk: Desk, path: Path, *, most: int) -> int:
    """Write the first open items as one HTML file that asks nothing of any network; return how many it holds.

    Args:
        desk: whose queue.
        path: of the file.
        most: items at most.

    Raises:
        UsageError: the file stands already, or no item is open.
        DataError: none can be shown.
    """
    if path.exists():
        next_move = "give another name; nothing is overwritten"
        raise UsageError(problem("a new file", "one that is there", where=str(path), next_move=next_move))
    answered = {item for _, item in given_answers(desk.log())}
    places = [place for place, key in enumerate(desk.keys) if key not in answered]
    items = list[dict[str, Any]]()
    failed: Exception | None = None
    for place in track(places[:most], "review: write pictures", min(most, len(places))):
        try:
            items.append(_packed(desk, place, len(items)))
        except (DataError, OSError) as error:  # what can't be shown can't be answered
            failed = failed or error
    if not items:
        raise _nothing(desk, len(places), failed)
    made = hashlib.blake2b("".join(item["key"] for item in items).encode(), digest_size=8).hexdigest()
    data = {"made": made, "categories": shown_categories(desk.run.index.categories), "items": items}
    script = "\n".join(asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src blob: data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    policy += f"script-src 'sha256-{digest}'"
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # no name ends the element that holds it
    write_text(path, page_of(desk, inside={"policy": policy, "style": asset(STYLE), "script": script, "data": text}))
    return len(items)


def import_replies(desk: Desk, path: Path) -> Imported:
    """Take the answers of a file that such a page gave; those that the log has already are passed over.

    What was taken back on the page is taken back here. Of several people's answers to an item all are taken, and the
    one that was given last counts.

    Raises:
        UsageError: it is no such file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _strange(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise _strange(path, f"no whole JSON: {error}") from None
    if (
        not isinstance(value, dict)
        or value.get("maskwright_review") != _FORM
        or not isinstance(value.get("replies"), list)
    ):
        raise _strange(path, "another file")
    taken, known, refused, new = 0, 0, list[tuple[str, str]](), list[str]()
    entries = value["replies"]
    _check_whose(desk, path, entries)
    taken_back = {str(e["undo"]) for e in entries if isinstance(e, dict) and "undo" in e}
    for entry in entries:
        try:
            if isinstance(entry, dict) and "undo" in entry:
                did = desk.take_back(str(entry["undo"]), tidied(str(entry.get("by", ""))))
            else:
                reply = read_reply(entry)
                never = reply.id in taken_back and not desk.knows(reply.id)  # it came and went on that page
                did = not never and _take(desk, reply, new)
            taken, known = taken + did, known + (not did)
        except (MaskwrightError, OSError) as error:
            item = entry.get("item") if isinstance(entry, dict) else None
            refused.append((str(item)[:40], error.got if isinstance(error, MaskwrightError) else str(error)))
    return Imported(taken, known, refused, sum(not desk.stands(name) for name in new))


def _take(desk: Desk, reply: Reply, new: list[str]) -> bool:
    """Append an answer of a file, and its id to those that are new; return False if it is there already.

    Raises:
        UsageError: it can't be taken, or its reviewer has answered the item again since.
    """
    if reply.id and desk.knows(reply.id):
        return False
    given = moment_of(reply.time)
    if given is not None and given > datetime.datetime.now(datetime.UTC):  # a clock that is fast would win for good
        reply = reply.model_copy(update={"time": ""})
    for line in desk.given_to(reply.item, reply.by):
        later = moment_of(line.time)
        if given is not None and later is not None and later > given:
            got = f"one from {reply.time}, and {line.by} answered at {line.time}"
            next_move = "look at the item again: maskwright review"
            raise UsageError(problem("a reviewer's latest answer", got, where="the file", next_move=next_move))
    new.append(desk.decide(reply))
    return True


def _nothing(desk: Desk, left: int, failed: Exception | None) -> MaskwrightError:
    """Return why a page would hold no item."""
    where = "a run" if desk.anonymous else str(desk.run.folder.root)
    if failed is not None:
        told = desk.told(failed) if isinstance(failed, MaskwrightError) else type(failed).__name__
        got = f"none of {left}: {told.partition(chr(10))[0]}"
        next_move = "put the files back that the run was made of"
        return DataError(problem("items that can be shown", got, where=where, next_move=next_move))
    got = f"none: all {len(desk.items)} are answered" if desk.items else "none: nothing in this run is in doubt"
    next_move = "carry the answers out (maskwright run … --redo), which may bring up others"
    if not desk.items:
        next_move = "finish the run, if it was audited alone: its predictions bring up more"
    return UsageError(problem("items that are left to answer", got, where=where, next_move=next_move))


def _packed(desk: Desk, place: int, number: int) -> dict[str, Any]:
    """Return an item with its pictures, under its number in the file."""
    item, answers = desk.item(place), desk.answers(place)
    images = [image_bytes(desk.run, item, which, SIDE) for which in range(len(item.images))]
    labels = [label_bytes(desk.run, item, which, answers, SIDE) for which in range(len(item.suggestions))]
    digests = [digest_shown(desk.run, item, which, answers) for which in range(len(item.suggestions))]
    shown = desk.described(place) | {"place": number, "mine": "", "others": 0, "shown": digests}
    return shown | {"images": [_text(data) for data in images], "labels": [_text(data) for data in labels]}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _check_whose(desk: Desk, path: Path, entries: Sequence[object]) -> None:
    """Raise UsageError if none of a file's answers is to anything that this run asks, or has asked."""
    items = {str(entry["item"]) for entry in entries if isinstance(entry, dict) and "item" in entry}
    if items and items.isdisjoint(desk.places) and items.isdisjoint(line.item for line in desk.log()):
        got = f"to {len(items)} others: of another run, or of this one before it was made anew"
        next_move = "name the run whose page it was: maskwright review RUN --import FILE; or write the page again"
        raise UsageError(problem("answers to what this run asks", got, where=str(path), next_move=next_move))


def _strange(path: Path, got: str) -> UsageError:
    next_move = "give the file that the page saved: maskwright review RUN --import review-answers.json"
    return UsageError(problem("a file of answers of the review", got, where=str(path), next_move=next_move))

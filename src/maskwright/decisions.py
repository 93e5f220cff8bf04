"""One log of decisions by policies and by people, a JSON line each: what is kept, dropped, or masked otherwise.

A decision answers one question about one image: is it used, and what is its mask? The last answer to a question counts,
and people's answers count before the policies'. The log is only ever appended to by maskwright; people may append lines
and edit them. A policy's line carries a seal of its content, so that a line which somebody edited is told from one that
stands as the policy wrote it: it counts as that person's.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError

from maskwright.artifacts import atomic
from maskwright.errors import DataError, problem
from maskwright.recipe.spec import Spec

LOG = "decisions.jsonl"
"""Name of the log in a run folder."""

POLICY = "policy:"
"""What `by` begins with where a policy decided."""

Action = Literal[
    "keep",
    "drop",
    "own_mask",
    "use_mask_of",
    "consensus",
    "drawn_mask",
    "patch_mask",
    "shift_mask",
    "ignore_region",
    "belongs",
    "same",
    "not_same",
    "confirm",
    "undo",
]

QUESTIONS: dict[Action, str] = {
    "keep": "use",
    "drop": "use",
    "own_mask": "mask",
    "use_mask_of": "mask",
    "consensus": "mask",
    "drawn_mask": "mask",
    "patch_mask": "patch",
    "shift_mask": "shift",
    "ignore_region": "region",
    "belongs": "belongs",
    "same": "same",
    "not_same": "same",
    "confirm": "confirm",
    "undo": "undo",
}
"""Which question about an image each action answers; each region, other image, patch and item is one of its own."""

CHANGES = ("patch_mask", "shift_mask")
"""Actions that change the mask that counts without them; several do so in the order of the log."""

_BACK: dict[str, Action] = {"use": "keep", "mask": "own_mask"}
"""What a policy answers that has nothing more to say."""

_NEEDS: dict[Action, str] = {
    "use_mask_of": "other_image",
    "consensus": "others",
    "drawn_mask": "file",
    "patch_mask": "where",
    "shift_mask": "shift",
    "ignore_region": "region",
    "same": "other_image",
    "not_same": "other_image",
    "undo": "id",
}
"""Fields that a line must have beside its action."""

UNSEALED = {"time", "seal", "line", "sealed"}
"""Fields that say nothing of what was decided."""

_REVIEWED = {"file", "objects", "where", "shift", "made_by", "begun_with", "seen", "id", "item", "answer"}
"""Fields that no policy writes: a seal that was made before they were thought of holds."""


class Decision(Spec):
    """One line of the log."""

    image: str
    """The image, as the index has it."""
    action: Action
    """keep, drop: use it or not. own_mask: as the folder has it. use_mask_of: the mask of `other_image` under
    `transform`. consensus: what the masks of `others` agree on. drawn_mask: that in `file`. patch_mask: in the pixels
    of `where`, that in `file`, or nothing that counts; shift_mask: moved by `shift`; elsewhere, as without this line.
    ignore_region: the pixels in `region` don't count. belongs: it is no stranger. same, not_same: it shows what
    `other_image` shows, or not. confirm: somebody looked, and nothing is to change. undo: the lines with this `id`
    don't count."""
    by: str
    """A person's name, or `policy:NAME`."""
    kind: str = ""
    """The kind of finding that it is about."""
    other_image: str | None = None
    """The image it was compared with."""
    transform: str | None = None
    """The flip or turn that makes `other_image` look like `image`."""
    others: dict[str, str] = Field(default_factory=dict)
    """Image → the flip or turn that makes it look like `image`, itself included."""
    region: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom in pixels; right and bottom are outside."""
    file: str | None = None
    """A label file with category ids, in the run folder."""
    objects: str | None = None
    """Of a drawn_mask: a file of the numbers of its objects, in the run folder; 0 is none."""
    where: str | None = None
    """A file of pixels that count, not 0, in the run folder."""
    shift: tuple[int, int] | None = None
    """Pixels down and to the right; what comes in is ignored."""
    made_by: str = ""
    """Of a drawn_mask that nobody drew: what predicted it; of a patch_mask: on what prediction it was drawn. An image
    without a mask of its own is learned from by it, and never scored."""
    begun_with: str = ""
    """Of a mask that a person saved: the prediction that they began with. It counts as theirs, whole."""
    seen: str = ""
    """Of a drawn_mask that was predicted: a JSON file in the run folder with the images whose masks its networks have
    learned from. Only trainings that are scored on none of them learn from it; without it, none does."""
    id: str = ""
    """Of an answer in the review: its lines have the same."""
    item: str = ""
    """Which item of the review it answers."""
    answer: str = ""
    """What was answered there."""
    reason: str = ""
    """Why, in words."""
    value: float | None = None
    """The figure it rests on."""
    time: str = ""
    """When it was decided, ISO 8601."""
    seal: str = ""
    """Of a policy's line: hash of the rest of it."""
    line: int = 0
    """Its place in the file, from 1; 0: not from a file. Not written."""
    sealed: bool = False
    """Whether its seal holds, seen to when it is read. Not written."""

    @property
    def question(self) -> tuple[str, str]:
        """The image and what is asked about it."""
        asked = QUESTIONS[self.action]
        if asked == "same":
            first, second = sorted((self.image, self.other_image or ""))
            return first, f"same {second}"
        change = self.item or self.id or self.where or self.shift
        more = {
            "region": self.region,
            "confirm": self.item,
            "undo": self.id,
            "patch": change,
            "shift": change,
        }.get(asked)
        return self.image, asked if more is None else f"{asked} {more}"

    @property
    def by_policy(self) -> bool:
        """True if a policy decided and nobody changed the line since."""
        return self.by.startswith(POLICY) and (self.line == 0 or self.sealed)

    def told(self) -> str:
        """Return the decision in words."""
        object_of = {
            "use_mask_of": f" {self.other_image} ({self.transform})",
            "consensus": f" of {', '.join(self.others)}",
            "ignore_region": f" {self.region}",
            "drawn_mask": f" {self.file}",
            "patch_mask": f" {self.file or 'ignored'} in {self.where}",
            "shift_mask": f" {self.shift}",
            "same": f" as {self.other_image}",
            "not_same": f" as {self.other_image}",
        }.get(self.action, "")
        begun = f", begun with: {self.begun_with}" if self.begun_with else ""
        return f"{self.action}{object_of}, by {self.by}{begun}"


def read_decisions(path: Path) -> list[Decision]:
    """Return the lines of a log, none if there is no file.

    Raises:
        DataError: a line that is no decision; the message names it.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")  # names may hold what else counts as the end of a line
    return [parse_decision(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]


def settled(decisions: Iterable[Decision]) -> dict[tuple[str, str], Decision]:
    """Return question → the answer that counts; what was taken back doesn't. In the order of the log, policies first.

    Example:
        >>> drop = Decision(image="a.png", action="drop", by="policy:keep_finer")
        >>> keep = Decision(image="a.png", action="keep", by="Anna")
        >>> settled([keep, drop])["a.png", "use"].action
        'keep'
    """
    found: dict[tuple[str, str], Decision] = {}
    for decision in sorted(standing(decisions), key=lambda d: not d.by_policy):  # stable: people's last
        found.pop(decision.question, None)
        found[decision.question] = decision
    return found


def changes_of(answers: Mapping[tuple[str, str], Decision]) -> dict[str, list[Decision]]:
    """Return image → what changes its mask, in order; a mask that somebody drew after a change has it in it.

    Args:
        answers: as `settled` returns them.
    """
    found = dict[str, list[Decision]]()
    for decision in answers.values():
        if decision.action == "drawn_mask" and not decision.by_policy:
            found.pop(decision.image, None)
        elif decision.action in CHANGES:
            found.setdefault(decision.image, []).append(decision)
    return found


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the lines that nobody took back, without those that take back; of each item of the review the last answer.

    The last one is that of the latest time in whole seconds, of several the one that comes last in the log: a file of
    answers may be imported late. When it is taken back, the one before it counts again, whoever gave it.
    """
    known = list(decisions)
    gone = {decision.id for decision in known if decision.action == "undo"}
    left = [decision for decision in known if decision.id not in gone]
    last = dict[str, Decision]()
    for decision in left:
        if decision.item and decision.id and not _later(last.get(decision.item), decision):
            last[decision.item] = decision
    return [d for d in left if d.item not in last or last[d.item].id == d.id]


def moment_of(time: str) -> datetime.datetime | None:
    """Return when something was decided, to the second; None: the text says no time.

    Example:
        >>> moment_of("2026-01-02T03:04:05.678Z") == moment_of("2026-01-02T04:04:05+01:00")
        True
    """
    try:
        found = datetime.datetime.fromisoformat(time).replace(microsecond=0)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.astimezone()


def _later(first: Decision | None, second: Decision) -> bool:
    """Tell whether an answer was given later than one that comes after it in the log."""
    if first is None or first.time == second.time:
        return False
    one, two = moment_of(first.time), moment_of(second.time)
    return one is not None and two is not None and one > two


def append_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Append lines of people to a log at once, all or none; on return they are on the disk.

    Several processes may do so at the same time.
    """
    time = _now()
    with held(path):
        _append(path, "".join(_written(d if d.time else d.model_copy(update={"time": time})) + "\n" for d in decisions))


def record_policies(path: Path, decisions: Sequence[Decision]) -> int:
    """Append what policies decided to a log, so that it says what they say now; return the number of new lines.

    What stands there already isn't said twice. Of what policies said before and don't say any more, the log says that
    it no longer holds. People's lines stay as they are.

    Raises:
        DataError: the log has a line that is no decision.
    """
    with held(path):
        return _record(path, decisions)


def _record(path: Path, decisions: Sequence[Decision]) -> int:
    known = read_decisions(path)
    stand = settled(d for d in known if d.by_policy)
    now = {decision.question: decision for decision in decisions}
    gone = [
        Decision(image=old.image, action=_BACK[old.question[1]], by=old.by, kind=old.kind, reason="found no longer")
        for question, old in stand.items()
        if question not in now and old.action != _BACK[question[1]]
    ]
    sealed = [d.model_copy(update={"seal": _seal(d)}) for d in [*gone, *now.values()]]
    new = [d for d in sealed if d.question not in stand or stand[d.question].seal != d.seal]
    if new:
        time = _now()
        text = "".join(_written(d.model_copy(update={"time": time})) + "\n" for d in new)
        _append(path, text)
    return len(new)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep out others who write to a log, or beside it by this lock, until this one has."""
    folder = path.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)  # the log itself is replaced when it is written
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
        os.fsync(place)  # that the new log is the one of this name
    finally:
        os.close(place)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class _ChangedError(Exception):
    """Somebody else wrote to the log meanwhile."""


def _append(path: Path, text: str) -> None:
    """Append lines, all or none: a killed process leaves no line cut off, and what a person adds meanwhile stays."""
    path = path.resolve()  # a link stays one
    before = _bytes(path)
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(before + (b"" if before[-1:] in (b"", b"\n") else b"\n") + text.encode())
            if _bytes(path) != before:
                raise _ChangedError
    except _ChangedError:
        _append(path, text)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def parse_decision(line: str, path: Path, number: int) -> Decision:
    """Return a line of a log, which stands there at a place from 1 on.

    Raises:
        DataError: it is no decision; names file and place.
    """
    example = '{"image": "images/a.png", "action": "keep", "by": "Anna", "reason": "mine is right"}'
    try:
        decision = _validated(line)
    except ValidationError as error:
        faults = "; ".join(".".join(map(str, e["loc"])) + f" {e['msg']}".rstrip() for e in error.errors())
        next_move = f"mend or delete this line; a whole one is {example}"
        raise DataError(
            problem("a decision", f"{faults.strip()}", where=f"{path}, line {number}", next_move=next_move)
        ) from None
    needs = _NEEDS.get(decision.action)
    if needs is not None and not getattr(decision, needs):
        raise DataError(
            problem(
                f"{needs} beside the action {decision.action}",
                "none",
                where=f"{path}, line {number}",
                next_move=f"add {needs} to this line; the actions are {', '.join(get_args(Action))}",
            )
        )
    return decision.model_copy(update={"line": number})


@lru_cache(1 << 16)
def _validated(line: str) -> Decision:
    decision = Decision.model_validate_json(line)
    holds = decision.by.startswith(POLICY) and decision.seal == _seal(decision)
    return decision.model_copy(update={"sealed": holds})


def _written(decision: Decision) -> str:
    return json.dumps(decision.model_dump(exclude_defaults=True, exclude={"line", "sealed"}), ensure_ascii=False)


def _seal(decision: Decision) -> str:
    text = json.dumps(decision.model_dump(mode="json", exclude=UNSEALED | _REVIEWED), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

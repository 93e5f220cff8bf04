"""What people's lines in the log came to: which count, and why the others don't."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from maskwright.decisions import CHANGES, POLICY, Decision, changes_of, settled, standing


@dataclass(frozen=True)
class Effect:
    """A line of a person, or a policy's line that somebody edited.

    Attributes:
        line: its number in the log, from 1.
        image: which it is about.
        told: what it says, in words.
        idle: why nothing would be different without it; empty where something would.
    """

    line: int
    image: str
    told: str
    idle: str


def effects(
    decisions: Sequence[Decision], sizes: Mapping[str, tuple[int, int]], disputed: Collection[str]
) -> list[Effect]:
    """Return the effect of each line that is no policy's, in the order of the log.

    Args:
        decisions: as `read_decisions` returns them.
        sizes: image → width and height, of those in the index.
        disputed: images with a mask that another one contradicts; to keep one of them is an answer, whatever happens.

    Example:
        >>> drop = Decision(image="a.png", action="drop", by="Anna", line=1)
        >>> keep = Decision(image="a.png", action="keep", by="Ben", line=2)
        >>> [effect.idle for effect in effects([drop, keep], {"a.png": (4, 4)}, [])]
        ['line 2 answers the same question', 'nothing drops this image']
    """
    answers, policies = settled(decisions), settled(d for d in decisions if d.by_policy)
    people = [decision for decision in decisions if not decision.by_policy and decision.action != "undo"]
    stand = {decision.line for decision in standing(decisions)}

    def idle(decision: Decision) -> str:
        if decision.line not in stand:
            return "it was taken back, or answered again"
        return _idle(decision, answers, policies, sizes, disputed)

    return [Effect(d.line, d.image, _told(d), idle(d)) for d in people]


def _told(decision: Decision) -> str:
    edited = decision.by.startswith(POLICY)
    return decision.told() + (", a line that was edited" if edited else "")


def _idle(
    decision: Decision,
    answers: Mapping[tuple[str, str], Decision],
    policies: Mapping[tuple[str, str], Decision],
    sizes: Mapping[str, tuple[int, int]],
    disputed: Collection[str],
) -> str:
    if decision.action == "confirm":
        return "it says that nothing is to change"
    counts = answers[decision.question]
    if counts.line != decision.line:
        return f"line {counts.line} answers the same question"
    if decision.action in CHANGES and decision not in changes_of(answers).get(decision.image, ()):
        return f"line {answers[decision.image, 'mask'].line} gives the image another mask since"
    use, policy = answers.get((decision.image, "use")), policies.get(decision.question)
    if (
        decision.question[1].split()[0] in ("mask", "region", "patch", "shift")
        and use is not None
        and use.action == "drop"
    ):
        return f"line {use.line} drops the image"
    if decision.action == "keep" and (policy is None or policy.action != "drop") and decision.image not in disputed:
        return "nothing drops this image"
    if decision.action == "own_mask" and (policy is None or policy.action == "own_mask"):
        return "its own mask counts anyway"
    if decision.region is not None and decision.image in sizes:
        (left, top, right, bottom), (width, height) = decision.region, sizes[decision.image]
        if min(right, width) <= max(left, 0) or min(bottom, height) <= max(top, 0):
            return f"the region holds no pixel of the image, which has {width}×{height}"
    return ""

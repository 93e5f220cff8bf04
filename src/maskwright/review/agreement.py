"""How far reviewers agree: the share of items that two of them answered alike, and Cohen's kappa."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from maskwright.decisions import Decision

NAN = float("nan")


@dataclass(frozen=True)
class Agreement:
    """Of two reviewers.

    Attributes:
        first, second: their names.
        kind: of the items; empty: all.
        items: how many both answered.
        share: of these that they answered alike.
        kappa: Cohen's (1960): (share − chance) / (1 − chance), chance by how often each gives each answer; NaN where
            both always give one and the same.
    """

    first: str
    second: str
    kind: str
    items: int
    share: float
    kappa: float


def agreement(decisions: Iterable[Decision]) -> list[Agreement]:
    """Return how far each two reviewers agree, over all items and by kind; those without a common item are left out.

    Of several answers of one reviewer to one item the last counts; those that somebody took back don't. Two drawn masks
    are the same answer.

    Example:
        >>> say = lambda item, by, answer: Decision(
        ...     image="a.png", action="keep", by=by, kind="review:conflict", id=item + by, item=item, answer=answer
        ... )
        >>> lines = [say("1", "Anna", "a"), say("1", "Ben", "a"), say("2", "Anna", "a"), say("2", "Ben", "b")]
        >>> [(row.kind, row.items, row.share, row.kappa) for row in agreement(lines)]
        [('', 2, 0.5, 0.0), ('conflict', 2, 0.5, 0.0)]
    """
    given = given_answers(decisions)
    found = list[Agreement]()
    for first, second in combinations(sorted({by for by, _ in given}), 2):
        one, two = ({item: a for (by, item), a in given.items() if by == name} for name in (first, second))
        both = [(*one[item], two[item][1]) for item in one if item in two]
        for kind in ("", *sorted({kind for kind, *_ in both})):
            pairs = [(a, b) for of, a, b in both if kind in ("", of)]
            if pairs:
                found.append(Agreement(first, second, kind, len(pairs), _share(pairs), cohen_kappa(pairs)))
    return found


def given_answers(decisions: Iterable[Decision]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (reviewer, item) → (kind, answer), the last of each."""
    known = list(decisions)
    gone = {decision.id for decision in known if decision.action == "undo"}
    found = dict[tuple[str, str], tuple[str, str]]()
    for decision in known:
        if decision.item and decision.answer and decision.id not in gone:
            found.pop((decision.by, decision.item), None)  # the order is that of the last answers
            found[decision.by, decision.item] = decision.kind.removeprefix("review:"), decision.answer
    return found


def cohen_kappa(pairs: list[tuple[str, str]]) -> float:
    """Return Cohen's kappa of pairs of answers; NaN where chance alone would agree always."""
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[answer] * second[answer] for answer in first) / len(pairs) ** 2
    return (_share(pairs) - chance) / (1 - chance) if chance < 1 else NAN


def _share(pairs: list[tuple[str, str]]) -> float:
    return sum(a == b for a, b in pairs) / len(pairs)

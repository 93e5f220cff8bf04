"""Masks of one picture that contradict each other: which counts, decided between images that were compared directly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from maskwright.audit.copies import Pictures, agreement, fitted, label_of
from maskwright.audit.fineness import Scorer, fineness, fineness_on
from maskwright.audit.kin import Group, largest
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.decisions import Action, Decision
from maskwright.errors import DataError, problem
from maskwright.types import LabelMap

_VOTERS = 63
"""Masks that a consensus is sought of, at most; the first ones."""

Scores = dict[int, float]


def keep_finer(
    index: Index, group: Group, scorer: Scorer, pictures: Pictures, by: str
) -> tuple[list[Decision], dict[tuple[int, int], str]]:
    """Keep the masks of the highest scores; drop those that contradict one of them.

    Masks are scored on one picture, the largest, where it shows the same as theirs. One is dropped only if its own
    image shows the same as that of the mask that is kept: of three of which the first is like the second and the second
    like the third, the first and the third are compared, too. Masks are in memory two at a time.

    Returns:
        the decisions, and (first row, second row) → words on the scores of two masks in conflict.
    """
    scores: Scores = {}
    found = []
    for reference, members in _judged_together(index, group, pictures):
        scores |= _scores(index, group, scorer, reference, members)
        found += _drop_coarser(index, group, pictures, members, scores, by)
    for ends in [(c.pair.first, c.pair.second) for c in group.open_conflicts()]:  # that no third image shows both of
        if not group.dropped & {*ends}:
            scores |= _scores(index, group, scorer, largest(index, ends), ends)
            found += _drop_coarser(index, group, pictures, ends, scores, by)
    pairs = [(c.pair.first, c.pair.second) for c in group.copies if c.conflict]
    return found, {(a, b): _told(scores[a], scores[b]) for a, b in pairs}


def consensus(index: Index, group: Group, pictures: Pictures, by: str) -> list[Decision]:
    """Let the largest image keep what all masks of its picture agree on; the others show the same and go.

    Raises:
        DataError: instance maps, whose numbers can't be compared.
    """
    if index.target != "masks":
        raise DataError(
            problem(
                "semantic masks for the policy consensus",
                "instance maps, whose numbers can't be compared",
                where="audit.conflicts",
                next_move="choose another policy, such as --set audit.conflicts=keep_finer",
            )
        )
    found, images = [], index.images
    for chosen, members in _judged_together(index, group, pictures):
        if not _in_conflict(group, members):
            continue
        voters = [row for row in group.labelled if row != chosen and group.alike(chosen, row, pictures)]
        others = {images[row]: group.between(chosen, row) for row in sorted([chosen, *voters[: _VOTERS - 1]])}
        group.chosen.append(chosen)
        group.dropped |= {*members} - {chosen}
        reason = f"{len(others)} masks of one picture: what they agree on counts, the rest is ignored"
        found.append(
            Decision(image=images[chosen], action="consensus", by=by, kind="conflict", others=others, reason=reason)
        )
        gone = f"its mask is in the consensus of {images[chosen]}"
        found += [about(index, r, "drop", by, "conflict", gone, other=chosen) for r in members if r != chosen]
    return found


def about(
    index: Index,
    row: int,
    action: Action,
    by: str,
    kind: str,
    reason: str,
    *,
    other: int,
    value: float | None = None,
) -> Decision:
    """Return a decision about one row because of another."""
    return Decision(
        image=index.images[row],
        action=action,
        by=by,
        kind=kind,
        other_image=index.images[other],
        reason=reason,
        value=value,
    )


def _judged_together(index: Index, group: Group, pictures: Pictures) -> Iterator[tuple[int, list[int]]]:
    """Yield the disputed rows, those together that show the same as the largest of them, which comes first."""
    left = sorted(group.disputed)
    while left:
        reference = largest(index, left)
        members = [row for row in left if group.alike(reference, row, pictures)]
        yield reference, members
        done = {*members}
        left = [row for row in left if row not in done]


def _scores(index: Index, group: Group, scorer: Scorer, reference: int, rows: Sequence[int]) -> Scores:
    """Score masks on the image of one of them; equal ones once."""
    image = read_image(index.path(index.images[reference]))
    judge = fineness_on(image) if scorer is fineness else lambda mask: float(scorer(image, mask))
    known: dict[bytes, float] = {}
    scores = {}
    for row in rows:
        mask = np.ascontiguousarray(fitted(label_of(index, row), group.between(reference, row), image.shape))
        key = hashlib.blake2b(mask.tobytes(), digest_size=16).digest()
        if key not in known:
            known[key] = _finite(judge(mask), index.images[row])
        scores[row] = known[key]
    return scores


def _finite(score: float, name: str) -> float:
    if not np.isfinite(score):
        next_move = "let the function that audit.fineness names return a finite number"
        raise DataError(problem("a score of how fine a mask is", f"{score}", where=name, next_move=next_move))
    return score


def _drop_coarser(
    index: Index, group: Group, pictures: Pictures, rows: Sequence[int], scores: Scores, by: str
) -> list[Decision]:
    """Drop the rows that contradict the one of the highest score, and so on with those that are still in conflict."""
    found, waiting = [], [row for row in rows if row not in group.dropped]
    while len(waiting) > 1:
        best = max(waiting, key=lambda row: (_shown(scores[row]), -row))
        mask = label_of(index, best)
        lost = [r for r in waiting if r != best and _contradicts(index, group, pictures, best, mask, r)]
        group.chosen += [best] if lost else []
        group.dropped |= {*lost}
        for row in lost:
            reason = _reason(index.images[best], scores[best], scores[row])
            found.append(about(index, row, "drop", by, "conflict", reason, other=best, value=scores[row]))
        waiting = _in_conflict(group, [row for row in waiting if row != best])
    return found


def _contradicts(index: Index, group: Group, pictures: Pictures, best: int, mask: LabelMap, row: int) -> bool:
    """Tell whether a mask contradicts the best one; never where their images don't show the same."""
    if not group.alike(best, row, pictures):
        return False
    other = label_of(index, row)
    same = agreement(mask, fitted(other, group.between(best, row), mask.shape))
    return replace(same, resized=other.size != mask.size).conflicts(exact=group.identical(best, row))


def _in_conflict(group: Group, rows: Sequence[int]) -> list[int]:
    """Return those of the rows that contradict another one of them and aren't dropped."""
    known = {*rows}
    ends = [(c.pair.first, c.pair.second) for c in group.open_conflicts()]
    disputed = {row for pair in ends if known.issuperset(pair) for row in pair}
    return [row for row in rows if row in disputed]


def _reason(best: str, high: float, low: float) -> str:
    if _shown(high) == _shown(low):
        return f"a tie with the mask of {best}, which comes first: both score {high:.4g}"
    return f"the mask of {best} is finer: {high:.4g} against {low:.4g}"


def _told(first: float, second: float) -> str:
    if _shown(first) == _shown(second):
        return f"fineness {first:.4g} each, a tie"
    return f"fineness {first:.4g} and {second:.4g}"


def _shown(score: float) -> float:
    """Return a score as it is printed, so that what looks like a tie is one."""
    return float(f"{score:.4g}")

"""What the recipe's policies decide about copies: whose mask counts, which copy goes, who takes over a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from maskwright.audit.copies import (
    SAME_PICTURE,
    Copy,
    agreement,
    fitted,
    frames,
    label_of,
    same_pictures,
    shows_the_same,
)
from maskwright.audit.fineness import Scorer, load_scorer
from maskwright.audit.inspect import Inspection
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.decisions import POLICY, Action, Decision
from maskwright.errors import DataError, problem
from maskwright.progress import track
from maskwright.recipe.data import AuditSpec
from maskwright.types import IGNORE, LabelMap

_VOTERS = 63
"""Masks that a consensus is sought of, at most; the first ones."""


@dataclass
class _Group:
    """Images of one picture, and what is decided about them.

    Attributes:
        rows: of the index, ascending.
        copies: the pairs among them that are the same picture.
        labelled: rows with a mask that can be used.
        disputed: those of them whose mask another one contradicts.
        chosen: the row whose mask counts where masks were in conflict.
    """

    rows: list[int]
    copies: list[Copy]
    labelled: list[int]
    disputed: list[int]
    chosen: int | None = None
    dropped: set[int] = field(default_factory=set)


def decide(
    index: Index, inspections: Sequence[Inspection], copies: Sequence[Copy], spec: AuditSpec
) -> tuple[list[Decision], dict[tuple[int, int], str]]:
    """Return what the policies decide, at most one answer to a question, and what is said of conflicts.

    Args:
        index: labelled and unlabelled images.
        inspections: of its rows.
        copies: as `compare_copies` returns them.
        spec: the recipe's audit section.

    Returns:
        the decisions, and (first row, second row) → words on the scores that a conflict was decided by.

    Raises:
        DataError: a policy that the data doesn't allow.
    """
    found = _on_errors(index, inspections) if spec.on_error == "drop" else []
    told: dict[tuple[int, int], str] = {}
    groups = [_group(rows, inside, inspections) for rows, inside in same_pictures(len(index), copies)]
    scorer = load_scorer(spec.fineness) if spec.conflicts == "keep_finer" else None
    for group in track(groups, "decide about copies", len(groups)):
        if group.disputed:
            found += _on_conflict(index, group, spec, scorer, told)
        if spec.duplicates == "drop":
            found += _on_duplicates(index, inspections, group)
        if spec.inherit:
            found += _inherited(index, inspections, group)
    return found, told


def majority(masks: npt.NDArray[np.uint8]) -> LabelMap:
    """Return what most masks say, pixel by pixel.

    A category needs more than half of the masks that don't ignore the pixel; two that differ leave it ignored.

    Args:
        masks: (K, H, W) uint8 maps of category positions with `IGNORE`.

    Example:
        >>> majority(np.uint8([[[0, 1, 2, 9]], [[0, 2, 2, 255]], [[1, 0, 255, 255]]])).tolist()
        [[0, 255, 2, 9]]
    """
    ordered = np.sort(masks, axis=0)  # ignored ones last; who has more than half holds the middle
    votes = (masks != IGNORE).sum(axis=0)
    middle = np.minimum(votes // 2, len(masks) - 1)
    candidate = np.take_along_axis(ordered, middle[None], axis=0)[0]
    wins = 2 * (masks == candidate).sum(axis=0) > votes
    return np.where(wins & (votes > 0), candidate, np.uint8(IGNORE))


def _group(rows: list[int], copies: list[Copy], inspections: Sequence[Inspection]) -> _Group:
    labelled = [row for row in rows if inspections[row].pixels is not None and inspections[row].usable]
    disputed = {row for c in copies if c.conflict for row in (c.pair.first, c.pair.second)}
    return _Group(rows, copies, labelled, [row for row in labelled if row in disputed])


def _on_errors(index: Index, inspections: Sequence[Inspection]) -> list[Decision]:
    images = index.images
    return [
        Decision(image=images[row], action="drop", by=f"{POLICY}on_error", kind=fault.kind, reason=fault.detail)
        for row, inspection in enumerate(inspections)
        for fault in [f for f in inspection.faults if f.severity == "error"][:1]
    ]


def _on_conflict(
    index: Index, group: _Group, spec: AuditSpec, scorer: Scorer | None, told: dict[tuple[int, int], str]
) -> list[Decision]:
    by = f"{POLICY}{spec.conflicts}"
    if spec.conflicts == "keep_finer":
        assert scorer is not None
        return _keep_finer(index, group, scorer, by, told)
    if spec.conflicts == "consensus":
        return _consensus(index, group, by)
    if spec.conflicts == "ask":
        return []
    action: Action = "keep" if spec.conflicts == "keep_both" else "drop"
    reason = "its copy has another mask" + ("; both stay, in one fold" if action == "keep" else "; both go")
    group.dropped |= set(group.disputed) if action == "drop" else set()
    opponents = {a: b for c in group.copies if c.conflict for a, b in _both_ways(c)}
    return [_about(index, row, action, by, "conflict", reason, other=opponents[row]) for row in group.disputed]


def _keep_finer(
    index: Index, group: _Group, scorer: Scorer, by: str, told: dict[tuple[int, int], str]
) -> list[Decision]:
    """Keep the mask of the highest score, all judged on the same picture; drop those that contradict it."""
    reference = _largest(index, group.disputed)
    image, into = read_image(index.path(index.images[reference])), frames(group.copies, reference)
    masks = {row: fitted(label_of(index, row), into[row], image.shape) for row in group.disputed}
    scores = {row: _scored(scorer, image, mask, index.images[row]) for row, mask in masks.items()}
    best = max(group.disputed, key=lambda row: (scores[row], -row))
    group.chosen = best
    exact = {frozenset(ends) for c in group.copies if c.exact for ends in _both_ways(c)}
    sizes = {row: sorted((index.table["width"][row], index.table["height"][row])) for row in group.disputed}
    found = []
    for row in (r for r in group.disputed if r != best):
        same = replace(agreement(masks[best], masks[row]), resized=sizes[row] != sizes[best])
        if same.conflicts(exact=frozenset((row, best)) in exact):
            group.dropped.add(row)
            reason = f"the mask of {index.images[best]} is finer: {scores[best]:.4g} against {scores[row]:.4g}"
            found.append(_about(index, row, "drop", by, "conflict", reason, other=best, value=scores[row]))
    for ends in ((c.pair.first, c.pair.second) for c in group.copies if c.conflict):
        told[ends] = f"fineness {scores[ends[0]]:.4g} and {scores[ends[1]]:.4g}"
    return found


def _scored(scorer: Scorer, image: npt.NDArray[np.generic], mask: LabelMap, name: str) -> float:
    score = float(scorer(image, mask))
    if not np.isfinite(score):
        next_move = "let the function that audit.fineness names return a finite number"
        raise DataError(problem("a score of how fine a mask is", f"{score}", where=name, next_move=next_move))
    return score


def _consensus(index: Index, group: _Group, by: str) -> list[Decision]:
    """Let the largest image keep what all masks agree on; the others show the same and go."""
    if index.target != "masks":
        raise DataError(
            problem(
                "semantic masks for the policy consensus",
                "instance maps, whose numbers can't be compared",
                where="audit.conflicts",
                next_move="choose another policy, such as --set audit.conflicts=keep_finer",
            )
        )
    voters = group.labelled[:_VOTERS]
    chosen = _largest(index, [row for row in group.disputed if row in voters])
    group.chosen, group.dropped = chosen, {row for row in group.disputed if row != chosen}
    into = frames(group.copies, chosen)
    others = {index.images[row]: into[row] for row in voters}
    images = index.images
    reason = f"{len(others)} masks of one picture: what they agree on counts, the rest is ignored"
    kept = Decision(image=images[chosen], action="consensus", by=by, kind="conflict", others=others, reason=reason)
    gone = f"its mask is in the consensus of {images[chosen]}"
    return [kept, *(_about(index, r, "drop", by, "conflict", gone, other=chosen) for r in sorted(group.dropped))]


def _on_duplicates(index: Index, inspections: Sequence[Inspection], group: _Group) -> list[Decision]:
    """Keep one image of a picture: labelled if there is one, the one whose mask counts first."""
    open_ones = group.disputed if group.chosen is None else []  # their masks are all kept, or a person decides
    left = [r for r in group.rows if r not in group.dropped and r not in open_ones and inspections[r].usable]
    if len(left) < 2:
        return []
    first = _largest(index, [row for row in left if row in group.labelled] or left)
    kept = group.chosen if group.chosen is not None else first
    into = frames(group.copies, kept)
    gone = [row for row in left if row != kept and shows_the_same(index, kept, row, into[row])]
    group.dropped |= set(gone)
    reason = f"a copy of {index.images[kept]}"
    return [_about(index, row, "drop", f"{POLICY}drop", "duplicate", reason, other=kept) for row in gone]


def _inherited(index: Index, inspections: Sequence[Inspection], group: _Group) -> list[Decision]:
    """Give the unlabelled images the mask of a copy: one that is kept and that no other mask contradicts."""
    givers = [r for r in group.labelled if r not in group.dropped and (r not in group.disputed or r == group.chosen)]
    takers = [r for r in group.rows if r not in group.dropped and inspections[r].usable and not _has_label(index, r)]
    near = {frozenset(ends): c.pair.correlation + c.exact for c in group.copies for ends in _both_ways(c)}
    found = []
    for taker in takers if givers else ():
        into = frames(group.copies, taker)
        giver = max(givers, key=lambda row: (near.get(frozenset((row, taker)), SAME_PICTURE), -row))
        if shows_the_same(index, taker, giver, into[giver]):
            turned = "" if into[giver] == "identity" else f" ({into[giver]})"
            reason = f"the same picture as {index.images[giver]}{turned}, whose mask fits"
            decision = _about(index, taker, "use_mask_of", f"{POLICY}inherit", "duplicate", reason, other=giver)
            found.append(decision.model_copy(update={"transform": into[giver]}))
    return found


def _about(
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
    return Decision(
        image=index.images[row],
        action=action,
        by=by,
        kind=kind,
        other_image=index.images[other],
        reason=reason,
        value=value,
    )


def _both_ways(copy: Copy) -> tuple[tuple[int, int], tuple[int, int]]:
    return (copy.pair.first, copy.pair.second), (copy.pair.second, copy.pair.first)


def _has_label(index: Index, row: int) -> bool:
    return index.table[index.label_column][row] is not None


def _largest(index: Index, rows: Sequence[int]) -> int:
    """Return the row with the most pixels, the first of equals."""
    sizes: Mapping[int, int] = {row: index.table["width"][row] * index.table["height"][row] for row in rows}
    return max(rows, key=lambda row: (sizes[row], -row))

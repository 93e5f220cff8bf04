"""What the recipe's policies decide about copies: whose mask counts, which copy goes, who takes over a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskwright.audit.conflicts import about, consensus, keep_finer
from maskwright.audit.copies import Copy, Pictures, same_pictures
from maskwright.audit.fineness import Scorer, load_scorer
from maskwright.audit.inspect import Inspection
from maskwright.audit.kin import Group, largest
from maskwright.data.index import Index
from maskwright.decisions import POLICY, Action, Decision
from maskwright.progress import track
from maskwright.recipe.data import AuditSpec
from maskwright.types import IGNORE, LabelMap


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
    pictures = Pictures(index)
    found = _on_errors(index, inspections) if spec.on_error == "drop" else []
    told: dict[tuple[int, int], str] = {}
    groups = [_group(rows, inside, inspections) for rows, inside in same_pictures(len(index), copies)]
    scorer = load_scorer(spec.fineness) if spec.conflicts == "keep_finer" else None
    for group in track(groups, "decide about copies", len(groups)):
        if group.disputed:
            found += _on_conflict(index, group, spec, scorer, pictures, told)
        if spec.duplicates == "drop":
            found += _on_duplicates(index, inspections, group, pictures)
        if spec.inherit:
            found += _inherited(index, inspections, group, pictures)
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


def _group(rows: list[int], copies: list[Copy], inspections: Sequence[Inspection]) -> Group:
    labelled = [row for row in rows if inspections[row].pixels is not None and inspections[row].usable]
    disputed = {row for c in copies if c.conflict for row in (c.pair.first, c.pair.second)}
    group = Group(rows, copies, labelled, [])
    disputed |= {row for row, equal in group.equals.items() if equal & disputed}  # of a crowd not every pair is listed
    group.disputed = [row for row in labelled if row in disputed]
    return group


def _on_errors(index: Index, inspections: Sequence[Inspection]) -> list[Decision]:
    images = index.images
    return [
        Decision(image=images[row], action="drop", by=f"{POLICY}on_error", kind=fault.kind, reason=fault.detail)
        for row, inspection in enumerate(inspections)
        for fault in [f for f in inspection.faults if f.severity == "error"][:1]
    ]


def _on_conflict(
    index: Index,
    group: Group,
    spec: AuditSpec,
    scorer: Scorer | None,
    pictures: Pictures,
    told: dict[tuple[int, int], str],
) -> list[Decision]:
    by = f"{POLICY}{spec.conflicts}"
    if spec.conflicts == "keep_finer":
        assert scorer is not None
        found, words = keep_finer(index, group, scorer, pictures, by)
        told.update(words)
        return found
    if spec.conflicts == "consensus":
        return consensus(index, group, pictures, by)
    if spec.conflicts == "ask":
        return []
    action: Action = "keep" if spec.conflicts == "keep_both" else "drop"
    reason = "its copy has another mask" + ("; both stay, in one fold" if action == "keep" else "; both go")
    group.dropped |= set(group.disputed) if action == "drop" else set()
    opponents = {a: b for c in group.copies if c.conflict for a, b in _both_ways(c)}
    for row in [row for row in group.disputed if row not in opponents]:  # its mask is that of one with an opponent
        opponents[row] = next(opponents[equal] for equal in sorted(group.equals[row]) if equal in opponents)
    return [about(index, row, action, by, "conflict", reason, other=opponents[row]) for row in group.disputed]


def _on_duplicates(index: Index, inspections: Sequence[Inspection], group: Group, pictures: Pictures) -> list[Decision]:
    """Keep one image of a picture: labelled if there is one, one whose mask won first."""
    open_ones = _open_rows(group)  # their masks are all kept, or a person decides
    left = [r for r in group.rows if r not in group.dropped and r not in open_ones and inspections[r].usable]
    if len(left) < 2:
        return []
    labelled = {*group.labelled}
    first = largest(index, [row for row in left if row in labelled] or left)
    kept = next((row for row in group.chosen if row in left), first)
    gone = [row for row in left if row != kept and group.alike(kept, row, pictures)]
    group.dropped |= set(gone)
    reason = f"a copy of {index.images[kept]}"
    return [about(index, row, "drop", f"{POLICY}drop", "duplicate", reason, other=kept) for row in gone]


def _inherited(index: Index, inspections: Sequence[Inspection], group: Group, pictures: Pictures) -> list[Decision]:
    """Give the unlabelled images the mask of a copy: one that is kept and that no other mask contradicts.

    A copy that it was compared with comes first, the one most alike; else the first of all, if it shows the same.
    """
    open_ones = _open_rows(group)
    givers = [row for row in group.labelled if row not in group.dropped and row not in open_ones]
    takers = [r for r in group.rows if r not in group.dropped and inspections[r].usable and not _has_label(index, r)]
    able, found = {*givers}, []
    for taker in takers if givers else ():
        near = {row: alike for row, alike in group.neighbours[taker].items() if row in able}
        giver = max(near, key=lambda row: (near[row], -row)) if near else givers[0]
        if group.alike(taker, giver, pictures):
            turn = group.between(taker, giver)
            turned = "" if turn == "identity" else f" ({turn})"
            reason = f"the same picture as {index.images[giver]}{turned}, whose mask fits"
            decision = about(index, taker, "use_mask_of", f"{POLICY}inherit", "duplicate", reason, other=giver)
            found.append(decision.model_copy(update={"transform": turn}))
    return found


def _open_rows(group: Group) -> set[int]:
    return {row for copy in group.open_conflicts() for row in (copy.pair.first, copy.pair.second)}


def _both_ways(copy: Copy) -> tuple[tuple[int, int], tuple[int, int]]:
    return (copy.pair.first, copy.pair.second), (copy.pair.second, copy.pair.first)


def _has_label(index: Index, row: int) -> bool:
    return index.table[index.label_column][row] is not None

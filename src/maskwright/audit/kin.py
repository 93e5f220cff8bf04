"""Images of one picture: how each is turned against the others, and what is known of two of them directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from maskwright.audit.copies import Copy, Pictures, frames
from maskwright.audit.duplicates import clusters
from maskwright.augment.dihedral import compose, inverse
from maskwright.data.index import Index


@dataclass
class Group:
    """Images of one picture, and what is decided about them.

    They hang together by pairs that were compared, which of a crowd are few; two that are not among these may differ
    by what each step lets pass, so that `alike` compares them before one's mask is judged by the other's.

    Attributes:
        rows: of the index, ascending.
        copies: the pairs among them that are the same picture.
        labelled: rows with a mask that can be used.
        disputed: those of them whose mask another one contradicts.
        chosen: rows whose mask won against another one, the first one first.
        dropped: rows that go.
    """

    rows: list[int]
    copies: list[Copy]
    labelled: list[int]
    disputed: list[int]
    chosen: list[int] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)

    def between(self, row: int, other: int) -> str:
        """Return the flip or turn that makes the `other` image look like that of the row."""
        if row == other or self.identical(row, other):
            return "identity"
        known = self._links.get((row, other))
        return compose(self._into[other], inverse(self._into[row])) if known is None else known

    def identical(self, row: int, other: int) -> bool:
        """Tell whether two images have the same pixels."""
        return self._classes.get(row, row) == self._classes.get(other, other)

    def alike(self, row: int, other: int, pictures: Pictures) -> bool:
        """Tell whether one mask must fit two images: they are identical, or were compared, or are compared now."""
        if row == other or self.identical(row, other) or (row, other) in self._links:
            return True
        return pictures.same(row, other, self.between(row, other))

    def open_conflicts(self) -> list[Copy]:
        """Return the pairs with contradicting masks of which neither goes."""
        return [c for c in self.copies if c.conflict and not {c.pair.first, c.pair.second} & self.dropped]

    @cached_property
    def neighbours(self) -> dict[int, dict[int, float]]:
        """Row → the rows that it was compared with → how alike they are; pixel-identical ones before all others."""
        found: dict[int, dict[int, float]] = {row: {} for row in self.rows}
        for copy in self.copies:
            first, second = copy.pair.first, copy.pair.second
            found[first][second] = found[second][first] = copy.pair.correlation + copy.exact
        return found

    @cached_property
    def equals(self) -> dict[int, set[int]]:
        """Row → rows that it was compared with that have its pixels and its mask."""
        found: dict[int, set[int]] = {}
        for copy in self.copies:
            if copy.exact and copy.agreement is not None and not copy.conflict:
                found.setdefault(copy.pair.first, set()).add(copy.pair.second)
                found.setdefault(copy.pair.second, set()).add(copy.pair.first)
        return found

    @cached_property
    def _links(self) -> dict[tuple[int, int], str]:
        pairs = [(copy.pair.first, copy.pair.second, copy.pair.transform) for copy in self.copies]
        return {(a, b): turn for a, b, turn in pairs} | {(b, a): inverse(turn) for a, b, turn in pairs}

    @cached_property
    def _into(self) -> dict[int, str]:
        return frames(self.copies, self.rows[0])

    @cached_property
    def _classes(self) -> dict[int, int]:
        """Row → the first row that has its pixels; being equal is handed on from pair to pair."""
        exact = [(copy.pair.first, copy.pair.second) for copy in self.copies if copy.exact]
        place = {row: number for number, row in enumerate(self.rows)}
        groups = clusters(len(self.rows), [(place[a], place[b]) for a, b in exact])
        return {self.rows[member]: self.rows[group[0]] for group in groups for member in group}


def largest(index: Index, rows: Sequence[int]) -> int:
    """Return the row with the most pixels, the first of equals."""
    sizes = {row: index.table["width"][row] * index.table["height"][row] for row in rows}
    return max(rows, key=lambda row: (sizes[row], -row))

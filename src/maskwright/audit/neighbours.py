"""Near pairs among many hashes: hashes that differ in few bits agree, or almost, in one of a few fields of bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.augment.dihedral import DIHEDRAL

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]

_BITS = 64
_TRANSFORMS = len(DIHEDRAL)

_TILE = 512
"""Hashes a side of one tile of the distance table: 2 MiB of XOR, which stay near the processor."""

_ROWS = 4096
"""Images whose buckets are looked up at a time."""

_CHUNK = 1 << 20
"""Candidates compared at a time: some 50 MiB of positions, hashes and distances."""

_WIDEST = 24
"""Bits of a field at most: its table of buckets has 2^24 entries, 64 MiB."""

_SAMPLE = 20_000
"""Hashes from which is told how evenly each bit is 0 and 1."""

_PAIR, _CANDIDATE, _LOOKUP, _BUCKET, _SORTED = 2.0, 9.0, 16.0, 3.0, 60.0
"""Nanoseconds, roughly: to compare one hash in a tile or as a candidate, to look one bucket up, for each bucket of a
field's table, and to sort one hash into it. Only their ratios matter, and only for which way is taken."""


class Field(NamedTuple):
    """Neighbouring bits of a hash, in which a near one differs by no more than `tolerance`."""

    shift: int
    width: int
    tolerance: int


def near_pairs(table: Hashes, radius: int) -> Pairs:
    """Return every pair of images of which one, flipped or turned, hashes like the other.

    A pair i < j is near if the hash of image j under some transform is at most `radius` bits from the hash of image i
    as it is. Memory grows with the answer, not with the square of N.

    Args:
        table: (N, 8) uint64 from `hashes`.
        radius: bits, 0..64.

    Returns:
        (P, 4) int64 rows (i, j, index into `DIHEDRAL`, distance in bits), sorted by i, then j. Each pair is there once,
        with its nearest transform (of equally near ones the first).
    """
    pairs = np.concatenate([np.empty((0, 4), np.int64), *near_pair_blocks(table, radius)])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def near_pair_blocks(table: Hashes, radius: int) -> Iterator[Pairs]:
    """Yield the rows of `near_pairs` in blocks of at most about a million, in no particular order.

    A crowd of like images has a pair for every two of them: who takes the blocks one by one need not keep them all.
    Small tables, and radii too large for anything else, are compared all with all. Otherwise the bits are parted into
    fields so that two hashes within `radius` bits are within the tolerance of one field at least (`choose_fields`), and
    only those hashes are compared.

    Args:
        table: (N, 8) uint64 from `hashes`.
        radius: bits, 0..64.
    """
    fields = choose_fields(len(table), radius)
    return _by_fields(table, radius, fields) if fields else _all_with_all(table, radius)


def choose_fields(n: int, radius: int) -> tuple[Field, ...]:
    """Return the fields by which near pairs of n images are found with the least work; none: by comparing all.

    Fields with tolerances t₁ … tₘ miss nothing if Σ (tₖ + 1) > radius: a pair beyond every tolerance differs in
    Σ (tₖ + 1) bits or more (the general pigeonhole principle: Qin et al., GPH, ICDE 2018). Few wide fields give few
    candidates, but each tolerated bit multiplies the buckets to look up.

    Example:
        >>> [tuple(field) for field in choose_fields(1_000_000, 6)]
        [(0, 24, 2), (24, 20, 1), (44, 20, 1)]
    """
    best: tuple[Field, ...] = ()
    least = _PAIR * _TRANSFORMS / 2 * n**2
    for count in range(1, radius + 2):
        for wide in range(1, _WIDEST + 1):
            fields = _parted(count, wide, radius)
            if fields and (cost := sum(_cost(field, n) for field in fields)) < least:
                best, least = fields, cost
    return best


def _parted(count: int, wide: int, radius: int) -> tuple[Field, ...]:
    """Return `count` fields that miss nothing; none is wider than `wide`, and those that tolerate more are that."""
    tolerance, more = divmod(radius - count + 1, count)
    narrow = min(wide, (_BITS - more * wide) // (count - more))
    if narrow < 1:
        return ()
    widths = [wide] * more + [narrow] * (count - more)
    shifts = np.cumsum([0, *widths]).tolist()
    return tuple(Field(shifts[k], width, tolerance + (k < more)) for k, width in enumerate(widths))


def _cost(field: Field, n: int) -> float:
    """Return the expected nanoseconds of one field, for hashes at random."""
    masks, buckets, hashes = _masks(field), 1 << field.width, _TRANSFORMS * n
    return n * masks * (_LOOKUP + _CANDIDATE * hashes / buckets) + _BUCKET * buckets + _SORTED * hashes


def _masks(field: Field) -> int:
    return sum(comb(field.width, bits) for bits in range(field.tolerance + 1))


def _all_with_all(table: Hashes, radius: int) -> Iterator[Pairs]:
    for start in range(0, len(table), _TILE):
        for other in range(start, len(table), _TILE):
            yield _near_in_tile(table, start, other, radius)


def _near_in_tile(table: Hashes, start: int, other: int, radius: int) -> Pairs:
    """Return the near pairs of the blocks of images that begin at `start` and at `other`."""
    rows, columns = table[start : start + _TILE, :1], table[other : other + _TILE]
    found = []
    for transform in range(_TRANSFORMS):
        near = np.flatnonzero(np.bitwise_count(rows ^ columns[:, transform]) <= radius)
        first, second = np.divmod(near, len(columns))
        found.append(_nearest(table, first + start, second + other, transform))
    return np.concatenate(found)


def _nearest(table: Hashes, first: Any, second: Any, transform: Any) -> Pairs:
    """Return rows (i, j, transform, bits) of those pairs with i < j whose nearest transform is the given one."""
    transform = np.broadcast_to(np.asarray(transform), first.shape)
    ordered = first < second
    first, second, transform = first[ordered], second[ordered], transform[ordered]
    bits = np.bitwise_count(table[first, :1] ^ table[second])
    kept = bits.argmin(axis=1) == transform
    rows = (first[kept], second[kept], transform[kept], bits.min(axis=1)[kept])
    return np.stack([np.asarray(column, np.int64) for column in rows], axis=1)


def _by_fields(table: Hashes, radius: int, fields: tuple[Field, ...]) -> Iterator[Pairs]:
    table = _dealt(table, fields)
    for place, field in enumerate(fields):
        buckets, masks = _Buckets.of(table, field), _flips(field)
        order = np.argsort(_values(table[:, 0], field))  # neighbours look up neighbouring buckets, near the processor
        for rows in np.split(order, range(_ROWS, len(order), _ROWS)):
            for owner, entry in _near_entries(table[rows, 0], buckets, masks, radius):
                second, transform = np.divmod(entry, _TRANSFORMS)
                pairs = _nearest(table, rows[owner], second, transform)
                yield pairs[~_seen(table, pairs, fields[:place])]


def _seen(table: Hashes, pairs: Pairs, earlier: tuple[Field, ...]) -> npt.NDArray[np.bool_]:
    """Return which pairs an earlier field has found already."""
    differing = table[pairs[:, 0], 0] ^ table[pairs[:, 1], pairs[:, 2]]
    seen = np.zeros(len(pairs), bool)
    for field in earlier:
        seen |= np.bitwise_count(_values(differing, field)) <= field.tolerance
    return seen


@dataclass(frozen=True)
class _Buckets:
    """All hashes of a table, sorted by what stands in one field.

    Attributes:
        field: the field.
        starts: (2^width + 1,) where the hashes of each value begin.
        hashes: (8 N,) uint64.
        entries: (8 N,) their positions in the flat table.
    """

    field: Field
    starts: npt.NDArray[Any]
    hashes: Hashes
    entries: npt.NDArray[Any]

    @classmethod
    def of(cls, table: Hashes, field: Field) -> _Buckets:
        """Sort the hashes of a table."""
        flat = table.reshape(-1)
        small = len(flat) < 1 << 31
        values = _values(flat, field)
        counts = np.bincount(values, minlength=1 << field.width)
        starts = np.zeros(len(counts) + 1, np.int32 if small else np.int64)
        np.cumsum(counts, out=starts[1:])
        places = np.uint64(_BITS - field.width)  # value above, position below: sorting numbers beats sorting indices
        packed = (values.astype(np.uint64) << places) | np.arange(len(flat), dtype=np.uint64)
        packed.sort()
        entries = packed & ((np.uint64(1) << places) - np.uint64(1))
        return cls(field, starts, flat[entries], entries.astype(np.uint32) if small else entries)


def _near_entries(
    hashes: Hashes, buckets: _Buckets, masks: npt.NDArray[np.int32], radius: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield which of the `hashes` are within `radius` of which entries, as two arrays of positions."""
    keys = (masks[:, None] ^ _values(hashes, buckets.field)).reshape(-1)
    begin = buckets.starts[keys]
    count = buckets.starts[keys + 1] - begin
    filled = np.flatnonzero(count)
    begin, count, owner = begin[filled], count[filled].astype(np.int64), filled % len(hashes)
    ends = np.cumsum(count)
    low = 0
    while low < len(ends):
        done = int(ends[low - 1]) if low else 0
        high = max(int(np.searchsorted(ends, done + _CHUNK, "right")), low + 1)
        part, upto = slice(low, high), ends[low:high] - done
        offset = begin[part] - (upto - count[part])
        place = np.arange(upto[-1]) + np.repeat(offset, count[part])
        differing = buckets.hashes[place] ^ np.repeat(hashes[owner[part]], count[part])
        near = np.flatnonzero(np.bitwise_count(differing) <= radius)
        yield owner[part][np.searchsorted(upto, near, "right")], buckets.entries[place[near]].astype(np.int64)
        low = high


def _values(hashes: Hashes, field: Field) -> npt.NDArray[np.int32]:
    """Return what stands in the field."""
    return ((hashes >> np.uint64(field.shift)) & np.uint64((1 << field.width) - 1)).astype(np.int32)


def _flips(field: Field) -> npt.NDArray[np.int32]:
    """Return every pattern of at most `tolerance` bits in a field."""
    patterns = np.zeros(1, np.int32)
    for _ in range(field.tolerance):
        patterns = np.unique(patterns[:, None] ^ np.append(0, 1 << np.arange(field.width)).astype(np.int32))
    few = np.bitwise_count(patterns) <= field.tolerance
    return patterns[few]


def _dealt(table: Hashes, fields: tuple[Field, ...]) -> Hashes:
    """Return the table with the bits of all hashes in another order, which changes no distance.

    Bits are dealt to the fields in turn, the most even first, so that every field tells hashes apart: bits that nearly
    all images share are worth nothing as a key.
    """
    sample = table.reshape(-1)[:: max(table.size // _SAMPLE, 1)]
    one = ((sample[:, None] >> np.arange(_BITS, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    even = np.argsort(np.abs(one - 0.5), kind="stable")
    turns = sorted((k / field.width, field.shift + k) for field in fields for k in range(field.width))
    taken = [place for _, place in turns]
    target = np.empty(_BITS, np.uint64)
    target[even] = taken + sorted(set(range(_BITS)) - set(taken))
    return _permuted(table, target)


def _permuted(table: Hashes, target: npt.NDArray[np.uint64]) -> Hashes:
    """Return hashes whose bit k has gone to place `target[k]`."""
    octets = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.uint64)
    result = np.zeros_like(table)
    for low in range(0, _BITS, 8):
        moved = np.bitwise_or.reduce(octets << target[low : low + 8], axis=1)
        result |= moved[(table >> np.uint64(low)).astype(np.uint8)]
    return result

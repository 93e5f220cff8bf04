"""Leaks across given parts: groups, duplicates and near neighbours that lie on both sides.

A group is one that the recipe names, a column of meta.csv that is called after a patient, a sequence and the like, or
what file names share where images that share it also look alike. A grouping that crosses is no leak if a finer one
that doesn't cross explains it: a site's patients may be in different parts.

Near neighbours are images that are no copies but nearer to one of another part than chance allows. What chance allows
is read off the distances across the parts themselves: between their median and their 5 % quantile they grow as a power
(the data's dimension); going on with it to small distances gives how many pairs of independent images would be so near.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from maskwright.audit.finding import Finding
from maskwright.audit.groupings import (
    Grouping,
    Groups,
    block_groupings,
    column_groupings,
    looks_grouped,
    name_groupings,
    refines,
)
from maskwright.data.formats.lookup import PARTS
from maskwright.data.index import Index
from maskwright.errors import DataError, problem
from maskwright.recipe.data import AuditSpec

_PART = re.compile(r"(?<![a-z])(part|split|fold)(?![a-z])")
_SAMPLE = 2000
"""Images that are compared with all others."""

_UNLIKELY = 1e-6
"""Probability by chance from which so many near neighbours are a leak."""

_FALSE = 0.1
"""Share of chance pairs among those that are listed."""

_KEPT = 0.8
"""Share of the near pairs that a grouping must keep together to be proposed."""

_LISTED = 50

Thumbnails = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """Something that lies in two parts.

    Attributes:
        kind: leak_group, leak_duplicate or leak_neighbour.
        first: position of an image.
        second: position of one of another part.
        value: images of the group in the smaller of the two parts; correlation of the thumbnails of two images.
        detail: for people, with the next move.
    """

    kind: str
    first: int
    second: int
    value: float
    detail: str


@dataclass(frozen=True)
class _Seen:
    """The nearest neighbours of a sample of images.

    Attributes:
        sample: (S,) positions.
        nearest: (S,) position of the nearest image of all.
        across: (S,) position of the nearest image in another part that is no copy.
        distance: (S,) to that, 1 - correlation.
        low, middle: 5 % quantile and median of the distances across parts.
        pairs: how many pairs across parts were compared, each counted once.
    """

    sample: Positions
    nearest: Positions
    across: Positions
    distance: npt.NDArray[np.float64]
    low: float
    middle: float
    pairs: int


def find_leaks(
    images: Sequence[str],
    parts: Groups,
    *,
    part_column: str | None = None,
    given: Grouping | None = None,
    columns: Mapping[str, Groups] | None = None,
    duplicates: Sequence[tuple[int, int, float]] = (),
    shared: Sequence[tuple[int, int, float]] = (),
    thumbnails: Sequence[Thumbnails | None] = (),
    copies_from: float = 0.985,
) -> list[Leak]:
    """Return what lies in two parts.

    Args:
        images: paths of the index.
        parts: of each image; None: in none, not looked at.
        part_column: column of meta.csv that the parts are from; None: they are folders.
        given: the grouping that the recipe asks for.
        columns: of meta.csv, name → value of each image.
        duplicates: positions of copies and their correlation.
        shared: positions of images that show a part of the same picture, and the correlation of that part.
        thumbnails: (32, 32) of each image, None where it can't be read; may be empty: nothing is compared then.
        copies_from: correlation from which two images are copies, which are no mere neighbours.
    """
    inside = [i for i, part in enumerate(parts) if part]
    if len({parts[i] for i in inside}) < 2:
        return []
    move = "" if part_column else "--set split.use_parts=false "
    leaks = list(_crossing_duplicates(parts, duplicates, move, "the same picture"))
    leaks += _crossing_duplicates(parts, shared, move, "a part of one picture")
    seen = _look(inside, parts, thumbnails, 1 - copies_from) if len(thumbnails) else None
    grouping = [given] if given is not None else []
    grouping += column_groupings(columns or {}, part_column)
    named = [g for g in name_groupings(images) if seen and looks_grouped(g.groups, seen.nearest, seen.sample)]
    crossing = _crossing_groupings([*grouping, *named], parts)
    for one in crossing:
        leaks += _crossing_groups(one, parts, move)
    if seen is not None:
        leaks += _neighbours(seen, images, parts, move, [*crossing, *named])
    return leaks


def leak_findings(
    index: Index,
    spec: AuditSpec,
    duplicates: Sequence[tuple[int, int, float]],
    thumbnails: Sequence[Thumbnails | None],
    meta: pl.DataFrame | None = None,
    shared: Sequence[tuple[int, int, float]] = (),
) -> list[Finding]:
    """Return the leaks across an index' parts as rows of the findings.

    Args:
        index: labelled and unlabelled images; what is in the part `unlabeled` is in none here.
        spec: the recipe's audit section.
        duplicates: positions of copies and their correlation.
        thumbnails: of each image, None where it can't be read.
        meta: the columns of meta.csv, one row an image.
        shared: positions of images that show a part of the same picture, and the correlation of that part.

    Raises:
        DataError: meta.csv has no column called `spec.parts`.
    """
    columns = {} if meta is None else {name: meta[name].to_list() for name in meta.columns if name != "image"}
    parts, column = _parts(index, columns, spec.parts)
    known = index.table["group"].to_list()
    given = Grouping("with the same --group or --group-regex", "the recipe's group", known) if any(known) else None
    leaks = find_leaks(
        index.images,
        parts,
        part_column=column,
        given=given,
        columns=columns,
        duplicates=duplicates,
        shared=shared,
        thumbnails=thumbnails,
        copies_from=spec.duplicate_correlation,
    )
    names = index.images
    return [Finding(names[k.first], k.kind, "warning", names[k.second], k.value, k.detail, "kept") for k in leaks]


def _parts(index: Index, columns: Mapping[str, Groups], wanted: str | None) -> tuple[Groups, str | None]:
    """Return the part of each image and the column that says it, None for folders."""
    folders = [None if part == "unlabeled" else part for part in index.table["part"].to_list()]
    if wanted is None and len({part for part in folders if part is not None and part.lower() in PARTS}) >= 2:
        return folders, None
    if wanted is not None and wanted not in columns:
        raise DataError(
            problem(
                f"a column of meta.csv ({', '.join(columns) or 'there is none'})",
                wanted,
                where=f"{index.root}/meta.csv, audit.parts",
                next_move="use one of these columns",
            )
        )
    said = [wanted] if wanted else [name for name in columns if _PART.search(name.lower())]
    column = next((name for name in said if len(set(columns[name]) - {None}) >= 2), None)
    return (columns[column], column) if column else (folders, None)


def _crossing_duplicates(
    parts: Groups, duplicates: Sequence[tuple[int, int, float]], move: str, what: str
) -> Iterator[Leak]:
    for first, second, correlation in duplicates:
        if parts[first] and parts[second] and parts[first] != parts[second]:
            yield Leak(
                "leak_duplicate",
                first,
                second,
                correlation,
                f"{what} in {parts[first]} and in {parts[second]}: remove one of them"
                + (f", or cut folds anew, which keep copies together: {move.strip()}" if move else ""),
            )


def _crossing_groupings(groupings: Sequence[Grouping], parts: Groups) -> list[Grouping]:
    """Return the groupings that cross, without those that a finer one that doesn't cross explains, and no repeats."""
    clean = [g for g in groupings if not _groups_in_two(g.groups, parts)]
    found: list[Grouping] = []
    for one in groupings:
        explained = any(refines(fine.groups, one.groups) for fine in clean)
        repeated = any(refines(one.groups, other.groups) and refines(other.groups, one.groups) for other in found)
        if one not in clean and not explained and not repeated:
            found.append(one)
    return found


def _groups_in_two(groups: Groups, parts: Groups) -> dict[str, dict[str, list[int]]]:
    """Return group → part → positions, of the groups with images in two parts or more."""
    table: dict[str, dict[str, list[int]]] = {}
    for position, (group, part) in enumerate(zip(groups, parts, strict=True)):
        if group and part:
            table.setdefault(group, {}).setdefault(part, []).append(position)
    return {group: sides for group, sides in table.items() if len(sides) > 1}


def _crossing_groups(grouping: Grouping, parts: Groups, move: str) -> Iterator[Leak]:
    for group, sides in sorted(_groups_in_two(grouping.groups, parts).items()):
        order = sorted(sides, key=lambda part: -len(sides[part]))
        spread = ", ".join(f"{len(sides[part])} image(s) in {part}" for part in order)
        detail = f"{group} ({grouping.what}): {spread}; keep it whole: {move}{grouping.option}"
        first, second = sides[order[0]][0], sides[order[1]][0]
        yield Leak("leak_group", first, second, float(len(sides[order[-1]])), detail)


def _look(inside: Sequence[int], parts: Groups, thumbnails: Sequence[Thumbnails | None], copy: float) -> _Seen | None:
    """Compare a sample of the smaller parts' images with all; None if too few can be compared."""
    vectors, rows = [], []
    for i in inside:
        small = thumbnails[i]
        if small is not None and (norm := np.linalg.norm(centred := small.ravel() - small.mean())) > 1e-3:
            vectors.append((centred / norm).astype(np.float32))
            rows.append(i)
    numbers = np.unique([str(parts[i]) for i in rows], return_inverse=True)[1] if rows else np.empty(0, np.int64)
    if len(set(numbers.tolist())) < 2:
        return None
    table, positions = np.stack(vectors), np.array(rows)
    rare = np.argsort(np.bincount(numbers)[numbers], kind="stable")
    sample = np.sort(rare[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)])
    nearest, across, distance, drawn = [], [], [], []
    for start in range(0, len(sample), 256):
        block = sample[start : start + 256]
        apart = 1 - (table[block] @ table.T).astype(np.float64)
        apart[np.arange(len(block)), block] = np.inf
        nearest.append(apart.argmin(1))
        apart[(numbers[block][:, None] == numbers) | (apart < copy)] = np.inf
        across.append(apart.argmin(1))
        distance.append(apart.min(1))
        drawn.append(apart[np.isfinite(apart)][:: 1 + len(rows) // 1000])
    pool = np.concatenate(drawn)
    if len(pool) < 100:
        return None
    low, middle = np.quantile(pool, [0.05, 0.5])
    every, inner = np.bincount(numbers), np.bincount(numbers[sample], minlength=numbers.max() + 1)
    ordered, twice = int((inner * (len(rows) - every)).sum()), int((inner * (len(sample) - inner)).sum())
    where, far = positions[np.concatenate(nearest)], positions[np.concatenate(across)]
    return _Seen(
        positions[sample], where, far, np.concatenate(distance), float(low), float(middle), ordered - twice // 2
    )


def _by_chance(seen: _Seen, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how many pairs across parts chance puts at a distance or nearer."""
    dimension = np.log(10) / np.log(seen.middle / seen.low) if seen.low < seen.middle else np.inf
    return np.asarray(seen.pairs * 0.5 * (distance / seen.middle) ** dimension)


def _neighbours(
    seen: _Seen, images: Sequence[str], parts: Groups, move: str, groupings: Sequence[Grouping]
) -> Iterator[Leak]:
    pairs = _disjoint(seen)
    distance = np.array([seen.distance[place] for place, _, _ in pairs])
    count, chance = np.arange(1, len(pairs) + 1), _by_chance(seen, distance)
    near = np.flatnonzero(chance <= _FALSE * count)
    if len(near) == 0 or stats.poisson.sf(near[-1], chance[near[-1]]) > _UNLIKELY:
        return
    found = pairs[: near[-1] + 1]
    ends = [(first, second) for _, first, second in found]
    whole = [g for g in (*groupings, *block_groupings(images)) if _joined(g.groups, ends) >= _KEPT]
    if whole:
        advice = f"keep sequences whole: {move}{whole[0].option}"
    else:
        advice = "name in a column of meta.csv what belongs together, and add " + move + "--group COLUMN"
    for (place, first, second), allowed in zip(found[:_LISTED], chance[:_LISTED], strict=False):
        detail = (
            f"in {parts[first]}, and one in {parts[second]} is nearly the same; chance allows {allowed:.2g} "
            f"so near, {len(found)} pairs are; {advice}"
        )
        yield Leak("leak_neighbour", first, second, 1 - float(seen.distance[place]), detail)


def _disjoint(seen: _Seen) -> list[tuple[int, int, int]]:
    """Return (place in the sample, image, image of another part), the nearest first, no image twice.

    An image that many are near to is one odd image, not many leaks.
    """
    used: set[int] = set()
    pairs = []
    for place in np.argsort(seen.distance, kind="stable").tolist():
        first, second = int(seen.sample[place]), int(seen.across[place])
        if np.isfinite(seen.distance[place]) and not {first, second} & used:
            used |= {first, second}
            pairs.append((place, first, second))
    return pairs


def _joined(groups: Groups, pairs: Sequence[tuple[int, int]]) -> float:
    """Return the share of pairs that a grouping keeps together."""
    return sum(groups[a] is not None and groups[a] == groups[b] for a, b in pairs) / len(pairs)

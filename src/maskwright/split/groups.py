"""Groups: what must stay on one side of every border, and where a group that is there already belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

HELD_OUT = -1
"""The fold number of images that no training sees."""
TRAINING = -2
"""Stated place: not held out; which fold is still to be decided."""
POOL = -3
"""Stated place: neither trained on nor held out; in tables, the fold is null."""


@dataclass(frozen=True)
class Stated:
    """Places that a file, the folder's parts or an earlier cut state.

    Attributes:
        places: image → fold, `HELD_OUT`, `TRAINING` or `POOL`.
        groups: image → group, where the file has such a column.
        labels: for each fold number, what the file calls it.
        unlabelled: how many of the file's rows name images without a usable label.
    """

    places: dict[str, int]
    groups: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    unlabelled: int = 0


def join_groups(
    images: Sequence[str], groups: Mapping[str, str | None], duplicates: Iterable[Sequence[str]]
) -> dict[str, str]:
    """Return image → group, where groups that share a duplicate are one; its name is that of its first member."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for image in images:
        if (group := groups.get(image)) is not None:
            parent[root(f"image:{image}")] = root(f"group:{group}")
    for cluster in duplicates:
        for other in cluster[1:]:
            parent[root(f"image:{other}")] = root(f"image:{cluster[0]}")
    label: dict[str, str] = {}
    for image in images:
        label.setdefault(root(f"image:{image}"), groups.get(image) or image)
    return {image: label[root(f"image:{image}")] for image in images}


def crossing(joined: Mapping[str, str], places: Mapping[str, int]) -> list[str]:
    """Return the groups with images in more than one place, sorted; images without a place count nowhere."""
    seen: dict[str, int] = {}
    return sorted({joined[image] for image, place in places.items() if seen.setdefault(joined[image], place) != place})


def settled(joined: Mapping[str, str], places: Mapping[str, int]) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """Return where groups belong whose images had a place before, and which images that moves.

    A group that joins images of several places (a new duplicate links them, or another group column) goes to the place
    of most of its images; of places with as many, the held-out part is first, then the lower fold.

    Returns:
        group → place, and image → (place before, place now) of the images that change theirs.
    """
    votes: dict[str, Counter[int]] = {}
    for image, place in places.items():
        votes.setdefault(joined[image], Counter())[place] += 1
    of = {group: min(found, key=lambda place: (-found[place], _rank(place))) for group, found in votes.items()}
    moved = {i: (place, of[joined[i]]) for i, place in places.items() if of[joined[i]] != place}
    return of, moved


def _rank(place: int) -> int:
    return place if place >= HELD_OUT else 1 << 30

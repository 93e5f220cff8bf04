"""The queue: items in the order of what a decision is worth, with near copies far apart.

An item's worth is the weight of its kind, times 1/2 to 1 by its place among those of its kind (a rank, for their
scores have different units), times 1 to 3/2 by how rare the categories are that it touches. Then it sinks: by 1/2 for
each item above it that shows the same picture, and by .8 for each of the same group. So the first items of every kind
come early and the same scene comes back late. The same run folder gives the same queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import polars as pl

from maskwright.artifacts import read_json, read_table
from maskwright.audit.masks import Answers
from maskwright.decisions import Decision, read_decisions, settled, standing
from maskwright.review.answers import OF_POOL
from maskwright.review.items import Box, Item, Kind
from maskwright.review.source import Reviewed
from maskwright.review.sources import (
    outlier_items,
    pair_items,
    pool_items,
    rare_items,
    rarity_of,
    suspect_items,
)

WEIGHTS: dict[Kind, float] = {
    "conflict": 1.0,
    "shifted": 0.95,
    "suspect": 0.9,
    "disagreement": 0.8,
    "rare": 0.7,
    "outlier": 0.6,
    "duplicate": 0.5,
    "objectness": 0.45,
    "uncertain": 0.4,
}
"""What one decision of each kind is worth at most: some mend a mask that is learned and scored, some give an image a
mask, some say what belongs together. A choice, not a measurement."""

_PICTURE, _GROUP = 0.5, 0.8
_SAME_REGION = 0.5


def build_queue(run: Reviewed) -> list[Item]:
    """Return what of a run is worth a look, the most worth first; what people settled otherwise is left out.

    Left out are images that a person dropped or that can't be read, outliers and rare masks that a policy dropped,
    images of the pool that have a mask by a decision, and regions that a person confirmed or ignored, or whose box an
    earlier one's shares by half. Answered items stay where they are.

    Raises:
        DataError: the log has a line that is no decision.
    """
    known = standing(read_decisions(run.folder.decisions))
    answers = settled(known)
    findings = read_table(run.folder.findings).sort("kind", "image", "other_image", nulls_last=False)
    rarity = rarity_of(run)
    items = [*pair_items(run, findings), *suspect_items(run, rarity)]
    items += [*rare_items(run, findings), *outlier_items(run, findings)]
    items += pool_items(run, rarity, _with_mask(answers))
    items = [item for item in items if run.unreadable.isdisjoint(item.images)]
    kept = {item.key(run.salt): item for item in items}
    looked, given = _regions(known), _given(answers)
    open_items = [i for key, i in kept.items() if not _settled(i, key, answers, looked, given)]
    return ordered(open_items, pictures_of(run), _groups(run))


def ordered(items: Sequence[Item], pictures: dict[str, int], groups: dict[str, str]) -> list[Item]:
    """Return items by their worth.

    Args:
        items: in any order.
        pictures: image → number of the cluster of copies that it is in.
        groups: image → group.
    """
    values = _values(items)
    seen, seen_kin = Counter[object](), Counter[str]()
    found = list[Item]()
    for place in sorted(range(len(items)), key=lambda place: (-values[place], _order(items[place]))):
        shown = {pictures.get(image, image) for image in items[place].images}
        kin = {groups[image] for image in items[place].images if image in groups}
        copies = max(seen[picture] for picture in shown)
        others = max((seen_kin[group] for group in kin), default=0) - copies
        worth = values[place] * _PICTURE**copies * _GROUP ** max(0, others)
        found.append(items[place].worth_of(round(float(worth), 6)))
        seen.update(shown)
        seen_kin.update(kin)
    return sorted(found, key=lambda item: (-item.worth, _order(item)))


def _values(items: Sequence[Item]) -> list[float]:
    """Return what items are worth before any other was looked at; the same score has the same rank."""
    ranks = dict[tuple[Kind, float], float]()
    for kind in WEIGHTS:
        scores = sorted({item.score for item in items if item.kind == kind})
        ranks |= {(kind, score): (place + 1) / len(scores) for place, score in enumerate(scores)}
    return [WEIGHTS[i.kind] * (0.5 + 0.5 * ranks[i.kind, i.score]) * (1 + 0.5 * i.need) for i in items]


def _order(item: Item) -> tuple[str, str, str, str]:
    return item.kind, item.image, item.other_image or "", str(item.region or "")


def _with_mask(answers: Answers) -> frozenset[str]:
    """Return the images that a decision gives a mask, or drops, answers of the review left out."""
    giving = ("use_mask_of", "consensus", "drawn_mask", "patch_mask", "drop")
    return frozenset(d.image for d in answers.values() if d.action in giving and not d.item)


def _regions(known: Iterable[Decision]) -> dict[str, list[tuple[str, Box]]]:
    """Return image → (item, region) of what people looked at."""
    found = dict[str, list[tuple[str, Box]]]()
    for decision in known:
        if decision.region is not None and not decision.by_policy:
            found.setdefault(decision.image, []).append((decision.item, decision.region))
    return found


def _given(answers: Answers) -> dict[str, set[str]]:
    """Return image → the items whose answers gave it a mask."""
    found = dict[str, set[str]]()
    for decision in answers.values():
        if decision.action in ("drawn_mask", "patch_mask", "use_mask_of"):
            found.setdefault(decision.image, set()).add(decision.item)
    return found


def _settled(
    item: Item, key: str, answers: Answers, looked: dict[str, list[tuple[str, Box]]], given: dict[str, set[str]]
) -> bool:
    """Tell whether a person has settled an item otherwise than by answering it."""
    uses = [answers[image, "use"] for image in item.images if (image, "use") in answers]
    if any(use.action == "drop" and not use.by_policy and use.item != key for use in uses):
        return True
    if item.kind in ("outlier", "rare") and any(use.action == "drop" and use.by_policy for use in uses):
        return True
    if item.kind in OF_POOL and item.image in given:
        return key not in given[item.image]
    if item.region is None:
        return False
    return any(of != key and _share(box, item.region) >= _SAME_REGION for of, box in looked.get(item.image, ()))


def _share(first: Box, second: Box) -> float:
    """Return the IoU of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(width, 0) * max(height, 0)
    areas = sum((right - left) * (bottom - top) for left, top, right, bottom in (first, second))
    return both / (areas - both) if areas > both else 0.0


def pictures_of(run: Reviewed) -> dict[str, int]:
    """Return image → number of the cluster of copies that it is in, of those that have copies."""
    path = run.folder.audit / "duplicates.json"
    clusters = read_json(path) if path.is_file() else []
    return {image: number for number, cluster in enumerate(clusters) for image in cluster}


def _groups(run: Reviewed) -> dict[str, str]:
    table = run.index.table.filter(pl.col("group").is_not_null())
    return dict(table.select("image", "group").iter_rows())

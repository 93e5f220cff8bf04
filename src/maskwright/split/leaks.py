"""What the folds do about the leaks that the audit found across the parts that a folder or a table gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl


def follow_leaks(table: pl.DataFrame, leaks: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, int]]:
    """Return what became of the pairs of images that the audit names, by the kind of their leak.

    Args:
        table: columns image, group, fold (-1: held out, null: in the pool).
        leaks: (kind, image, other image) of each finding; of a group, one image from each of two parts.

    Returns:
        kind → found, together (both in one fold, or both held out), apart (a border lies between them, so that one is
        scored by a network that may have learned from the other), outside (one of them is in no fold: without a
        usable label, in the pool or left out).

    Example:
        >>> folds = pl.DataFrame({"image": ["a", "b", "c"], "group": ["g", "g", "h"], "fold": [0, 0, 1]})
        >>> follow_leaks(folds, [("leak_group", "a", "b"), ("leak_group", "a", "c"), ("leak_duplicate", "c", "x")])
        {'leak_duplicate': {'found': 1, 'together': 0, 'apart': 0, 'outside': 1}, \
'leak_group': {'found': 2, 'together': 1, 'apart': 1, 'outside': 0}}
    """
    place = dict(table.select("image", "fold").drop_nulls().iter_rows())
    counts: dict[str, dict[str, int]] = {}
    for kind, first, second in leaks:
        row = counts.setdefault(kind, {"found": 0, "together": 0, "apart": 0, "outside": 0})
        row["found"] += 1
        if first not in place or second not in place:
            row["outside"] += 1
        else:
            row["together" if place[first] == place[second] else "apart"] += 1
    return dict(sorted(counts.items()))


def with_leaks(
    certificate: dict[str, Any], table: pl.DataFrame, leaks: Iterable[tuple[str, str, str]]
) -> dict[str, Any]:
    """Return a certificate with `leaks`, see `follow_leaks`, and a `text` that sums them up.

    Args:
        certificate: of the same table; what it says of leaks already is replaced.
        table: as in `follow_leaks`.
        leaks: as in `follow_leaks`.
    """
    found = follow_leaks(table, leaks)
    text = certificate["text"].removesuffix(_said(certificate.get("leaks") or {})) + _said(found)
    return certificate | {"leaks": found, "text": text}


def _said(found: dict[str, dict[str, int]]) -> str:
    """Return what the text of a certificate says of leaks, nothing if there are none."""
    if not found:
        return ""
    total = {key: sum(row[key] for row in found.values()) for key in ("found", "together", "apart", "outside")}
    return (
        f"; of {total['found']} leak(s) that the audit found across given parts, {total['apart']} lie(s) across a "
        f"border, {total['together']} on one side, {total['outside']} outside the folds"
    )

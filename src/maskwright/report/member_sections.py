"""What the ensemble of all folds' networks earned over each of them, on the same held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskwright.report.blocks import DASH, Group, Table, between, with_interval
from maskwright.report.collect import Artifacts, Score
from maskwright.report.collect import number as to_float
from maskwright.report.words import metric_name

_METRICS = ("mean_dice", "pooled_miou")


def ensemble(artifacts: Artifacts) -> list[Group]:
    """Return the networks of single folds beside all of them together; nothing where they weren't scored alone."""
    members = artifacts.members or {}
    if not members:
        return []
    together = (with_interval(artifacts.score(metric, "holdout")) for metric in _METRICS)
    rows = [("all together", *(cell for score in together for cell in (score, DASH)))]
    for name, found in members.items():
        fold = name.removeprefix("holdout-fold-")
        rows.append((f"fold {fold} alone", *(cell for m in _METRICS for cell in (_score(found, m), _gain(found, m)))))
    head = ("network", *(word for m in _METRICS for word in (metric_name(m), "all together have more by")))
    words = [
        "All rows are of the same held-out images. The last column of each score is paired: what is gained on each of "
        "them. Where its interval holds 0, the gain may be chance."
    ]
    return [Group("What the ensemble earned", words, [Table("Networks alone and together", head, rows)])]


def _score(found: Mapping[str, Any], metric: str) -> str:
    known = found.get(metric)
    if known is None:
        return DASH
    value, low, high = (to_float(known.get(key)) for key in ("value", "low", "high"))
    return with_interval(Score("", metric, "", value, low, high))


def _gain(found: Mapping[str, Any], metric: str) -> str:
    """Write a paired gain; a run that was scored before there were any has none."""
    known = found.get(f"gain/{metric}")
    return DASH if known is None else between(known)

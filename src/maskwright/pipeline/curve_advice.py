"""What a learning curve advises: label more, self-train, both or neither, with the figures that say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORTH = 0.005
"""Gain of a score below which nothing is advised: half a point."""


def advise(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return {verdict: label_more | self_train | both | neither | unknown, words: lines} for what curve.json holds.

    Labels are advised where twice as many are expected to gain half a point and the interval of that gain is above 0;
    the pool, where the paired interval of its gain at the largest number of labels is. Too few held-out groups for an
    interval leave it unknown.
    """
    sizes = found["sizes"]
    most, doubling = sizes[-1]["labels"], found["fit"]["doubling"]
    pooled = [size for size in sizes if "gain" in size]
    if doubling["low"] != doubling["low"]:
        return {"verdict": "unknown", "words": ["The held-out images are too few groups for an interval."]}
    labels = doubling["low"] > 0 and doubling["value"] >= WORTH
    gain = pooled[-1]["gain"] if pooled else None
    taught = gain is not None and gain["low"] > 0
    verdict = {(True, True): "both", (True, False): "label_more", (False, True): "self_train"}.get(
        (labels, taught), "neither"
    )
    words = [_headline(verdict, pooled=bool(pooled)), _of_labels(found, most, rises=labels)]
    words += [_of_pool(found, pooled[-1], helps=taught)] if pooled else []
    words += [f"Nothing is said about the pool: {found['no_pool']}."] if not pooled and found["no_pool"] else []
    return {"verdict": verdict, "words": [*words, *_caveats(found, pooled)]}


def _headline(verdict: str, *, pooled: bool) -> str:
    if verdict == "neither":
        than = "neither more labels nor self-training" if pooled else "more labels do not"
        return f"Neither pays clearly: {than}." if pooled else f"The curve is flat: {than} pay clearly."
    return {
        "both": "Self-train, and label more: both pay.",
        "label_more": "Label more." if not pooled else "Label more: the curve still rises, and the pool does not help.",
        "self_train": "Self-train: the pool helps, and more labels are not expected to bring much.",
    }[verdict]


def _of_labels(found: Mapping[str, Any], most: float, *, rises: bool) -> str:
    verb = "is expected to bring" if rises else "is not clearly expected to bring anything:"
    return (
        f"Doubling the {most:.0f} labels to {2 * most:.0f} {verb} {_figure(found['fit']['doubling'])} "
        f"{found['metric']}, by a power law through the points."
    )


def _of_pool(found: Mapping[str, Any], size: Mapping[str, Any], *, helps: bool) -> str:
    worth = found["fit"].get("worth")
    as_labels = f"; as much as about {worth:.0f} more labels" if helps and worth is not None else ""
    return (
        f"With {size['labels']:.0f} labels, {size['pool']:.0f} images without labels change {found['metric']} by "
        f"{_figure(size['gain'])}, on the same images and seeds{as_labels}."
    )


def _caveats(found: Mapping[str, Any], pooled: list[Mapping[str, Any]]) -> list[str]:
    lines = []
    sizes = found["sizes"]
    if pooled and pooled[-1] is not sizes[-1]:
        lines.append(
            f"With all {sizes[-1]['labels']:.0f} labels there is no pool; what it gains is said of fewer labels, with "
            "the images whose labels were not looked at."
        )
    if pooled and found.get("longer"):
        lines.append(f"What learns from the pool has {found['longer']}.")
    if found["repeats"] == 1:
        lines.append(
            "One training a point: the intervals cover the draw of the held-out images, not that of the labels and the "
            "seed, by which scores move, too; --repeats 3 takes that into account."
        )
    if len(sizes) < 3:
        lines.append("Two sizes do not tell where the curve ends: it is taken to end at 1, which is optimistic.")
    return lines


def _figure(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:+.3f} ({interval['low']:+.3f} to {interval['high']:+.3f})"

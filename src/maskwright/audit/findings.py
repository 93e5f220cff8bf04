"""All images together: findings as a table, class shares, and the groups of duplicates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from maskwright.audit.copies import Copy, compare_copies
from maskwright.audit.crops import MOST, Crop, find_shared
from maskwright.audit.duplicates import Duplicate, clusters, find_duplicates
from maskwright.audit.finding import Finding
from maskwright.audit.hashing import hashes
from maskwright.audit.inspect import Inspection, inspect_row, object_sizes
from maskwright.audit.leaks import leak_findings
from maskwright.audit.overlaps import Overlap
from maskwright.audit.overview import overview, style_columns
from maskwright.audit.policies import decide
from maskwright.data.index import Index
from maskwright.data.void import VOID_NAMES
from maskwright.decisions import Decision
from maskwright.progress import track
from maskwright.recipe.data import AuditSpec

_MANY_PIECES, _MANY_IN_ONE, _LEAST_IN_ONE = 2, 4, 8
"""Pieces of an object, on average, from which on instance maps are taken for masks, and the single one of an image,
which has so many pieces at least."""

FINDINGS_SCHEMA = {
    "image": pl.String,
    "kind": pl.String,
    "severity": pl.String,
    "other_image": pl.String,
    "value": pl.Float64,
    "detail": pl.String,
    "decision": pl.String,
}


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: one row a finding, columns `FINDINGS_SCHEMA`, errors first.
        classes: one row a category: images, image_share, pixels, pixel_share, objects, median_area.
        duplicates: clusters of images that show the same picture.
        unusable: images with an error.
        shares: image → (C,) pixels of each category, labelled and usable images only.
        tables: name → what is said of all images together (`Overview`).
        decisions: what the policies decide; whoever replays them fills in the findings' last column.
        objects: image → number and median area (None without any) of its objects that are no background, as `shares`.
    """

    findings: pl.DataFrame
    classes: pl.DataFrame
    duplicates: list[list[str]]
    unusable: list[str]
    shares: dict[str, list[int]]
    tables: dict[str, pl.DataFrame]
    decisions: list[Decision]
    objects: dict[str, tuple[int, float | None]]


def audit_index(
    index: Index,
    spec: AuditSpec,
    leftovers: Sequence[str] = (),
    meta: pl.DataFrame | None = None,
    *,
    notes: Sequence[str] = (),
) -> Audit:
    """Inspect every image of an index.

    Args:
        index: labelled and unlabelled images.
        spec: the recipe's audit section.
        leftovers: label files without an image.
        meta: the columns of meta.csv, one row an image in the order of the index.
        notes: what was taken for granted when the folder was read.
    """
    style = bool(style_columns(index, spec))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        inspected = pool.map(lambda row: inspect_row(index, row, style=style), range(len(index)))
        inspections = list(track(inspected, "audit", len(index)))
    images = index.images
    rows = [*_own_findings(index, inspections, spec, leftovers), *_category_notes(index)]
    rows += [*_rare_categories(index, inspections), *_scattered(index, inspections)]
    rows += [Finding("", "taken_for_granted", "note", None, None, note, "kept") for note in notes]
    pairs = _pairs(inspections, spec)
    copies = compare_copies(index, inspections, pairs)
    decisions, told = decide(index, inspections, copies, spec)
    rows += _copy_findings(index, copies, told)
    crops, overlaps = _shared(index, inspections, pairs) if spec.crops else ([], [])
    rows += _shared_findings(index, crops, overlaps, len(inspections)) if spec.crops else []
    copied = [(p.first, p.second, p.correlation) for p in pairs]
    shared = [(c.whole, c.part, c.correlation) for c in crops] + [(o.first, o.second, o.correlation) for o in overlaps]
    thumbnails = [inspection.thumbnail for inspection in inspections]
    rows += leak_findings(index, spec, copied, thumbnails, meta, shared)
    groups = clusters(len(index), [(first, second) for first, second, _ in [*copied, *shared]])
    together = overview(index, inspections, groups, spec)
    rows += together.findings
    answered = {decision.question for decision in decisions}
    decisions += [decision for decision in together.decisions if decision.question not in answered]
    order = {"error": 0, "warning": 1, "note": 2}
    rows.sort(key=lambda row: (order[row.severity], row.kind, row.image))
    labelled = {images[i]: n for i, n in enumerate(inspections) if n.usable and n.pixels is not None}
    return Audit(
        pl.DataFrame(rows, schema=FINDINGS_SCHEMA, orient="row"),
        _class_table(index, inspections),
        [[images[i] for i in cluster] for cluster in groups],
        [images[i] for i, n in enumerate(inspections) if not n.usable],
        {image: n.pixels.tolist() for image, n in labelled.items() if n.pixels is not None},
        together.tables,
        decisions,
        {image: object_sizes(index.categories, n.areas) for image, n in labelled.items()},
    )


def _own_findings(
    index: Index, inspections: Sequence[Inspection], spec: AuditSpec, leftovers: Sequence[str]
) -> list[Finding]:
    """Return what each image's own files say, and the label files that have none."""
    rows = [
        Finding(image, f.kind, f.severity, None, _known(f.value), f.detail, _decision_on(f.severity, spec))
        for image, inspection in zip(index.images, inspections, strict=True)
        for f in inspection.faults
    ]
    alone = "a label file without an image"
    return rows + [Finding(path, "orphan_mask", "warning", None, None, alone, "left alone") for path in leftovers]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _decision_on(severity: str, spec: AuditSpec) -> str:
    return "dropped" if severity == "error" and spec.on_error == "drop" else "stop" if severity == "error" else "kept"


def _category_notes(index: Index) -> list[Finding]:
    suspicious = [c for c in index.categories.items if c.name.lower() in VOID_NAMES]
    return [
        Finding(
            "",
            "category_name",
            "note",
            None,
            None,
            f"'{c.name}' is learned like any other category; "
            f"--ignore {c.name} leaves its pixels out of loss and metric",
            "kept",
        )
        for c in suspicious
    ]


def _rare_categories(index: Index, inspections: Sequence[Inspection]) -> list[Finding]:
    """A category that one image alone holds is never learned by the network that is scored on that image."""
    holders = {i: n.pixels > 0 for i, n in enumerate(inspections) if n.usable and n.pixels is not None}
    detail = "no other mask holds {}: the network that is scored on this image never saw it; label more, or merge it"
    rows: list[Finding] = []
    for position, category in enumerate(index.categories.items):
        images = [index.images[i] for i, present in holders.items() if present[position]]
        if len(images) == 1 < len(holders) and category.name not in index.categories.left_out:
            said = detail.format(category.name)
            rows.append(Finding(images[0], "rare_category", "warning", None, None, said, "kept"))
    return rows


def _scattered(index: Index, inspections: Sequence[Inspection]) -> list[Finding]:
    """Return what is to be said where the objects of instance maps lie in many pieces: these may be masks.

    If not all of them look so, those of single images may.
    """
    objects, pieces = (sum(n.pieces[k] for n in inspections if n.usable) for k in (0, 1))
    if pieces >= _MANY_PIECES * max(1, objects):
        return [_in_pieces("", objects, pieces, "if the files in instances/ are masks, put them into masks/")]
    return [
        _in_pieces(image, *n.pieces, "if each is an object, draw them with a number each")
        for image, n in zip(index.images, inspections, strict=True)
        if n.usable and n.pieces[1] >= max(_LEAST_IN_ONE, _MANY_IN_ONE * n.pieces[0])
    ]


def _in_pieces(image: str, objects: int, pieces: int, else_wise: str) -> Finding:
    detail = (
        f"{objects} object{'s' * (objects != 1)} in {pieces} pieces that don't touch: {else_wise}; if pieces of a "
        "number are one object, set instances.apart to false, or each is learned as one"
    )
    return Finding(image, "objects_in_pieces", "warning", None, pieces / objects, detail, "kept")


def _pairs(inspections: Sequence[Inspection], spec: AuditSpec) -> list[Duplicate]:
    """Return the duplicates among the readable images, by row of the index."""
    rows = [i for i, inspection in enumerate(inspections) if inspection.thumbnail is not None]
    if len(rows) < 2:
        return []
    thumbnails = np.stack([inspections[i].thumbnail for i in rows])  # type: ignore[misc]
    found = find_duplicates(
        thumbnails, hashes(thumbnails), radius=spec.duplicate_radius, correlation=spec.duplicate_correlation
    )
    return [Duplicate(rows[d.first], rows[d.second], d.transform, d.distance, d.correlation) for d in found]


def _copy_findings(index: Index, copies: Sequence[Copy], told: Mapping[tuple[int, int], str]) -> list[Finding]:
    rows: list[Finding] = []
    for copy in copies:
        pair = copy.pair
        first, second = index.images[pair.first], index.images[pair.second]
        kind = "duplicate_exact" if copy.exact else "duplicate_near"
        detail = "pixel-identical" if copy.exact else f"{pair.transform}, correlation {pair.correlation:.4f}"
        rows.append(Finding(first, kind, "warning", second, pair.correlation, detail, "kept in one fold"))
        if copy.agreement is not None and copy.conflict:
            names = index.categories.names
            ious = ", ".join(f"{names[c]} {iou:.3f}" for c, iou in sorted(copy.agreement.iou.items(), key=_second)[:8])
            same = copy.agreement
            detail = (
                f"the same picture ({pair.transform}) with masks that differ in {same.differing} of {same.compared} "
            )
            detail += f"pixels; IoU {ious}"
            detail += f"; {said}" if (said := told.get((pair.first, pair.second))) else ""
            rows.append(Finding(first, "conflict", "warning", second, copy.agreement.pixels, detail, "open"))
    return rows


def _shared(
    index: Index, inspections: Sequence[Inspection], pairs: Sequence[Duplicate]
) -> tuple[list[Crop], list[Overlap]]:
    """Return crops and overlaps among the readable images that are no duplicates of each other, by row of the index."""
    rows = [i for i, inspection in enumerate(inspections) if inspection.thumbnail is not None]
    known = {(p.first, p.second) for p in pairs}
    crops, overlaps = find_shared([index.path(index.images[i]) for i in rows])
    cut = [replace(c, whole=rows[c.whole], part=rows[c.part]) for c in crops]
    beside = [replace(o, first=rows[o.first], second=rows[o.second]) for o in overlaps]
    return (
        [c for c in cut if (min(c.whole, c.part), max(c.whole, c.part)) not in known],
        [o for o in beside if (o.first, o.second) not in known],
    )


def _shared_findings(index: Index, crops: Sequence[Crop], overlaps: Sequence[Overlap], count: int) -> list[Finding]:
    if count > MOST:
        detail = f"crops and overlaps are looked for among at most {MOST} images, not {count}"
        return [Finding("", "crops_not_searched", "note", None, None, detail, "kept")]
    rows: list[Finding] = []
    for crop in crops:
        left, top, right, bottom = crop.box
        detail = f"a crop: {left:.0%} to {right:.0%} of the other's width, {top:.0%} to {bottom:.0%} of its height"
        images = index.images[crop.part], index.images[crop.whole]
        rows.append(Finding(images[0], "crop", "warning", images[1], crop.correlation, detail, "kept in one fold"))
    for pair in overlaps:
        x, y = pair.shift
        detail = f"both show {pair.share:.0%} of the picture, the other one from ({x}, {y}) of this one's pixels on"
        images = index.images[pair.first], index.images[pair.second]
        rows.append(Finding(images[0], "overlap", "warning", images[1], pair.correlation, detail, "kept in one fold"))
    return rows


def _second(item: tuple[int, float]) -> float:
    return item[1]


def _class_table(index: Index, inspections: Sequence[Inspection]) -> pl.DataFrame:
    usable = [i for i in inspections if i.pixels is not None and i.usable]
    count = len(index.categories)
    pixels = np.stack([i.pixels for i in usable]) if usable else np.zeros((0, count), np.int64)  # type: ignore[misc]
    areas = [np.concatenate([i.areas[c] for i in usable] or [np.empty(0, np.int64)]) for c in range(count)]
    total = max(int(pixels.sum()), 1)
    return pl.DataFrame(
        {
            "category": index.categories.names,
            "images": (pixels > 0).sum(0).tolist(),
            "image_share": ((pixels > 0).sum(0) / max(len(usable), 1)).tolist(),
            "pixels": pixels.sum(0).tolist(),
            "pixel_share": (pixels.sum(0) / total).tolist(),
            "objects": [len(a) for a in areas],
            "median_area": [float(np.median(a)) if len(a) else None for a in areas],
        },
        schema_overrides={"median_area": pl.Float64},
    )

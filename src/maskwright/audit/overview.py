"""All images together: who stands out, how much there is of what, whether domains and label sources differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.audit.balance import object_table, part_table, ratio_table, size_table
from maskwright.audit.features import FEATURES, Features
from maskwright.audit.finding import Finding
from maskwright.audit.inspect import Inspection
from maskwright.audit.outliers import Ranking, components, embed, mahalanobis, one_class_svm, shared_labels
from maskwright.audit.permutation import holm
from maskwright.audit.shapes import STYLES
from maskwright.audit.styles import SCHEMA as STYLES_SCHEMA
from maskwright.audit.styles import compare_styles, differences
from maskwright.data.index import Index
from maskwright.decisions import POLICY, Decision
from maskwright.progress import report
from maskwright.recipe.data import AuditSpec
from maskwright.recipe.outliers import OutlierSpec

_RANKINGS = {
    "mahalanobis": (mahalanobis, "Mahalanobis distance²"),
    "one_class_svm": (one_class_svm, "distance from the support vectors' border"),
}
_SHIFTED = 0.1
"""Energy coefficient from which a shift that is more than chance is worth a note."""


@dataclass(frozen=True)
class Overview:
    """What is said of all images together.

    Attributes:
        tables: name → table; outliers, objects, sizes, ratios, parts, styles.
        findings: rows of the findings table.
        decisions: what drops outliers, where the recipe says so.
    """

    tables: dict[str, pl.DataFrame]
    findings: list[Finding]
    decisions: list[Decision]


def overview(
    index: Index, inspections: Sequence[Inspection], clusters: Sequence[Sequence[int]], spec: AuditSpec
) -> Overview:
    """Rank the images, count what they hold, compare domains and label sources.

    Args:
        index: all images.
        inspections: of each.
        clusters: rows of images that are duplicates of each other.
        spec: the recipe's audit section.
    """
    readable = np.array([i for i, found in enumerate(inspections) if found.features is not None], np.int64)
    table = np.array([inspections[i].features for i in readable], np.float32).reshape(-1, len(FEATURES))
    report("compare images", 0, 3)
    outliers, rows = _outliers(index, table, readable, spec)
    shared = list(_shared_labels(index, inspections, clusters, spec.outliers))
    report("compare images", 1, 3)
    rng = np.random.default_rng(0)
    parts = part_table(index, inspections, table, readable, spec.balance, rng)
    report("compare images", 2, 3)
    styles = _styles(index, inspections, spec, rng)
    report("compare images", 3, 3)
    return Overview(
        {
            "outliers": outliers,
            "objects": object_table(index, inspections),
            "sizes": size_table(index, inspections),
            "ratios": ratio_table(index, inspections, spec.balance.area_bins),
            "parts": parts,
            "styles": styles,
        },
        [*rows, *shared, *_shift_notes(parts, spec), *_style_findings(styles, spec)],
        _drop([*rows, *shared]) if spec.outliers.decision == "drop" else [],
    )


def _drop(rows: Sequence[Finding]) -> list[Decision]:
    """Return a decision for each image that the findings name, from the first of them."""
    first = {row.image: row for row in reversed(rows)}
    return [
        Decision(image=image, action="drop", by=f"{POLICY}outliers", kind=row.kind, reason=row.detail, value=row.value)
        for image, row in sorted(first.items())
    ]


def _outliers(
    index: Index, table: Features, readable: npt.NDArray[np.int64], spec: AuditSpec
) -> tuple[pl.DataFrame, list[Finding]]:
    """Return the rankings, farthest first, and a finding for each image that is beyond a cut."""
    wanted = spec.outliers
    kinds = [kind for kind in _RANKINGS if wanted.kind in (kind, "both")]
    scores = components(table, wanted) if len(table) and kinds else np.empty((len(table), 0))
    rankings: dict[str, Ranking] = {kind: _RANKINGS[kind][0](scores, wanted) for kind in kinds}
    names = [index.images[i] for i in readable]
    flagged = np.zeros(len(names), bool)
    findings: list[Finding] = []
    for kind, ranking in rankings.items():
        flagged |= ranking.flagged
        for i in np.flatnonzero(ranking.flagged).tolist():
            detail = f"{_RANKINGS[kind][1]} {ranking.scores[i]:.3g}, cut {ranking.cut:.3g}: {ranking.about}"
            findings.append(
                Finding(names[i], f"outlier_{kind}", "warning", None, float(ranking.scores[i]), detail, _said(wanted))
            )
    columns = {
        "image": pl.Series(names, dtype=pl.String),
        "flagged": flagged,
        **{kind: _column(rankings.get(kind), len(names)) for kind in _RANKINGS},
        **{f"{kind}_cut": [rankings[kind].cut if kind in rankings else None] * len(names) for kind in _RANKINGS},
        "freedom": [rankings["mahalanobis"].freedom if "mahalanobis" in rankings else None] * len(names),
        "scale": [rankings["mahalanobis"].scale if "mahalanobis" in rankings else None] * len(names),
        **_views(scores, flagged, draw=spec.pictures),
    }
    numbers = {name: pl.Float64 for name in columns if name not in ("image", "flagged")}
    found = pl.DataFrame(columns, schema_overrides=numbers).with_columns(pl.col(*numbers).fill_nan(None))
    first = next(iter(kinds), "mahalanobis")
    return found.sort(first, descending=True, nulls_last=True), findings


def _said(spec: OutlierSpec) -> str:
    return "dropped" if spec.decision == "drop" else "kept"


def _column(ranking: Ranking | None, count: int) -> npt.NDArray[np.float64]:
    return np.full(count, np.nan) if ranking is None else ranking.scores


def _views(
    scores: npt.NDArray[np.float64], flagged: npt.NDArray[np.bool_], *, draw: bool
) -> dict[str, npt.NDArray[np.float64]]:
    """Return places of the images on two maps."""
    places = np.full((len(scores), 4), np.nan)
    width = min(scores.shape[1], 2)
    places[:, :width] = scores[:, :width]
    if draw:
        places[:, 2:] = embed(scores, flagged, np.random.default_rng(0))
    return {name: places[:, k] for k, name in enumerate(("pca_1", "pca_2", "tsne_1", "tsne_2"))}


def _shared_labels(
    index: Index, inspections: Sequence[Inspection], clusters: Sequence[Sequence[int]], spec: OutlierSpec
) -> Iterator[Finding]:
    digests = [found.label_digest if found.usable else None for found in inspections]
    for images in shared_labels(digests, clusters) if spec.label_maps else []:
        detail = f"{len(images)} different images carry this very label map: labels of one of them at most are its own"
        for image in images:
            other = images[1] if image == images[0] else images[0]
            names = index.images[image], index.images[other]
            yield Finding(names[0], "identical_labels", "warning", names[1], float(len(images)), detail, _said(spec))


def _shift_notes(parts: pl.DataFrame, spec: AuditSpec) -> Iterator[Finding]:
    tests = parts.drop_nulls("p").unique(["column", "shift"], maintain_order=True)  # of two parts, one test
    for row, p in zip(tests.iter_rows(named=True), holm(tests["p"].to_list()), strict=True):
        if p > spec.balance.level or row["shift"] < _SHIFTED:
            continue
        what = "images" if row["column"] == "labels" else f"images of {row['column']}"
        after = f" after Holm, for {tests.height} comparisons" if tests.height > 1 else ""
        detail = (
            f"{what} {row['name']} look different from the others: energy coefficient {row['shift']:.2f} "
            f"(0 alike, 1 apart), p = {p:.2g}{after}"
        )
        yield Finding("", "shift", "note", None, row["shift"], detail, "kept")


def _styles(index: Index, inspections: Sequence[Inspection], spec: AuditSpec, rng: np.random.Generator) -> pl.DataFrame:
    rows = [i for i, found in enumerate(inspections) if found.usable and found.style is not None]
    if not rows:
        return pl.DataFrame(schema=STYLES_SCHEMA)
    table = index.table[rows]
    styles = np.array([inspections[i].style for i in rows], np.float64).reshape(-1, len(STYLES))
    columns = style_columns(index, spec)
    found = [
        compare_styles(c, styles, table[c].to_list(), table["group"].to_list(), spec.balance, rng) for c in columns
    ]
    return pl.concat(found)


def style_columns(index: Index, spec: AuditSpec) -> list[str]:
    """Return the columns of the index whose values are label sources that can be compared."""
    wanted = ["label_source", *(["part"] if spec.balance.parts_as_sources else [])]
    return [c for c in wanted if c in index.table.columns and index.table[c].drop_nulls().n_unique() > 1]


def _style_findings(styles: pl.DataFrame, spec: AuditSpec) -> Iterator[Finding]:
    for severity, effect, detail in differences(styles, spec.balance.level):
        yield Finding("", "label_style", severity, None, effect, detail, "kept")

"""How the labelled images were cut into folds, how even these are, and that nothing crosses."""

from __future__ import annotations

from typing import Any

import polars as pl

from maskwright.report.blocks import DASH, Group, Section, Table, between, count, percent, plural
from maskwright.report.collect import Artifacts
from maskwright.report.collect import number as to_float
from maskwright.report.words import crossing_groups, metric_name


def folds(artifacts: Artifacts) -> Section | None:
    """Return how the labelled images were cut, and the proof that no group crosses."""
    if artifacts.folds is None and artifacts.certificate is None:
        return None
    words, groups = [], []
    certificate = artifacts.certificate or {}
    if artifacts.folds is not None:
        held = artifacts.folds.filter(pl.col("fold") == -1).height
        inside = artifacts.folds.filter(pl.col("fold") >= 0)
        pool = artifacts.folds["fold"].null_count()
        n = inside["fold"].n_unique()
        words.append(f"{plural(inside.height, 'image')} in {plural(n, 'fold')}, {count(held)} held out.")
        if pool:
            words.append(f"{plural(pool, 'more labelled image')} in the pool: their labels were not looked at.")
    if certificate:
        crossing = crossing_groups(artifacts)
        words.append(
            "No group lies in more than one fold."
            if crossing == 0
            else f"{plural(crossing, 'group')} in more than one fold!"
        )
        if copies := certificate.get("crossing_duplicates"):
            words.append(f"{plural(copies, 'cluster')} of duplicates in more than one fold!")
    if per_fold := certificate.get("per_fold"):
        table = Table(
            "The folds, and what deviates most in each",
            ("fold", "images", "groups", "largest deviation", "of"),
            [
                (
                    _fold(r["fold"]),
                    count(to_float(r.get("images"))),
                    count(to_float(r.get("groups"))),
                    percent(to_float(r.get("largest_deviation"))),
                    str(r.get("feature") or DASH),
                )
                for r in per_fold
            ],
            frozenset({0, 4}),
        )
        groups.append(Group("How even they are", tables=[table, *_families(certificate)]))
    if leaks := certificate.get("leaks"):
        groups.append(_leaks(leaks))
    if text := certificate.get("text"):
        groups.append(Group("Certificate", code=str(text)))
    if artifacts.price is not None:
        groups.append(_price(artifacts.price))
    return Section("folds", "Folds", words, groups)


def _families(certificate: dict[str, Any]) -> list[Table]:
    """Return how far the folds depart from all images, beside what chance would give."""
    rows = [
        (
            family,
            percent(to_float(r.get("deviation"))),
            percent(to_float(r.get("random"))),
            percent(to_float(r.get("more_even_than"))),
            f"{r.get('feature')}, {_fold(r.get('fold'))}",
        )
        for family, r in (certificate.get("families") or {}).items()
    ]
    names = ("", "largest deviation", "of random folds (median)", "more even than", "where")
    return [Table("Against folds cut at random from the same groups", names, rows, frozenset({0, 4}))] if rows else []


def _leaks(leaks: dict[str, dict[str, int]]) -> Group:
    """Return what the folds do about the leaks across the parts that the folder gives."""
    apart = sum(found["apart"] for found in leaks.values())
    words = (
        f"{plural(apart, 'leak')} across a border: scores there are too good. The findings of the audit name the "
        "option that keeps such images together."
        if apart
        else "None of them lies across a border of these folds."
    )
    keys = ("found", "together", "apart", "outside")
    rows = [(kind, *(count(found[key]) for key in keys)) for kind, found in leaks.items()]
    names = ("kind", "found", "on one side", "across a border", "not both in folds")
    return Group("Leaks across given parts", [words], [Table("Where the folds put them", names, rows, frozenset({0}))])


def _fold(fold: Any) -> str:
    return "held out" if fold == -1 else str(fold)


def _price(price: dict[str, Any]) -> Group:
    """Return what the same training scores on naive folds, which know of no group and no duplicate."""
    title = "The price of leaks"
    if not price["metrics"]:
        return Group(title, [str(price["note"])])
    words = (
        f"The same training on naive folds, which cut {plural(price['groups_cut'], 'group')}, scored out of fold on "
        "the same images. The difference is what leaks would have made the scores look better by; it is no real gain. "
        f"{price.get('covered', '')}"
    ).strip()
    rows = [
        (metric_name(metric), *(between(found[key]) for key in ("clean", "naive", "price")))
        for metric, found in price["metrics"].items()
    ]
    names = ("metric", "these folds", "naive folds", "difference (paired)")
    return Group(title, [words], [Table("Out-of-fold scores", names, rows, frozenset({0}))])

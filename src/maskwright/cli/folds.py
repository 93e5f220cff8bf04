"""What `maskwright split` and `run` print of the folds and their certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskwright.cli.console import say, table

_SHOWN = 15
_CATEGORIES = 8
_MARKED = 0.001
"""Deviation from which a fold is marked: what rounds to 0.1 % of the pixels."""


def print_folds(certificate: dict[str, Any]) -> None:
    """Print the folds, what departs most in them and how even chance would be, and what became of leaks."""
    _print_shares(certificate)
    rows = [
        (
            family,
            f"{100 * found['deviation']:.1f}",
            f"{100 * found['random']:.1f} ({100 * found['random_low']:.1f})",
            f"{found['more_even_than']:.0%}",
            f"{found['feature']}, {'held out' if found['fold'] == -1 else 'fold ' + str(found['fold'])}",
        )
        for family, found in certificate["families"].items()
    ]
    columns = ("largest deviation of", "points", "by chance (5 %)", "more even than", "where")
    title = "How even: percentage points of the images, and what the median (best 5 %) of random grouped folds has"
    table(title, columns, rows, words={0, 4})
    _print_leaks(certificate.get("leaks") or {})
    _say_moved(certificate)


def _print_shares(certificate: dict[str, Any]) -> None:
    """Print the folds as rows, and as columns the categories whose shares depart most."""
    rows, overall = certificate["per_fold"], certificate.get("pixel_shares") or {}  # none in runs of earlier versions
    apart = {name: [abs(row["pixel_shares"][name] - share) for row in rows] for name, share in overall.items()}
    names = sorted(overall, key=lambda name: -max(apart[name]))
    if len(names) == 2:  # one is what the other leaves
        names = [list(overall)[-1]]
    shown = [name for name in overall if name in names[:_CATEGORIES]]
    drawn = []
    for place, row in enumerate(rows):
        shares = [_share(row["pixel_shares"][n], overall[n], apart[n][place] == max(apart[n])) for n in shown]
        fold = "held out" if row["fold"] == -1 else str(row["fold"])
        drawn.append((fold, str(row["images"]), str(row["groups"]), *shares))
    images, groups = certificate["images"], certificate["groups"]
    drawn.append(("all", str(images), str(groups), *(f"{overall[name]:.1%}  " for name in shown)))
    more = f"; {len(names) - len(shown)} more evenly spread categories are not shown" if len(names) > len(shown) else ""
    title = f"Folds, and the share of the pixels (▲▼: the one that departs most from all{more})"
    table(title, ("fold", "images", "groups", *shown), drawn)


def _share(share: float, of_all: float, most: bool) -> str:
    mark = " " if not most or abs(share - of_all) < _MARKED else "▲" if share > of_all else "▼"
    return f"{share:.1%} {mark}"


def _print_leaks(leaks: dict[str, dict[str, int]]) -> None:
    if not leaks:
        return
    keys = ("found", "together", "apart", "outside")
    rows: list[Sequence[str]] = [(kind, *(str(found[key]) for key in keys)) for kind, found in leaks.items()]
    columns = ("kind", "found", "on one side", "across a border", "not both in folds")
    table("Leaks that the audit found across given parts, and where the folds put them", columns, rows)
    if any(found["apart"] for found in leaks.values()):
        say(
            "  across a border: scores there are too good. What the audit says of each names the option that keeps "
            "them together (audit/findings.parquet)"
        )


def _say_moved(certificate: dict[str, Any]) -> None:
    moved = certificate["moved"]
    if moved:
        say(f"{len(moved)} image(s) changed their fold, because a new duplicate or group links images of several:")
    for row in moved[:_SHOWN]:
        say(f"  {row['image']}: {row['before']} → {row['now']}")

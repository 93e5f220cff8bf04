"""Runs inside of runs: they learn from the same images, masks and findings, which are read and looked at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from maskwright.artifacts import RunFolder, read_json, write_bytes, write_json, write_table
from maskwright.errors import UsageError, problem
from maskwright.recipe import Recipe

SHARED = ("index.parquet", "leftovers.json", "meta.parquet", "notes.json", "imported", "audit")
"""What the stages up to the audit make."""

_DECIDED = ("contents.parquet", "copies.json", "duplicates.json", "removed.csv")
_MADE = ("folds.csv", "folds.json")
_DONE = ("split", "train-fold-*", "predict-*")


def share_data(folder: RunFolder, inner: RunFolder, recipe: Recipe, table: pl.DataFrame) -> None:
    """Give a run the images, masks and findings of another, as the decisions leave them there.

    Its records of what made them are the other run's, so that it is stale when they are.

    Args:
        folder: the run that has read and audited the data.
        inner: that which goes on from there, with `pipeline.run(…, since="split")`.
        recipe: of the inner run; its data section may differ from the other's.
        table: the decided index as the inner run sees it.
    """
    for path in (inner.records, inner.decided):
        path.mkdir(parents=True, exist_ok=True)
    link_to(folder, inner, SHARED)
    for name in _DECIDED:
        if not (folder.decided / name).is_file():  # duplicates.json: none in earlier versions' runs
            continue
        write_bytes(inner.decided / name, (folder.decided / name).read_bytes())
    write_table(inner.decided / "images.parquet", table)
    for name in ("index", "audit", "decide"):
        record = read_json(folder.records / f"{name}.json")
        known = {"resolved": {"data": recipe.data.model_dump(mode="json")}} if name == "index" else {}
        write_json(inner.records / f"{name}.json", record | known)


def link_to(folder: RunFolder, inner: RunFolder, names: Iterable[str]) -> None:
    """Link what a run made into the folder of another, under the same names.

    Raises:
        UsageError: something else stands there.
    """
    inner.root.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder.root / name).exists() or (inner.root / name).is_symlink():
            continue
        if (inner.root / name).exists():
            next_move = "remove it, or give another --out; nothing is overwritten"
            raise UsageError(
                problem(
                    f"a link to {folder.root / name}",
                    "a file or folder",
                    where=str(inner.root / name),
                    next_move=next_move,
                )
            )
        link = inner.root.resolve() / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(folder.root.resolve() / name, link.parent))


def copy_records(folder: RunFolder, inner: RunFolder, patterns: Iterable[str]) -> None:
    """Copy the records of finished tasks of a run to another, which has what they made."""
    inner.records.mkdir(parents=True, exist_ok=True)
    for pattern in patterns:
        for record in sorted(folder.records.glob(f"{pattern}.json")):
            write_json(inner.records / record.name, read_json(record))


def share_training(folder: RunFolder, inner: RunFolder) -> None:
    """Give a run the folds, supervised trainings and their predictions of a finished one with the same recipe so far.

    Files are linked, not copied, where the disk allows it.

    Args:
        folder: the run that has trained and predicted.
        inner: that which goes on with `pipeline.run(…, since="train")`, after `share_data`.
    """
    for name in _MADE:
        write_bytes(inner.root / name, (folder.root / name).read_bytes())
    for file in sorted(path for path in (folder.root / "round-0").rglob("*") if path.is_file()):
        _link(file, inner.root / file.relative_to(folder.root))
    copy_records(folder, inner, _DONE)


def write_once(path: Path, table: pl.DataFrame) -> None:
    """Write a CSV table, unless it stands there: a new file of the same content would be another to who reads it."""
    if not path.is_file() or path.read_text(encoding="utf-8") != table.write_csv():
        write_table(path, table)


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        target.hardlink_to(file)
    except OSError:  # another disk, or one without links
        write_bytes(target, file.read_bytes())

"""What a run knows of folds beside folds.csv: which images are the pool, and the cut that a redo keeps to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, atomic, read_json
from maskwright.tasks import fingerprint


def pool_of(index: pl.DataFrame, folds: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the index whose images are neither in a fold nor held out."""
    return index.join(folds.drop_nulls("fold"), on="image", how="anti", maintain_order="left")


def copies_of(folder: RunFolder) -> list[list[str]]:
    """Return the clusters of images that show the same picture, as the audit and the decisions have them."""
    told = folder.decided / "duplicates.json"  # none in earlier versions' runs
    found = told if told.is_file() else folder.audit / "duplicates.json"
    return [*read_json(found), *read_json(folder.decided / "copies.json")]


def keep_folds(folder: RunFolder, spec: dict[str, Any]) -> None:
    """Before a split is done anew: keep the folds if they were cut in the same way, of other images.

    Args:
        folder: the run folder; gets previous-FINGERPRINT.csv, which `previous_folds` finds under the same settings.
        spec: of the split to come.
    """
    record = folder.records / "split.json"
    if not record.is_file() or not folder.folds.is_file():  # cut short after this was done: what was kept stands
        return
    known, settings = read_json(record), _settings(spec)
    same = settings in [_settings(cut) for cut in (known["spec"], known["resolved"])]
    kept = _kept(folder, spec)
    if same:
        with atomic(kept) as temporary:
            shutil.copyfile(folder.folds, temporary)
    for other in folder.root.glob("previous-*.csv"):
        if other != kept or not same:
            other.unlink()


def previous_folds(folder: RunFolder, spec: dict[str, Any]) -> Path | None:
    """Return the file of the earlier cut that a split keeps to, None for none."""
    stated = spec["split"]["previous"]
    if stated is None or spec["split"]["file"] is not None:
        return None
    if is_own(folder, stated):
        kept = _kept(folder, spec)
        return kept.resolve() if kept.is_file() else None
    return Path(stated)


def is_own(folder: RunFolder, previous: str) -> bool:
    """Return whether an earlier cut is that of the run folder itself."""
    return previous == "auto" or Path(previous).resolve().parent == folder.root.resolve()


def _kept(folder: RunFolder, spec: dict[str, Any]) -> Path:
    return folder.root / f"previous-{fingerprint(_settings(spec))}.csv"


def _settings(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what decides a cut of given images."""
    split = {key: value for key, value in spec["split"].items() if key != "previous"}
    return {"split": split, "seed": spec["seed"], **{key: spec["data"][key] for key in ("group", "group_regex")}}

"""Whether the data folders of a run have changed: by sizes and times and, where times alone did, by contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, read_json, read_table, write_table
from maskwright.data.formats import entries
from maskwright.data.formats.files import find_files
from maskwright.processes import in_order
from maskwright.recipe import Recipe
from maskwright.tasks import file_state, fingerprint

CONTENTS = "contents.parquet"
"""Name of the table of digests among the records of a run."""
LARGEST = 8 << 30
"""Bytes of data up to which contents are known: to read as much takes a fraction of what the audit does."""

_Key = tuple[str, str]


def state_of(folder: RunFolder, recipe: Recipe) -> dict[str, Any]:
    """Return what is compared to see that data have changed: of each entry of a folder, files, bytes and a hash.

    The hash is of sizes and times. Where these are others than the index was made from, and the contents are the same,
    as after a copy, it is the state that the index was made from.

    Args:
        folder: of the run.
        recipe: with the data folders.
    """
    now, record = _state(recipe), folder.records / "index.json"
    known: dict[str, Any] = (read_json(record).get("outside") or {}) if record.is_file() else {}
    return known if known and known != now and _are_same(folder, recipe, known) else now


def note_contents(folder: RunFolder, recipe: Recipe) -> None:
    """Write digests of the files that the index was made from, or their new times; of too much data nothing.

    Args:
        folder: of the run, whose index is done.
        recipe: with the data folders.
    """
    known, path = read_json(folder.records / "index.json")["outside"], folder.records / CONTENTS
    if sum(entry["bytes"] for entry in known.values()) > LARGEST:
        return
    now = _state(recipe)
    of = fingerprint([known, now])
    if (path.is_file() and read_table(path)["of"].unique().to_list() == [of]) or state_of(folder, recipe) != known:
        return
    files = _files(recipe)
    rows = [
        (*key, *file_state(file), digest)
        for (key, file), digest in zip(files.items(), _digests(files.values()), strict=True)
    ]
    if _state(recipe) == now:  # nobody wrote meanwhile
        schema = {"source": pl.String, "file": pl.String, "bytes": pl.Int64, "time": pl.Int64, "digest": pl.String}
        table = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
            of=pl.lit(of), made=pl.lit(fingerprint(known))
        )
        write_table(path, table)


def _are_same(folder: RunFolder, recipe: Recipe, known: dict[str, Any]) -> bool:
    """Return whether files have the names and contents that the index was made from."""
    path = folder.records / CONTENTS
    if not path.is_file() or (table := read_table(path))["made"].unique().to_list() != [fingerprint(known)]:
        return False
    noted = {(row["source"], row["file"]): row for row in table.iter_rows(named=True)}
    files = _files(recipe)
    if noted.keys() != files.keys():
        return False
    states = {key: file_state(file) for key, file in files.items()}
    if any(states[key][0] != int(row["bytes"]) for key, row in noted.items()):
        return False
    moved = [key for key, row in noted.items() if states[key][1] != row["time"]]
    return [noted[key]["digest"] for key in moved] == list(_digests(files[key] for key in moved))


def _state(recipe: Recipe) -> dict[str, Any]:
    found = dict[str, Any]()
    for source, root, format_name in _sources(recipe):
        for entry in entries(root, format_name):
            states: list[list[Any]] = [[path.relative_to(root).as_posix(), *file_state(path)] for path in _below(entry)]
            sums = {"files": len(states), "bytes": sum(state[1] for state in states), "state": fingerprint(states)}
            found[f"{source}{entry.name}"] = sums
    return found


def _sources(recipe: Recipe) -> list[tuple[str, Path, str]]:
    """Return what names of entries begin with, the folder, and its format."""
    further = [(f"further-{k}/", Path(one.root), one.format) for k, one in enumerate(recipe.data.further, 1)]
    return [("", Path(recipe.data.root), recipe.data.format), *further]


def _files(recipe: Recipe) -> dict[_Key, Path]:
    """Return (source, file below it) → path of all that is read."""
    return {
        (source, path.relative_to(root).as_posix()): path
        for source, root, format_name in _sources(recipe)
        for entry in entries(root, format_name)
        for path in _below(entry)
    }


def _below(entry: Path) -> list[Path]:
    return [path for path in find_files(entry) if path.is_file()] if entry.is_dir() else [entry]


def _digests(files: Iterable[Path]) -> Iterable[str | None]:
    return in_order(_digest, files)


def _digest(file: Path) -> str | None:
    """Return a digest of a file, None of one that can't be read: the audit says so."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None

"""What is known of each predicted image, a row each: noted as it is made, gathered into one table at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import write_table
from maskwright.errors import UsageError, problem
from maskwright.predict.log import LOG, SHARDS, append_line

SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "image": pl.String,
    "label": pl.String,
    "height": pl.Int64,
    "width": pl.Int64,
    "seconds": pl.Float64,
    "entropy": pl.Float64,
    "disagreement": pl.Float64,
}
"""Columns of the table: the image's name, its file, the label file below the folder, its size in pixels, the wall time
since the image before was done, and the means of the uncertainty maps."""

TABLE = "predictions.parquet"


@dataclass(frozen=True)
class Shard:
    """A part of the images of a folder: those whose names' hash says so, whatever else lies there.

    Attributes:
        number: 1..count.
        count: how many there are.

    Raises:
        UsageError: a number outside of 1..count.

    Example:
        >>> names = [f"image_{n}" for n in range(100)]
        >>> sum(name in Shard(1, 3) for name in names) + sum(name in Shard(2, 3) for name in names) < 100
        True
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(
                problem(
                    f"a shard from 1 to {self.count}",
                    f"{self.number}",
                    where="--shard",
                    next_move="give --shards N, and --shard K with K from 1 to N",
                )
            )

    def __contains__(self, name: str) -> bool:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    @property
    def label(self) -> str:
        """What its files are called by."""
        return f"{self.number:05d}-of-{self.count:05d}"


def working_folder(out: Path, shard: Shard | None) -> Path:
    """Return where the log and the lock of a prediction lie: the folder itself, or one of the shard inside it.

    Raises:
        UsageError: the folder holds labels of other shards, or of none.
    """
    others = sorted(p.name for p in (out / SHARDS).glob("*")) if out.is_dir() else []
    count = None if shard is None else f"-of-{shard.count:05d}"
    foreign = [name for name in others if count is None or not name.endswith(count)]
    if foreign or (shard is not None and (out / LOG).is_file()):
        got = f"one of shard {foreign[0]}" if foreign else "one that was predicted as a whole"
        raise UsageError(
            problem(
                "a folder for these shards" if shard else "a folder that no shards write into",
                got,
                where=str(out),
                next_move="give another --out, or the same --shards as before",
            )
        )
    return out if shard is None else out / SHARDS / shard.label


def table_path(out: Path, shard: Shard | None) -> Path:
    """Return the table of a folder, or of one shard; `predictions*.parquet` are all of them."""
    return out / TABLE if shard is None else out / f"predictions-{shard.label}.parquet"


class ResultLog:
    """`results.jsonl` in a hidden place: one line an image, written before its label, so that no label is without one.

    Args:
        folder: as `working_folder` gives it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".results.jsonl"

    def add(self, row: Mapping[str, Any]) -> None:
        """Note an image; a later line of the same name replaces an earlier one."""
        append_line(self.path, dict(row))

    def gather(self, names: Collection[str], target: Path) -> int:
        """Write the rows of these names as a Parquet table in the order of the names; return how many there are."""
        wanted, rows = set(names), dict[str, dict[str, Any]]()
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []:
            try:
                row = json.loads(line)
            except ValueError:  # a killed process cuts a line short
                continue
            if row["name"] in wanted:
                rows[row["name"]] = row
        table = pl.DataFrame([rows[name] for name in names if name in rows], schema=SCHEMA, orient="row")
        write_table(target, table)
        return table.height

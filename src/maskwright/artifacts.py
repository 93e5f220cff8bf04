"""The run folder: where each artifact lies, and writing that is whole or not there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import UsageError, problem

if TYPE_CHECKING:  # a quarter of a second, which --help needn't wait for
    import polars as pl

LOCK = ".lock"
"""Name of the file that a process holds while it writes into a folder."""

RECORDS = ".tasks"
"""Folder by which a run folder is told from others: one file a finished task."""

MANIFEST = "manifest.json"
"""By which an export folder is told from a run folder: what stands around its graphs."""

IMPORTED = "@/"
"""What paths of files begin with that the index itself wrote, from polygons, arrays and the like."""

DECIDED = IMPORTED + "decided/"
"""What paths of label files begin with that the decisions made: masks/ hold category ids, instances/ object numbers."""

MADE = "@run/"
"""What paths of label files begin with that a round of self-training made; the rest is a path in the run folder."""

THIRDS = ("third-1.ckpt", "third-2.ckpt")
"""Checkpoints of a third and two thirds of a training, kept where images are ranked by their agreement."""

START = "start.json"
"""File in a fold's folder: what its network started from, and which images had been seen by then."""

ACCEPTED = "accepted.parquet"
"""File in `decided`: images whose masks are predictions that somebody accepted, or drew on."""

REVIEW = "review"
"""Folder of the review in a run folder: masks/ and seen/ of what was answered, and salt."""

_OLD = 3600.0
"""Seconds after which nobody goes on writing a file of the review."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.tmp(\..*)?")
_NO_ROOM = 1 << 20


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder (see NAMES in the documentation)."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.yaml"

    @property
    def index(self) -> Path:
        """One row an image."""
        return self.root / "index.parquet"

    @property
    def imported(self) -> Path:
        """Images and label files that were rendered from other formats."""
        return self.root / "imported"

    @property
    def audit(self) -> Path:
        """Findings and charts."""
        return self.root / "audit"

    @property
    def findings(self) -> Path:
        """One row a finding."""
        return self.audit / "findings.parquet"

    @property
    def decisions(self) -> Path:
        """The log of what policies and people decided, a JSON line each."""
        return self.root / "decisions.jsonl"

    @property
    def decided(self) -> Path:
        """The index as the decisions leave it (images.parquet), and what was removed (removed.csv)."""
        return self.root / "decided"

    @property
    def folds(self) -> Path:
        """Columns image, group, fold; -1 is held out."""
        return self.root / "folds.csv"

    @property
    def certificate(self) -> Path:
        """Proof that no group crosses, and the deviation of each fold."""
        return self.root / "folds.json"

    @property
    def tuned(self) -> Path:
        """Post-processing chosen on out-of-fold predictions."""
        return self.root / "tuned.json"

    @property
    def fused(self) -> Path:
        """Of a folder of fused runs: its members and their weights."""
        return self.root / "fused.json"

    @property
    def predictions(self) -> Path:
        """Label maps, tables, scores, report."""
        return self.root / "predictions"

    @property
    def records(self) -> Path:
        """One file a finished task: the fingerprint of what made its artifacts."""
        return self.root / RECORDS

    @property
    def suspects(self) -> Path:
        """Masks that out-of-fold predictions contradict."""
        return self.root / "suspects"

    def fold(self, fold: int, round_number: int = 0, team: int = 0) -> Path:
        """Checkpoints and curves of one training; of a fold's several networks for different things, of one of them."""
        base = self.root / f"round-{round_number}"
        return (base / f"team-{team}" if team else base) / f"fold-{fold}"

    @property
    def adopted(self) -> Path:
        """Which round of self-training is used, and why."""
        return self.root / "adopted.json"

    @property
    def adopted_round(self) -> int:
        """The round whose networks predict; 0, the supervised training, where nothing else was adopted."""
        return int(read_json(self.adopted)["round"]) if self.adopted.is_file() else 0

    def pseudo(self, round_number: int, fold: int) -> Path:
        """Pseudo-labels that one fold of a round learns from, and their ledger."""
        return self.root / f"round-{round_number}" / "pseudo" / f"fold-{fold}"

    def checkpoints(self, fold: int, kind: str, round_number: int | None = None) -> list[Path]:
        """Return the files of one training that `predict.checkpoint` means: last, best, or the several of topk.

        Args:
            fold: of the training.
            kind: last, best or topk.
            round_number: None: the adopted one.

        Raises:
            UsageError: topk, and none were kept.
        """
        round_number = self.adopted_round if round_number is None else round_number
        return self.kept_in(self.fold(fold, round_number), kind)

    def kept_in(self, training: Path, kind: str) -> list[Path]:
        """Return the files in the folder of one training; as `checkpoints`."""
        if kind != "topk":
            return [training / f"{kind}.ckpt"]
        kept = sorted(training.glob("top-*.ckpt"), key=lambda path: (len(path.name), path.name))
        if not kept:
            raise UsageError(
                problem(
                    "the several best checkpoints of a training",
                    "none that were kept",
                    where=str(training),
                    next_move="train with --set train.keep=3 (or more) and at least two folds, or use last or best",
                )
            )
        return kept

    def all_checkpoints(self, kind: str, folds: int) -> list[Path]:
        """Return those of all folds: what predicts new images."""
        return [path for fold in range(folds) for path in self.checkpoints(fold, kind)]

    def member_run(self, member: dict[str, Any]) -> RunFolder:
        """Return where the run of a member in fused.json lies now: as it lay from here, or where it was."""
        beside = (self.root / member["beside"]).resolve()
        return RunFolder(beside if beside.is_dir() else Path(member["run"]))

    def store(self, part: str, round_number: int | None = None) -> Path:
        """Probability store of one part, such as `oof`, of the adopted round if none is named."""
        round_number = self.adopted_round if round_number is None else round_number
        return self.root / f"round-{round_number}" / part


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run."""
    return RunFolder(folder).recipe.is_file() and RunFolder(folder).records.is_dir()


def is_export(folder: Path) -> bool:
    """Tell an export folder from a run folder."""
    return (folder / MANIFEST).is_file()


def locate(root: Path, imported: Path, path: str) -> Path:
    """Return where a file of the index lies.

    Args:
        root: the data folder, which paths are relative to.
        imported: what `IMPORTED` at the beginning of a path stands for; beside it, in the run folder, lies what `MADE`
            stands for.
        path: as the index has it.
    """
    if path.startswith(MADE):
        return imported.parent / path.removeprefix(MADE)
    return imported / path.removeprefix(IMPORTED) if path.startswith(IMPORTED) else root / path


def turned_like(label: str, image: Path) -> Path | None:
    """Return the image that a label file is turned with, None for one that index or round wrote, which is upright.

    Args:
        label: path as the index has it.
        image: where its image lies.
    """
    return None if label.startswith((IMPORTED, MADE)) else image


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    Raises:
        OSError: it can't be written; names `path`, also where a library says it in other words.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if (unwritable := _unwritable(error, temporary, path)) is None:
            raise
        raise unwritable from error
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(error: Exception, temporary: Path, path: Path) -> OSError | None:
    """Return the OSError that an error is at heart, with the path; None if it is one already, or something else.

    Polars raises a ComputeError that holds `(os error 28)`, torch a RuntimeError about positions. Of the temporary
    file the user knows nothing.
    """
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        if os.fsdecode(error.filename) != str(temporary):
            return None
        return OSError(error.errno, error.strerror, str(path))
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (said := re.search(r"\(os error (\d+)\)", str(error))):
        code = int(said[1])
    if code is None and shutil.disk_usage(path.parent).free < _NO_ROOM:
        code = errno.ENOSPC
    return None if code is None else OSError(code, os.strerror(code), str(path))


def sweep(root: Path) -> None:
    """Remove what `atomic` left below a folder when its process was killed. Nobody else may be writing there.

    Folders with a lock file of their own are left out: whoever holds it may be writing. A review writes beside a run:
    to the log under a lock of its own, which is held here, and into `REVIEW`, of which only what is old is removed.
    """
    if not root.is_dir():
        return
    place = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)  # as `decisions.held` does
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not (Path(folder) / name / LOCK).exists()]
            young = time.time() - _OLD if REVIEW in Path(folder).relative_to(root).parts else None
            for path in (Path(folder) / name for name in names if _TEMPORARY.fullmatch(name)):
                with suppress(FileNotFoundError):  # a review has just given it its name
                    if young is None or path.stat().st_mtime < young:
                        path.unlink()
    finally:
        os.close(place)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a binary file whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON; NaN becomes null, which is what other tools read."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | Path, table: pl.DataFrame) -> None:
    """Write a table as Parquet, or as CSV where the name ends so."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary)


def read_folds(path: str | Path) -> pl.DataFrame:
    """Read folds.csv: image and group as text, whatever they look like, fold as a number."""
    import polars as pl

    return pl.read_csv(path, schema={"image": pl.String, "group": pl.String, "fold": pl.Int64})


def read_table(path: str | Path) -> pl.DataFrame:
    """Read a Parquet or CSV table."""
    import polars as pl

    return pl.read_csv(path) if Path(path).suffix == ".csv" else pl.read_parquet(path)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: arrays as lists, NaN as None, keys as text."""
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return value

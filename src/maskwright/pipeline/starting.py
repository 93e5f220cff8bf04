"""From which older network a fold may start: one that has seen none of the images that score the new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from maskwright.artifacts import ACCEPTED, START, RunFolder, read_folds, read_json, read_table, write_json
from maskwright.data.index import decided_index
from maskwright.errors import DataError, problem
from maskwright.pipeline.renamed import check_names
from maskwright.recipe import Recipe
from maskwright.split import HELD_OUT

_SHOWN = 3


@dataclass(frozen=True)
class Old:
    """A checkpoint of an older run.

    Attributes:
        path: of it.
        folds: its run's folds.csv; None if there is none.
        seen: images that its network and those it started from have been trained on, with masks or with predictions
            that somebody accepted.
    """

    path: Path
    folds: pl.DataFrame | None
    seen: frozenset[str]

    @classmethod
    def of(cls, path: Path) -> Old:
        """Look at the files around a checkpoint: RUN/round-R/fold-K/last.ckpt."""
        if len(path.parents) < 3:  # /NAME.ckpt or /FOLDER/NAME.ckpt is no run's
            return cls(path, None, frozenset())
        run, number = RunFolder(path.parents[2]), path.parent.name.removeprefix("fold-")
        if not run.folds.is_file() or not number.isdigit():
            return cls(path, None, frozenset())
        folds = read_folds(run.folds)
        trained = folds.filter(pl.col("fold") != HELD_OUT)
        alone = trained["fold"].n_unique() == 1
        seen = set(trained["image"] if alone else trained.filter(pl.col("fold") != int(number))["image"])
        if (note := path.parent / START).is_file():
            seen |= set(read_json(note)["seen"])
        if (accepted := run.decided / ACCEPTED).is_file():  # by this or another of its networks
            seen |= set(read_table(accepted)["image"])
        return cls(path, folds, frozenset(seen))

    def seen_of(self, folds: pl.DataFrame, wanted: frozenset[str]) -> list[str]:
        """Return the wanted images that were seen, or another image of their group; groups of either run count.

        Args:
            folds: folds.csv of the new run.
            wanted: images that score the new network.
        """
        found = set(wanted & self.seen)
        for table in (folds, self.folds):
            if table is not None:
                groups = table.filter(pl.col("image").is_in(self.seen))["group"].unique()
                crossing = table.filter(pl.col("group").is_in(groups.implode()))["image"]
                found |= wanted & set(crossing)
        return sorted(found)


def choose_start(folder: RunFolder, recipe: Recipe, fold: int) -> Path | None:
    """Return the checkpoint that a fold starts from, and note it in the fold's folder; None to start afresh.

    Of an older run folder the fold of the same number is asked first.

    Raises:
        DataError: there is no checkpoint, or each has seen images that score the new network.
    """
    if recipe.train.start is None:
        return None
    folds, given = read_folds(folder.folds), Path(recipe.train.start)
    scored = (pl.col("fold") == HELD_OUT) | ((pl.col("fold") == fold) & (recipe.split.folds > 1))
    wanted = frozenset(folds.filter(scored)["image"])
    found = [Old.of(path) for path in _checkpoints(given, fold)]
    leaks = [old.seen_of(folds, wanted) for old in found]
    known = [place for place, old in enumerate(found) if old.folds is not None]
    clean = [place for place in known if not leaks[place]]
    if not clean and not recipe.train.start_unchecked:
        raise _leak(given, fold, leaks[known[0]] if known else None)
    place = clean[0] if clean else 0
    chosen = found[place]
    if not recipe.train.start_unchecked:  # else it may lie anywhere
        older = RunFolder(chosen.path.parents[2])
        if older.recipe.is_file():
            check_names(older, folder, decided_index(folder, recipe.data), where=f"train.start: {given}")
    note = {
        "checkpoint": str(chosen.path),
        "checked": chosen.folds is not None,
        "leaked": leaks[place],
        "seen": sorted(chosen.seen),
    }
    folder.fold(fold).mkdir(parents=True, exist_ok=True)
    write_json(folder.fold(fold) / START, note)
    return chosen.path


def _checkpoints(given: Path, fold: int) -> list[Path]:
    """Return the checkpoint that is named, or a run's last ones, that of the fold's own number first."""
    if given.is_file():
        return [given]
    number = RunFolder(given).adopted_round
    paths = sorted(
        given.glob(f"round-{number}/fold-*/last.ckpt"), key=lambda path: (path.parent.name != f"fold-{fold}", path)
    )
    if not paths:
        expected = "a run folder with trained folds, or a checkpoint"
        next_move = "give the folder that `maskwright run` or `maskwright train` wrote to"
        raise DataError(problem(expected, str(given), where="train.start", next_move=next_move))
    return paths


def _leak(given: Path, fold: int, leaked: list[str] | None) -> DataError:
    folds = given / "folds.csv" if given.is_dir() else "folds.csv of the older run"
    next_move = (
        f"keep the older folds: --set split.previous={folds} and another --out; or take the network all the same, "
    )
    next_move += "which the report will say: --set train.start_unchecked=true"
    expected = f"an older network that has seen none of the images that are validated in fold {fold} or held out"
    if leaked is None:
        got = "one of which nothing says what it has seen (no folds.csv of its run beside it)"
    else:
        more = f" and {len(leaked) - _SHOWN} more" if len(leaked) > _SHOWN else ""
        got = f"one that has seen {len(leaked)} of them, or of their groups: {', '.join(leaked[:_SHOWN])}{more}"
    return DataError(problem(expected, got, where=f"train.start: {given}", next_move=next_move))

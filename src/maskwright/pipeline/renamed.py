"""Pictures that another run knows under other names: what its networks have seen can't be told by name then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from maskwright.artifacts import RunFolder, read_folds
from maskwright.audit.duplicates import find_duplicates
from maskwright.audit.hashing import Thumbnail, hashes
from maskwright.audit.inspect import read_thumbnail
from maskwright.data.index import Index, decided_index
from maskwright.errors import DataError, problem
from maskwright.progress import track
from maskwright.recipe import load_recipe
from maskwright.recipe.data import AuditSpec

_SHOWN = 3


def check_names(run: RunFolder, folder: RunFolder, whole: Index, *, where: str) -> None:
    """Raise DataError if another run has learned from pictures of this one's folds under names that this one hasn't.

    Names are compared where both read one data folder, whose audit knows the copies in it; of two folders, pictures
    are, as the audit compares them: flipped, turned, brighter and in other sizes, too. A name that both have is no
    other one only if it is of the same picture.

    Args:
        run: the other one.
        folder: of this run.
        whole: its index.
        where: the field of the recipe that names the other.
    """
    if not run.recipe.is_file() or not run.folds.is_file():
        return
    data = load_recipe(run.recipe).data
    if Path(data.root).resolve() == whole.root.resolve():
        return
    theirs, known = decided_index(run, data), set(whole.images)
    there = read_folds(run.folds).drop_nulls("fold")["image"].to_list()
    here = read_folds(folder.folds).drop_nulls("fold")["image"].to_list()
    own = _thumbnails((image, whole.path(image)) for image in here)
    other = _thumbnails(
        (image, theirs.path(image)) for image in track(there, "compare pictures of two runs", len(there))
    )
    shared = own | _thumbnails((image, whole.path(image)) for image in other if image in known and image not in own)
    other = {i: small for i, small in other.items() if i not in shared or not np.array_equal(small, shared[i])}
    if not own or not other:
        return
    spec, both = AuditSpec(), np.array([*own.values(), *other.values()])
    pairs = find_duplicates(both, hashes(both), radius=spec.duplicate_radius, correlation=spec.duplicate_correlation)
    names, count = [*own, *other], len(own)
    alike = [(names[p.first], names[p.second]) for p in pairs if p.first < count <= p.second]
    kept = {second for first, second in alike if first == second}  # encoded anew
    if same := [pair for pair in alike if pair[1] not in kept]:
        listed = ", ".join(f"{a} is {b} there" for a, b in same[:_SHOWN])
        more = f" and {len(same) - _SHOWN} more" if len(same) > _SHOWN else ""
        raise DataError(
            problem(
                "a run on this data folder, or on other pictures",
                f"one that has learned from the same pictures under other names: {listed}{more}",
                where=where,
                next_move=f"train that run on {whole.root}, with --set split.previous={folder.folds}: what networks "
                "have seen is told by name",
            )
        )


def _thumbnails(files: Iterable[tuple[str, Path]]) -> dict[str, Thumbnail]:
    """Return the small pictures of images, of those that can be read."""
    found = dict[str, Thumbnail]()
    for image, path in files:
        try:
            found[image] = read_thumbnail(path)[0]
        except DataError:
            continue
    return found

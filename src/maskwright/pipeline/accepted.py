"""Predictions that somebody accepted as masks: which trainings may learn from them, and from what people drew on them.

A network that labels for a fold must not have learned from a mask that the fold is scored by, whoever looked at what it
said. So such a label is learned from by those trainings alone that are scored on none of the images that its networks
have learned from: as a rule, by that of the fold whose network made it. What a person drew on it is everybody's. None
of it is scored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from maskwright.artifacts import ACCEPTED, RunFolder, read_folds, read_json, read_table
from maskwright.data.index import Index, decided_index
from maskwright.pipeline.honest import blocked
from maskwright.recipe.data import DataSpec
from maskwright.split import HELD_OUT
from maskwright.tasks import fingerprint


def accepted_labels(folder: RunFolder, whole: Index, fold: int) -> dict[str, str]:
    """Return image → label file, as the index reads it, of the accepted predictions that a fold's training learns from.

    Args:
        folder: of the run.
        whole: its index, as the decisions leave it.
        fold: of the training.
    """
    path = folder.decided / ACCEPTED
    if not path.is_file() or not folder.folds.is_file():  # of earlier versions' runs, or before the cut
        return {}
    table = read_table(path)
    if not table.height:
        return {}
    folds = read_folds(folder.folds)
    alone = folds.filter(pl.col("fold") != HELD_OUT)["fold"].n_unique() == 1
    related = blocked(folder, whole, folds, None if alone else fold)
    scored = set(folds.filter(pl.col("fold").is_in([HELD_OUT] if alone else [HELD_OUT, fold]))["image"])
    scored |= related - set(folds.drop_nulls("fold")["image"])
    known, found = set(whole.images), dict[str, str]()
    for image, mask, seen, strokes in table.iter_rows():
        label = mask if mask is not None and _honest(folder, seen, scored) else strokes
        if label is not None and image in known and image not in related:
            found[image] = label
    return found


def with_accepted(folder: RunFolder, whole: Index, fold: int) -> tuple[Index, list[str]]:
    """Return the index with the masks that `accepted_labels` names, and the images that have them."""
    labels = accepted_labels(folder, whole, fold)
    if not labels:
        return whole, []
    column = whole.label_column
    masks = [labels.get(image, mask) for image, mask in whole.table.select("image", column).iter_rows()]
    return replace(whole, table=whole.table.with_columns(pl.Series(column, masks, pl.String))), list(labels)


def accepted_states(folder: RunFolder, data: DataSpec, folds: int) -> list[dict[str, Any]]:
    """Return what of this decides the training of each fold: a fingerprint of the labels, empty for none.

    Args:
        folder: of the run.
        data: the recipe's data section, resolved.
        folds: how many trainings there are.
    """
    path = folder.decided / ACCEPTED
    if not path.is_file() or not read_table(path).height:
        return [{} for _ in range(folds)]
    whole = decided_index(folder, data)
    found = list[dict[str, Any]]()
    for fold in range(folds):
        labels = accepted_labels(folder, whole, fold)
        files = {image: whole.path(file) for image, file in labels.items()}
        said = {i: fingerprint(file.read_bytes().hex()) if file.is_file() else None for i, file in files.items()}
        found.append({"accepted": fingerprint(said)} if said else {})
    return found


def _honest(folder: RunFolder, seen: str | None, scored: set[str]) -> bool:
    """Tell whether networks have learned from none of the scored masks; nothing is promised of what nobody knows."""
    return seen is not None and (folder.root / seen).is_file() and scored.isdisjoint(read_json(folder.root / seen))

"""What is to be predicted, as the folder and the recipe say: categories of pixels, objects, or both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.data.formats import Row, Source, read_source
from maskwright.data.mislaid import like_masks, names_of
from maskwright.errors import DataError, problem
from maskwright.recipe.data import DataSpec, FurtherSpec
from maskwright.types import IGNORE, Array, Categories, LabelMap

if TYPE_CHECKING:
    from maskwright.data.index import Index

Counted = npt.NDArray[np.int64]

OBJECT = "object"
"""What the category of objects is called where there is but one."""

UNUSED = "the instance maps aren't looked at: --task panoptic tells objects apart, too"
"""What is said where there are masks and instance maps, and a recipe that names categories, but no task."""

LOOKED_INTO = (
    "objects are told apart, because there are instance maps beside the masks: --task semantic looks at masks alone"
)
"""What is said where there are both, and nobody named a task."""

NO_THING = "no category has numbers in instances/ on most of its pixels: the instance maps aren't looked at"
"""What is said where there are both, and no object to tell apart."""

LOOKED_AT = 32
"""Images that are looked at for what is a thing, roughly."""


def with_task(source: Source, spec: DataSpec, root: Path) -> DataSpec:
    """Return the data section with `task` and `target` filled in.

    Raises:
        DataError: the folder hasn't what the task needs.
    """
    further = [row for one in spec.further for row in _rows_of(one)]
    labelled = [
        row for row in source.rows if row.mask or row.instances
    ] or further  # the main folder decides, if it can
    masks, instances = any(r.mask for r in labelled), any(r.instances for r in labelled)
    task = spec.task
    if task == "auto":
        stated = spec.classes != "all" or spec.categories is not None or spec.target != "auto"
        alone = instances and not masks and not like_masks(root, names_of(source))  # else it could be either
        task = "semantic" if stated or not instances else "instances" if alone else "panoptic" if masks else "semantic"
    lacking = [
        name
        for name, there, needed in (
            ("instance maps", instances or any(row.instances for row in further), task != "semantic"),
            ("masks", masks or any(row.mask for row in further), task == "panoptic"),
        )
        if needed and not there
    ]
    if lacking:
        raise DataError(
            problem(
                {"instances": "instance maps", "panoptic": "masks and instance maps"}[task],
                f"no {' and no '.join(lacking)}",
                where=f"{root}, with --task {task}",
                next_move="put them into instances/ (ids, 0 background) and masks/, or choose another --task",
            )
        )
    if task == "panoptic" and spec.target == "instances":
        raise DataError(
            problem("target: masks", "instances", where="data.task: panoptic", next_move="set data.target to auto")
        )
    target: str = spec.target
    if target == "auto":
        own = replace(source, rows=labelled)
        target = {"instances": "instances", "panoptic": "masks"}.get(task) or _semantic(own, spec, root)
    return spec.model_copy(update={"task": task, "target": target})


def task_of(spec: DataSpec) -> str:
    """Return what is to be predicted, before anything was read but names; of a folder that can't be read: semantic."""
    if spec.task != "auto":
        return spec.task
    root = Path(spec.root).expanduser().resolve()
    try:
        return with_task(read_source(root, spec.format), spec, root).task
    except DataError:  # the index stage says so
        return "semantic"


def with_objects(categories: Categories, spec: DataSpec) -> Categories:
    """Return the categories of a task; of instances alone, what isn't background is a thing."""
    items = categories.items
    if spec.task != "instances" or any(category.isthing for category in items):
        return categories
    if spec.categories is not None:  # stated for another task, such as by the recipe of a binary run
        return replace(categories, items=(items[0], *(replace(c, isthing=True) for c in items[1:])))
    found = tuple(replace(c, name=OBJECT, isthing=True) if c.name == "foreground" else c for c in items)
    return replace(categories, items=found)


def with_things(index: Index, *, asked: bool = True) -> tuple[Categories, str | None]:
    """Return the categories with those that are things, and how that was found out; None: it is stated somewhere.

    Where nothing says what is a thing, it is what most pixels of, in `LOOKED_AT` images, have an object's number. What
    is said to be one, and has no pixel with a number there, is named, and so is other stuff that would be one.

    Args:
        index: of masks, with instance maps.
        asked: whether somebody asked for objects; if not, categories without any thing are returned as they are.

    Raises:
        DataError: no category is a thing, and somebody asked for objects.
    """
    categories = index.categories
    both = [i for i, r in enumerate(index.table.select("mask", "instances").iter_rows()) if None not in r]
    counted = count_numbered(_both(index, row) for row in both[:: max(1, len(both) // LOOKED_AT)])
    if categories.things:
        return categories, _said_otherwise(categories, *counted)
    things = things_among(categories, *counted)
    if not things and not asked:
        return categories, NO_THING
    if not things:
        raise DataError(
            problem(
                "at least one category that is a thing",
                f"none of {', '.join(categories.names)}: no category has numbers in instances/ on most of its pixels",
                where=f"{index.root}, with --task panoptic",
                next_move='say so in classes.json: {"categories": [{"id": 1, "name": "car", "isthing": true}, …]}',
            )
        )
    return as_things(categories, things)


def count_numbered(pairs: Iterable[tuple[LabelMap | None, Array | None]]) -> tuple[Counted, Counted]:
    """Return (256,) pixels of each category, and how many of them have an object's number.

    Args:
        pairs: the mask (H, W) uint8 positions of an image and its numbers; passed over where one is None, or their
            sizes differ.
    """
    pixels, numbered = (np.zeros(IGNORE + 1, np.int64) for _ in range(2))
    for label, objects in pairs:
        if label is None or objects is None or label.shape != objects.shape:  # the audit says so
            continue
        pixels += np.bincount(label.ravel(), minlength=IGNORE + 1)
        numbered += np.bincount(label[objects > 0], minlength=IGNORE + 1)
    return pixels, numbered


def things_among(categories: Categories, pixels: Counted, numbered: Counted) -> list[int]:
    """Return the positions of the categories of which most pixels have an object's number; see `count_numbered`."""
    return [position for position in range(len(categories)) if 2 * numbered[position] > pixels[position]]


def _said_otherwise(categories: Categories, pixels: Counted, numbered: Counted) -> str | None:
    """Return what is said of things without any number, and of stuff with numbers on most of its pixels; None: none."""
    bare = [categories.names[thing] for thing in categories.things if pixels[thing] and not numbered[thing]]
    others = [categories.names[p] for p in things_among(categories, pixels, numbered) if p not in categories.things]
    told = []
    if bare:
        told.append(
            f"{', '.join(bare)}: said to be things, but none of their pixels has a number in instances/, so no object "
            "of theirs is learned; if they are stuff, say so in classes.json"
        )
    if others:
        told.append(
            f"{', '.join(others)}: most of their pixels have a number in instances/, but they aren't said to be "
            'things, so their objects aren\'t told apart; if they are, say "isthing": true in classes.json'
        )
    return "; ".join(told) or None


def as_things(categories: Categories, things: Sequence[int]) -> tuple[Categories, str]:
    """Return the categories with those at some positions as things, and what is said of it."""
    items = tuple(replace(c, isthing=position in things) for position, c in enumerate(categories.items))
    named = ", ".join(categories.names[position] for position in things)
    return replace(categories, items=items), f"things are {named}: most of their pixels have a number in instances/"


def _both(index: Index, row: int) -> tuple[LabelMap | None, Array | None]:
    try:
        return index.read_label(row), index.read_instances(row)
    except DataError:  # the audit names it
        return None, None


def without_label(index: Index, task: str) -> str | None:
    """Return what is said where images have a label file and not the one that a task learns from; else None."""
    kinds = [("mask", "a mask", "no mask"), ("instances", "an instance map", "no instance map")]
    (wanted, _, lacks), (other, has, _) = kinds if index.target == "masks" else kinds[::-1]
    count = index.table.filter(pl.col(wanted).is_null() & pl.col(other).is_not_null()).height
    if not count:
        return None
    return f"{count} of {len(index)} images have {has} and {lacks}: they count as unlabelled with --task {task}"


def _rows_of(further: FurtherSpec) -> list[Row]:
    return list(read_source(Path(further.root).expanduser().resolve(), further.format).rows)


def _semantic(source: Source, spec: DataSpec, root: Path) -> str:
    """Return which label files a semantic task learns from."""
    masks, instances = any(r.mask for r in source.rows), any(r.instances for r in source.rows)
    if masks or not instances:
        return "masks"
    if spec.classes == "binary" or spec.categories is not None:
        return "instances"
    folders = like_masks(root, names_of(source))
    others = f"or rename (or copy) what looks like masks to masks/: {', '.join(folders)}; " if folders else ""
    ignored = ", ".join(map(str, source.ignore))
    stays = f" (what classes.json ignores, {ignored}, stays ignored)" if ignored else ""
    raise DataError(
        problem(
            "semantic masks, or a recipe that reads instances as one class",
            "instances/ without masks/",
            where=str(root),
            next_move=f"add --classes binary to segment the objects from their background{stays}; {others}or --task "
            "instances to tell them apart",
        )
    )

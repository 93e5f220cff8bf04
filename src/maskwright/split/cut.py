"""Cut labelled images into folds, a held-out part and, on request, a pool of images whose labels nobody sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from maskwright.errors import DataError, problem
from maskwright.recipe.data import SplitSpec
from maskwright.split.certificate import certify
from maskwright.split.features import measure
from maskwright.split.groups import HELD_OUT, POOL, TRAINING, Stated, crossing, join_groups, settled
from maskwright.split.placing import Labelled, place_images
from maskwright.split.subset import draw_subset

_HELD_OUT_PARTS = ("val", "valid", "validation", "test")
_HOLDOUT_FROM, _HOLDOUT_SHARE = 100, 0.15
_LISTED = 12


@dataclass(frozen=True)
class Split:
    """Which image is where.

    Attributes:
        table: columns image, group, fold (-1: held out, null: in the pool).
        certificate: plain data, see `certify`, and `moved`: images that changed their place against an earlier cut.
        spec: the split section with its open fields filled in.
    """

    table: pl.DataFrame
    certificate: dict[str, Any]
    spec: SplitSpec


def split_images(
    contents: pl.DataFrame,
    spec: SplitSpec,
    *,
    names: Sequence[str],
    groups: Mapping[str, str | None],
    duplicates: Sequence[Sequence[str]] = (),
    parts: Mapping[str, str | None] | None = None,
    stated: Stated | None = None,
    previous: Stated | None = None,
    seed: int = 0,
) -> Split:
    """Cut labelled images into folds and a held-out part.

    Groups (a column's, joined with the clusters of duplicates) are never divided; among the ways to place them, the
    one is sought that makes the parts most alike (`maskwright.split.search` states the objective).

    Args:
        contents: labelled images; columns image, pixels (of each category), and optionally objects and median_area,
            by which images are stratified, too.
        spec: the recipe's split section.
        names: of the categories.
        groups: image → its group, None: a group of its own.
        duplicates: clusters of images that show the same picture (may name other images, too).
        parts: image → the part that the folder gives it.
        stated: what the file `spec.file` says.
        previous: an earlier cut, which the images that were in it keep.
        seed: of the search, where `spec.seed` is null.

    Raises:
        DataError: more folds than groups, fewer images than `spec.labelled`, or groups that cross folds or parts.
    """
    images = contents["image"].to_list()
    given, spec = spec, spec if spec.seed is not None else spec.model_copy(update={"seed": seed})
    numbered = stated is not None and bool(stated.labels)
    stated = stated or _stated_by_parts(images, parts or {}, spec)
    clusters = [*(duplicates if spec.group_duplicates else ()), *(_clusters(stated.groups) if stated else ())]
    data = Labelled(
        {image: row for row, image in enumerate(images)},
        join_groups(images, groups, clusters),
        measure(contents, names, spec.area_bins),
        join_groups(images, groups, ()),
    )
    before = {} if previous is None else {i: place for i, place in previous.places.items() if i in data.rows}
    fixed, moved = settled(data.joined, before)
    if stated is None:
        places, resolved = _hold_out(data, spec, fixed, before)
    else:
        places, resolved = _as_stated(data, stated, spec)
    if spec.labelled is not None:
        places = _only_subset(data, places, spec, fixed)
    if not numbered and (stated is not None or spec.labelled is not None):
        training = [image for image in images if places[image] not in (HELD_OUT, POOL)]
        places |= _folds(data, training, spec, {group: fold for group, fold in fixed.items() if fold >= 0})
    table, alone = _to_table(data, places), stated is None and spec.labelled is None
    target = _target(spec.folds, resolved.holdout or 0.0) if alone else None
    about: dict[str, Any] = {"duplicates": duplicates, "stated": stated is not None, "seed": spec.seed or 0}
    certificate = certify(table, data.features, target=target, **about)
    certificate["moved"] = [{"image": image, "before": old, "now": now} for image, (old, now) in sorted(moved.items())]
    return Split(table, certificate, resolved.model_copy(update={"seed": given.seed}))


def has_held_out_part(parts: Sequence[str | None]) -> bool:
    """Tell whether a folder holds images out itself: some of its labelled images, but not all, in a part called val."""
    held = [(part or "").lower() in _HELD_OUT_PARTS for part in parts]
    return any(held) and not all(held)


def _to_table(data: Labelled, places: Mapping[str, int]) -> pl.DataFrame:
    rows = [(image, data.joined[image], None if places[image] == POOL else places[image]) for image in data.rows]
    return pl.DataFrame(rows, schema={"image": pl.String, "group": pl.String, "fold": pl.Int64}, orient="row")


def _hold_out(
    data: Labelled, spec: SplitSpec, fixed: Mapping[str, int], before: Mapping[str, int]
) -> tuple[dict[str, int], SplitSpec]:
    """Return the folds and the held-out part, placed together, and the section with its share."""
    images = list(data.rows)
    holdout = spec.holdout
    if holdout is None:
        wanted = HELD_OUT in before.values() if before else len(images) >= _HOLDOUT_FROM
        holdout = _HOLDOUT_SHARE if wanted else 0.0
    stays = {group: fold for group, fold in fixed.items() if fold != POOL}
    if spec.labelled is not None:  # what is in the pool never enters the held-out part; its fold here means nothing
        pool = [group for group, fold in fixed.items() if fold == POOL]
        stays |= {group: k % spec.folds for k, group in enumerate(pool)}
    target = _target(spec.folds, holdout)
    _check_previous(set(stays.values()), target)
    places = place_images(data, images, target, _rng(spec), fixed=stays)
    return places, spec.model_copy(update={"use_parts": False, "holdout": holdout})


def _as_stated(data: Labelled, stated: Stated, spec: SplitSpec) -> tuple[dict[str, int], SplitSpec]:
    """Return the places that a file or the folder's parts state, checked, and the section that says so."""
    _check_crossing(data.joined, stated.places, spec)
    if spec.file is None:
        return dict(stated.places), spec.model_copy(update={"use_parts": True})
    folds = len(stated.labels) or spec.folds
    return dict(stated.places), spec.model_copy(update={"folds": folds})


def _only_subset(
    data: Labelled, places: Mapping[str, int], spec: SplitSpec, fixed: Mapping[str, int]
) -> dict[str, int]:
    """Return the places with all training images but those of the labelled subset in the pool."""
    assert spec.labelled is not None
    training = [image for image, place in places.items() if place not in (HELD_OUT, POOL)]
    _check_subset(spec.labelled, len(training), len(places))
    known = {image for image in training if fixed.get(data.joined[image], POOL) >= 0}
    seed = spec.labelled_seed if spec.labelled_seed is not None else spec.seed or 0
    chosen = {*draw_subset(data, training, spec.labelled, first=known, seed=seed)}
    pooled = dict.fromkeys((image for image in training if image not in chosen), POOL)
    return {**places, **pooled}


def _check_subset(wanted: float, training: int, labelled: int) -> None:
    if wanted > max(training, 1):
        raise DataError(
            problem(
                f"{wanted:g} labelled images to learn from",
                f"{training} ({labelled} with a usable label, {labelled - training} of them held out)",
                where="split.labelled, --labelled",
                next_move=f"give a number up to {training}, a share such as 1/2, or leave it out to learn from all",
            )
        )


def _folds(data: Labelled, training: Sequence[str], spec: SplitSpec, fixed: Mapping[str, int]) -> dict[str, int]:
    target = _target(spec.folds, 0.0)
    _check_previous(set(fixed.values()), target)
    return place_images(data, training, target, _rng(spec), fixed=fixed)


def _rng(spec: SplitSpec) -> np.random.Generator:
    return np.random.default_rng((spec.seed or 0, 2))


def _target(folds: int, holdout: float) -> dict[int, float]:
    """Return fold → the share of images it should get."""
    shares = {fold: (1 - holdout) / folds for fold in range(folds)}
    return shares | ({HELD_OUT: holdout} if holdout > 0 else {})


def _clusters(groups: Mapping[str, str]) -> list[list[str]]:
    members: dict[str, list[str]] = {}
    for image, group in groups.items():
        members.setdefault(group, []).append(image)
    return list(members.values())


def _stated_by_parts(images: Sequence[str], parts: Mapping[str, str | None], spec: SplitSpec) -> Stated | None:
    named = {image: (parts.get(image) or "").lower() for image in images}
    held = {image for image, part in named.items() if part in _HELD_OUT_PARTS}
    there = has_held_out_part(list(named.values()))
    if spec.use_parts and not there:
        raise DataError(
            problem(
                "a part called val or test beside other images",
                f"parts {', '.join(sorted(set(named.values()) - {''})) or 'none'}",
                where="split.use_parts",
                next_move="leave it null, and folds are cut by maskwright",
            )
        )
    if there and spec.use_parts is None and spec.holdout is not None:
        raise DataError(
            problem(
                "one way to hold images out",
                f"two: the folder's own part of {len(held)} images, and a share of {spec.holdout:g}",
                where="the part called val or test, and --holdout",
                next_move="drop --holdout to use the folder's part, or add --set split.use_parts=false",
            )
        )
    if not there or spec.use_parts is False:
        return None
    return Stated({image: HELD_OUT if image in held else TRAINING for image in images})


def _check_crossing(joined: Mapping[str, str], places: Mapping[str, int], spec: SplitSpec) -> None:
    found = crossing(joined, {image: place for image, place in places.items() if place != POOL})
    if not found or spec.allow_crossing:
        return
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    where = "images/train and the held-out part" if spec.file is None else spec.file
    anew = "--set split.use_parts=false" if spec.file is None else "no split.file"
    raise DataError(
        problem(
            "parts that share no group and no duplicate",
            f"{len(found)} group(s) in both: {', '.join(found[:_LISTED])}{more}",
            where=where,
            next_move=f"cut folds by group instead with {anew}, or remove the copies from one side "
            "(audit/findings.parquet lists them); --set split.allow_crossing=true keeps them as they are, and the "
            "certificate says so",
        )
    )


def _check_previous(there: set[int], target: Mapping[int, float]) -> None:
    if unknown := sorted(there - target.keys()):
        named = ["a held-out part" if fold == HELD_OUT else f"fold {fold}" for fold in unknown]
        raise DataError(
            problem(
                f"an earlier cut with the {len(target) - (HELD_OUT in target)} fold(s) and the held-out part of now",
                f"one with {', '.join(named)}",
                where="split.previous",
                next_move="state the same --folds and --holdout, or cut anew with --set split.previous=null",
            )
        )

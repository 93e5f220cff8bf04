"""Folds that keep groups whole and classes balanced, a held-out part, and a certificate of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.errors import DataError, problem
from maskwright.recipe.data import SplitSpec

HELD_OUT = -1
"""The fold number of images that no training sees."""

_HELD_OUT_PARTS = ("val", "valid", "validation", "test")
_HOLDOUT_FROM, _HOLDOUT_SHARE = 100, 0.15
_TRIES = 32

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Which image is where.

    Attributes:
        table: columns image, group, fold (-1: held out).
        certificate: plain data: folds, groups, held_out, crossing_groups, per_fold (images, groups, and the category
            whose pixel share departs most from that of all images, by how much), and `text` for people.
        spec: the split section with its open fields filled in.
    """

    table: pl.DataFrame
    certificate: dict[str, object]
    spec: SplitSpec


def split_images(
    images: Sequence[str],
    shares: Mapping[str, Sequence[int]],
    spec: SplitSpec,
    *,
    names: Sequence[str],
    groups: Mapping[str, str | None],
    duplicates: Sequence[Sequence[str]] = (),
    parts: Mapping[str, str | None] | None = None,
    seed: int = 0,
) -> Split:
    """Cut labelled images into folds and a held-out part.

    Groups (a column's, joined with the clusters of duplicates) are never divided; among the ways to place them, the
    one is sought whose images, pixel shares and image shares of each category come closest to even.

    Args:
        images: labelled images.
        shares: image → pixels of each category.
        spec: the recipe's split section.
        names: of the categories.
        groups: image → its group, None: a group of its own.
        duplicates: clusters of images that show the same picture (may name other images, too).
        parts: image → the part that the folder gives it.
        seed: of the search.

    Raises:
        DataError: more folds than groups, or groups that cross the folder's own parts.
    """
    joined = join_groups(images, groups, duplicates if spec.group_duplicates else ())
    held = _held_by_parts(images, parts or {}, spec)
    rng = np.random.default_rng((seed, 2))
    if held:
        _check_parts(joined, held)
        training = [image for image in images if image not in held]
        folds = _place(training, joined, shares, _shares_of(spec.folds, 0.0), rng, spec)
        folds |= dict.fromkeys(held, HELD_OUT)
        resolved = spec.model_copy(update={"use_parts": True})
    else:
        holdout = spec.holdout if spec.holdout is not None else _HOLDOUT_SHARE if len(images) >= _HOLDOUT_FROM else 0.0
        folds = _place(images, joined, shares, _shares_of(spec.folds, holdout), rng, spec)
        resolved = spec.model_copy(update={"use_parts": False, "holdout": holdout})
    rows = [(image, joined[image], folds[image]) for image in images]
    table = pl.DataFrame(rows, schema={"image": pl.String, "group": pl.String, "fold": pl.Int64}, orient="row")
    return Split(table, certify(table, shares, names), resolved)


def join_groups(
    images: Sequence[str], groups: Mapping[str, str | None], duplicates: Sequence[Sequence[str]]
) -> dict[str, str]:
    """Return image → group, where groups that share a duplicate are one; its name is that of its first member."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for image in images:
        if (group := groups.get(image)) is not None:
            parent[root(f"image:{image}")] = root(f"group:{group}")
    for cluster in duplicates:
        for other in cluster[1:]:
            parent[root(f"image:{other}")] = root(f"image:{cluster[0]}")
    label: dict[str, str] = {}
    for image in images:
        label.setdefault(root(f"image:{image}"), groups.get(image) or image)
    return {image: label[root(f"image:{image}")] for image in images}


def certify(table: pl.DataFrame, shares: Mapping[str, Sequence[int]], names: Sequence[str]) -> dict[str, object]:
    """Return what can be said of a split, counted afresh from its table."""
    crossing = table.group_by("group").agg(pl.col("fold").n_unique()).filter(pl.col("fold") > 1)["group"].to_list()
    pixels = np.array([shares[image] for image in table["image"]], np.float64)
    overall = pixels.sum(0) / max(pixels.sum(), 1)
    per_fold = []
    for fold in sorted(table["fold"].unique().to_list()):
        inside = (table["fold"] == fold).to_numpy()
        part = pixels[inside].sum(0) / max(pixels[inside].sum(), 1)
        worst = int(np.abs(part - overall).argmax())
        per_fold.append(
            {
                "fold": fold,
                "images": int(inside.sum()),
                "groups": table.filter(pl.col("fold") == fold)["group"].n_unique(),
                "category": names[worst],
                "share": float(part[worst]),
                "share_of_all": float(overall[worst]),
                "largest_deviation": float(abs(part[worst] - overall[worst])),
            }
        )
    folds = len([row for row in per_fold if row["fold"] != HELD_OUT])
    held = sum(int(row["images"]) for row in per_fold if row["fold"] == HELD_OUT)
    count = table["group"].n_unique()
    return {
        "folds": folds,
        "images": table.height,
        "groups": count,
        "held_out": held,
        "crossing_groups": sorted(crossing),
        "per_fold": per_fold,
        "text": f"{table.height} images in {count} groups, {folds} fold(s), {held} held out: "
        + ("no group crosses a border" if not crossing else f"{len(crossing)} group(s) cross a border"),
    }


def _shares_of(folds: int, holdout: float) -> dict[int, float]:
    """Return fold → the share of images it should get."""
    shares = {fold: (1 - holdout) / folds for fold in range(folds)}
    return shares | ({HELD_OUT: holdout} if holdout > 0 else {})


def _held_by_parts(images: Sequence[str], parts: Mapping[str, str | None], spec: SplitSpec) -> set[str]:
    named = {image: (parts.get(image) or "").lower() for image in images}
    held = {image for image, part in named.items() if part in _HELD_OUT_PARTS}
    there = bool(held) and any(part == "train" for part in named.values())
    if spec.use_parts and not there:
        raise DataError(
            problem(
                "images/train beside images/val",
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
                where="images/train beside images/val, and --holdout",
                next_move="drop --holdout to use the folder's part, or add --set split.use_parts=false",
            )
        )
    return held if there and spec.use_parts is not False else set()


def _check_parts(joined: Mapping[str, str], held: set[str]) -> None:
    inside = {joined[image] for image in held}
    crossing = sorted({group for image, group in joined.items() if image not in held} & inside)
    if crossing:
        raise DataError(
            problem(
                "parts that share no group and no duplicate",
                f"{len(crossing)} group(s) in both: {', '.join(crossing[:6])}",
                where="images/train and the held-out part",
                next_move="cut folds by group instead with --set split.use_parts=false, or remove the copies "
                "from one side (audit/findings.parquet lists them)",
            )
        )


def _place(
    images: Sequence[str],
    joined: Mapping[str, str],
    shares: Mapping[str, Sequence[int]],
    wanted: Mapping[int, float],
    rng: np.random.Generator,
    spec: SplitSpec,
) -> dict[str, int]:
    """Return image → fold, groups whole."""
    members: dict[str, list[str]] = {}
    for image in images:
        members.setdefault(joined[image], []).append(image)
    if len(members) < len(wanted):
        raise DataError(
            problem(
                f"at least {len(wanted)} groups for {spec.folds} fold(s)"
                + (" and a held-out part" if HELD_OUT in wanted else ""),
                f"{len(members)} group(s) of {len(images)} images",
                where="--folds, --holdout, --group",
                next_move=f"use --folds {max(1, len(members) - (HELD_OUT in wanted))} or fewer, "
                "or group by another column",
            )
        )
    features = np.stack([_features([shares[i] for i in group]) for group in members.values()])
    features /= np.maximum(features.sum(0), 1e-12)
    bins = list(wanted)
    target = np.array([wanted[b] for b in bins])
    best = min((_greedy(features, target, rng) for _ in range(_TRIES)), key=lambda placed: placed[0])[1]
    return {image: bins[b] for b, group in zip(best, members.values(), strict=True) for image in group}


def _features(pixels: Sequence[Sequence[int]]) -> Matrix:
    """Return what should be spread evenly: images, pixels of each category, images with each category."""
    table = np.array(pixels, np.float64)
    relative = table / np.maximum(table.sum(1, keepdims=True), 1)
    return np.concatenate([[len(table) * 1.0], relative.sum(0), (table > 0).sum(0)])


def _greedy(features: Matrix, target: Matrix, rng: np.random.Generator) -> tuple[float, list[int]]:
    """Place groups one by one, large ones first in a jittered order, each where the deviation grows least."""
    count, kinds = len(features), features.shape[1]
    order = np.argsort(-features.max(1) * rng.uniform(0.5, 1.5, count))
    filled = np.zeros((len(target), kinds))
    placed = np.zeros(count, int)
    for done, group in enumerate(order):
        gap = (filled + features[group]) / target[:, None] - filled / target[:, None]
        cost = ((filled / target[:, None] + gap) ** 2 - (filled / target[:, None]) ** 2).sum(1) * target
        empty = filled[:, 0] == 0
        if count - done <= empty.sum():  # the rest is needed to leave no fold empty
            cost = np.where(empty, cost, np.inf)
        placed[group] = cost.argmin()
        filled[placed[group]] += features[group]
    deviation = ((filled / target[:, None] - 1) ** 2 * target[:, None]).sum()
    return float(deviation), placed.tolist()

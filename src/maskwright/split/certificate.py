"""What can be said of a split: nothing crosses, how even the parts are, and how even chance would have made them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.split.features import FAMILIES, PIXELS_OF, Features, Matrix
from maskwright.split.groups import HELD_OUT

_DRAWS = 200
_LOW = 0.05


def certify(
    table: pl.DataFrame,
    features: Features,
    *,
    target: dict[int, float] | None = None,
    duplicates: Iterable[Sequence[str]] = (),
    stated: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what can be said of a split, counted afresh from its table.

    A deviation is the difference between a part's mean of a feature over its images and that of all images that are
    in any part (of the number of images: between its share of them and the wanted one).

    Args:
        table: columns image, group, fold (-1: held out, null: in the pool, which counts in no figure but its own).
        features: of the table's images, row by row.
        target: fold → wanted share of the images; None: the same for all folds, what is there for the held-out part.
        duplicates: clusters of images that show the same picture, kept in one fold or not.
        stated: the held-out part was given, not cut: `families` then compares the folds alone, among themselves.
        seed: of the random folds.

    Returns:
        folds, images, groups, held_out, pool, crossing_groups, crossing_duplicates (clusters), per_fold (fold, images,
        groups, pixel_shares: those of each category as the mean over images, and the feature of all families that
        departs most: feature, share, share_of_all, largest_deviation), pixel_shares of all images together,
        families (by name: deviation, feature, fold, and of grouped folds cut at random the `random` median and
        `random_low` 5 % quantile of the largest deviation, and `more_even_than`, the share of them that are less
        even), and `text` for people.
    """
    crossing = table.drop_nulls("fold").group_by("group").agg(pl.col("fold").n_unique()).filter(pl.col("fold") > 1)
    place = dict(table.select("image", "fold").drop_nulls().iter_rows())
    clusters = [sorted({place[i] for i in cluster if i in place}) for cluster in duplicates]
    inside = table["fold"].is_not_null().to_numpy()
    used, values = table.filter(inside), features.values[inside]
    folds = sorted(used["fold"].unique().to_list())
    part = np.searchsorted(folds, used["fold"].to_numpy())
    overall = values.mean(0)
    means = _means(values, part, len(folds))
    per_fold = [_fold_row(fold, used, means[k], overall, features) for k, fold in enumerate(folds)]
    cut = part != folds.index(HELD_OUT) if stated and HELD_OUT in folds else np.ones(len(part), bool)
    found = {
        "folds": len(folds) - (HELD_OUT in folds),
        "images": used.height,
        "groups": used["group"].n_unique(),
        "held_out": sum(row["images"] for row in per_fold if row["fold"] == HELD_OUT),
        "pool": table.height - used.height,
        "crossing_groups": sorted(crossing["group"].to_list()),
        "crossing_duplicates": sum(len(places) > 1 for places in clusters),
        "per_fold": per_fold,
        "pixel_shares": _pixel_shares(overall, features),
        "families": _families(used.filter(cut), replace(features, values=values[cut]), target, seed),
    }
    return found | {"text": _text(found)}


def _as_there(folds: list[int], counts: npt.NDArray[np.int64]) -> dict[int, float]:
    shares = dict(zip(folds, counts / counts.sum(), strict=True))
    others = [share for fold, share in shares.items() if fold != HELD_OUT]
    return {fold: share if fold == HELD_OUT else sum(others) / len(others) for fold, share in shares.items()}


def _fold_row(fold: int, used: pl.DataFrame, mean: Matrix, overall: Matrix, features: Features) -> dict[str, Any]:
    rows = used.filter(pl.col("fold") == fold)
    found: dict[str, Any] = {"fold": fold, "images": rows.height, "groups": rows["group"].n_unique()}
    found["pixel_shares"] = _pixel_shares(mean, features)
    if not len(mean):
        return found | {"feature": None, "share": None, "share_of_all": None, "largest_deviation": 0.0}
    worst = int(np.abs(mean - overall).argmax())
    return found | {
        "feature": features.names[worst],
        "share": float(mean[worst]),
        "share_of_all": float(overall[worst]),
        "largest_deviation": float(abs(mean[worst] - overall[worst])),
    }


def _pixel_shares(mean: Matrix, features: Features) -> dict[str, float]:
    """Return category → mean share of the pixels; categories with the same share in every image are no feature."""
    rows = zip(features.names, features.families, mean.tolist(), strict=True)
    return {name.removeprefix(PIXELS_OF): share for name, family, share in rows if family == 0}


def _families(
    used: pl.DataFrame, features: Features, target: dict[int, float] | None, seed: int
) -> dict[str, dict[str, Any]]:
    """Return for each family its largest deviation, where it is, and what random grouped folds have."""
    values, families, folds = features.values, features.families, sorted(used["fold"].unique().to_list())
    part = np.searchsorted(folds, used["fold"].to_numpy())
    shares = target or _as_there(folds, np.bincount(part, minlength=len(folds)))
    wanted = np.array([shares[fold] for fold in folds])
    group = np.unique(used["group"].to_numpy(), return_inverse=True)[1]
    sizes = np.bincount(group)
    rng = np.random.default_rng((seed, 4))
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, group, values)
    chance = []
    for _ in range(_DRAWS):
        drawn = random_places(sizes, wanted, rng)
        chance.append(_largest(_deviations(sums, sizes, drawn, wanted), families))
    everything = _deviations(values, np.ones(len(values), np.int64), part, wanted)
    own, spread = _largest(everything, families), np.array(chance)
    found = {}
    for k, family in enumerate(("images", *FAMILIES)):
        columns = np.flatnonzero(np.concatenate([[0], 1 + families]) == k)
        if not len(columns):
            continue
        fold, column = np.unravel_index(everything[:, columns].argmax(), (len(folds), len(columns)))
        feature = "images" if k == 0 else features.names[columns[column] - 1]
        found[family] = {
            "deviation": float(own[k]),
            "feature": feature,
            "fold": folds[fold],
            "random": float(np.median(spread[:, k])),
            "random_low": float(np.quantile(spread[:, k], _LOW)),
            "more_even_than": float((spread[:, k] > own[k] + 1e-12).mean()),
        }
    return found


def random_places(sizes: npt.NDArray[np.int64], target: Matrix, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return (G,) places of groups in random order, cut where the parts' shares of the images end.

    Args:
        sizes: (G,) images of each group.
        target: (P,) shares of the images.
        rng: of the order.
    """
    order = rng.permutation(len(sizes))
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    places = np.empty(len(sizes), np.int64)
    places[order] = np.searchsorted(np.cumsum(target)[:-1] * sizes.sum(), middle, side="right")
    return places


def _deviations(sums: Matrix, sizes: npt.NDArray[np.int64], part: npt.NDArray[np.int64], wanted: Matrix) -> Matrix:
    """Return (P, 1 + J) absolute deviations, the number of images first; 0 for a part without images."""
    parts = len(wanted)
    counts = np.bincount(part, sizes, parts)
    totals = _sums(sums, part, parts)
    mean = sums.sum(0) / sizes.sum()
    apart = np.abs(totals / np.maximum(counts, 1)[:, None] - mean) * (counts > 0)[:, None]
    return np.column_stack([np.abs(counts / counts.sum() - wanted), apart])


def _means(values: Matrix, part: npt.NDArray[np.int64], parts: int) -> Matrix:
    return _sums(values, part, parts) / np.bincount(part, minlength=parts)[:, None]


def _sums(values: Matrix, part: npt.NDArray[np.int64], parts: int) -> Matrix:
    sums: Matrix = (part == np.arange(parts)[:, None]).astype(np.float64) @ values
    return sums


def _largest(deviations: Matrix, families: npt.NDArray[np.int64]) -> Matrix:
    """Return (1 + families,) largest deviation of each; NaN for a family without features."""
    worst = deviations.max(0)
    of = np.concatenate([[0], 1 + families])
    return np.array([worst[of == k].max() if (of == k).any() else np.nan for k in range(1 + len(FAMILIES))])


def _text(found: dict[str, Any]) -> str:
    crossing, copies = len(found["crossing_groups"]), found["crossing_duplicates"]
    pool = f", {found['pool']} labelled images in the pool" if found["pool"] else ""
    ends = "no group crosses a border" if not crossing else f"{crossing} group(s) cross a border"
    return (
        f"{found['images']} images in {found['groups']} groups, {found['folds']} fold(s), {found['held_out']} held out"
        f"{pool}: {ends}" + (f"; {copies} cluster(s) of duplicates cross one" if copies else "")
    )

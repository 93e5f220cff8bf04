"""The pool of a fold: images without labels that show nothing of what scores the fold."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from maskwright.split import HELD_OUT


def blocked_images(
    index: pl.DataFrame, folds: pl.DataFrame, clusters: Sequence[Sequence[str]], fold: int | None
) -> set[str]:
    """Return the images that score a fold or are held out, those of their groups, and copies of any of these.

    Args:
        index: columns image and group.
        folds: folds.csv.
        clusters: images that show the same picture.
        fold: None: the held-out part alone.
    """
    places = [HELD_OUT] if fold is None else [fold, HELD_OUT]
    return relatives(set(folds.filter(pl.col("fold").is_in(places))["image"]), (folds, index), clusters)


def relatives(images: Collection[str], tables: Sequence[pl.DataFrame], clusters: Sequence[Sequence[str]]) -> set[str]:
    """Return images, those of their groups, copies of any of these, the groups of these, and so on.

    Args:
        images: to begin with.
        tables: columns image and group.
        clusters: images that show the same picture.
    """
    found, known = set(images), -1
    while len(found) > known:  # a copy brings in its group, and that its copies
        known = len(found)
        for table in tables:
            groups = table.filter(pl.col("image").is_in(list(found)))["group"].drop_nulls().unique().to_list()
            found |= set(table.filter(pl.col("group").is_in(groups))["image"])
        for cluster in clusters:
            if found.intersection(cluster):
                found |= set(cluster)
    return found


def pool_images(pool: Sequence[str], blocked: Collection[str], left_out: Collection[str]) -> list[str]:
    """Return the images of the pool that a fold may learn from, in their order.

    Args:
        pool: images without labels.
        blocked: see `blocked_images`.
        left_out: unusable ones, and strangers that are dropped.
    """
    return [image for image in pool if image not in blocked and image not in left_out]

"""What a round trains on: labelled images and images with pseudo-labels in one index, each with its weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import polars as pl

from maskwright.data.index import PSEUDO, SOFT, WEIGHT, Index


def training_index(
    whole: Index,
    labelled: Sequence[str],
    labels: Mapping[str, str],
    *,
    share: float | None = None,
    often: Collection[str] = (),
    times: float = 1.0,
    soft: Mapping[str, str] | None = None,
    objects: Mapping[str, str] | None = None,
) -> Index:
    """Return the index of a round's training, with the columns `PSEUDO`, `WEIGHT` and `SOFT`.

    Args:
        whole: the run's index.
        labelled: images with masks.
        labels: image of the pool → its label file, as `Index.path` reads it.
        share: of the crops that show labelled images; None: each image comes as often.
        often: labelled images that come `times` as often.
        times: how often these come; `share` holds all the same.
        soft: image of the pool → the file with its probabilities.
        objects: image of the pool → the file with its objects; None: they aren't told apart. True ones that the pool
            has, for it may be a part of the labelled images, are never among these.
    """
    real, made = whole.only(list(labelled)).table, whole.only(list(labels)).table
    own = pl.when(pl.col("image").is_in(list(often))).then(times).otherwise(1.0)
    weights = image_weights(float(real.select(own.sum()).item()), made.height, share)
    real = real.with_columns(
        pl.lit(False).alias(PSEUDO),
        (own * weights[0]).alias(WEIGHT),
        pl.lit(None, pl.String).alias(SOFT),
    )
    empty: list[str | None] = [None] * made.height
    files = empty if soft is None else [soft[image] for image in made["image"]]
    told = empty if objects is None else [objects[image] for image in made["image"]]
    if objects is None and whole.target == "instances":  # the column by which a row counts as labelled
        told = list(labels.values())
    made = made.with_columns(
        pl.Series("mask", list(labels.values()), pl.String),
        pl.Series("instances", told, pl.String),
        pl.lit(True).alias(PSEUDO),
        pl.lit(weights[1], pl.Float64).alias(WEIGHT),
        pl.Series(SOFT, files, pl.String),
    )
    return replace(whole, table=pl.concat([real, made]))


def image_weights(labelled: float, pseudo: int, share: float | None) -> tuple[float, float]:
    """Return how often a labelled image and one with a pseudo-label come in a turn; neither below 1.

    Args:
        labelled: number of labelled images; one that comes twice as often as others counts twice.
        pseudo: number of those with pseudo-labels.
        share: of the crops that show labelled images; None: each comes once.

    Example:
        >>> image_weights(10, 40, 0.5), image_weights(10, 5, 0.5), image_weights(10, 0, 0.5)
        ((4.0, 1.0), (1.0, 2.0), (1.0, 1.0))
    """
    if share is None or not labelled or not pseudo:
        return 1.0, 1.0
    ratio = share / (1 - share) * pseudo / labelled
    return max(1.0, ratio), max(1.0, 1 / ratio)


def scaled_steps(steps: int, validate_every: int, length: float) -> tuple[int, int]:
    """Return (steps, steps between validations) of a training `length` times as long, a multiple of them.

    Between validations are about as many as before; where the whole is shorter, there is one, at its end.

    Example:
        >>> scaled_steps(100, 20, 0.5), scaled_steps(100, 20, 0.1), scaled_steps(1000, 125, 0.25)
        ((50, 25), (10, 10), (250, 125))
    """
    wanted = max(1, round(steps * length))
    parts = max(1, round(wanted / validate_every))
    between = max(1, round(wanted / parts))
    return parts * between, between


def split_steps(steps: int, validate_every: int, share: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (steps, steps between validations) of a pretraining and of what follows, together `steps`.

    Each is a multiple of its steps between validations, which stay what they are where there are two of them.

    Example:
        >>> split_steps(100, 20, 0.5), split_steps(10, 10, 0.5)
        (((40, 20), (60, 20)), ((5, 5), (5, 5)))
    """
    parts = steps // validate_every
    if parts >= 2:
        first = min(max(round(parts * share), 1), parts - 1) * validate_every
        return (first, validate_every), (steps - first, validate_every)
    first = min(max(round(steps * share), 1), max(steps - 1, 1))
    rest = max(steps - first, 1)
    return (first, first), (rest, rest)

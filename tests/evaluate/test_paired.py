"""Counts read back from per-image tables."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from maskwright.evaluate import Overlaps, counts_and_groups, gains, per_image_table, statistic_of
from maskwright.metrics import EmptyCases, dice
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category

CATEGORIES = Categories(tuple(Category(i, name) for i, name in enumerate("abc")))


def table_of(names, groups, seed=0):
    rng = np.random.default_rng(seed)
    overlaps = Overlaps(CATEGORIES)
    for name, group in zip(names, groups, strict=True):
        truth, prediction = rng.integers(0, 3, (2, 6, 7), np.uint8)
        overlaps.add(name, truth, prediction, group=group)
    return overlaps, per_image_table(overlaps, EvaluateSpec(), "oof")


def test_what_was_counted_comes_back_by_name():
    overlaps, table = table_of(["d", "a", "c"], ["g", "h", "g"])
    counts, groups = counts_and_groups(table, 3)
    assert groups == ["h", "g", "g"]
    for name in ("tp", "fp", "fn"):
        assert np.array_equal(getattr(counts, name), getattr(overlaps.stacked(), name)[[1, 2, 0]])
    again, _ = counts_and_groups(table.filter(pl.col("image") != "c"), 3)
    assert np.array_equal(again.tp, counts.tp[[0, 2]])


def test_a_statistic_is_the_metric_under_weights():
    counts, _ = counts_and_groups(table_of(["a", "b"], ["g", "h"])[1], 3)
    weights = np.float64([[1, 1], [2, 0]])
    found = statistic_of(counts, "mean_dice", [1, 2], EmptyCases())(weights)
    # the mean over both images, then that of the first alone
    single = dice(counts)[:, 1:].mean(axis=1)
    assert found == pytest.approx([np.mean(single), single[0]])


def test_a_gain_is_that_of_the_same_images():
    """One network is right in both images; the other in the first, and in half of the second's pixels of b.

    There b has a Dice of 2·2 / (2 + 4) = 2/3 and c, which it takes the other half for, of 0: a mean of 1/3, where a
    is in neither. So the mean over the images is 1 against (1 + 1/3) / 2 = 2/3.
    """
    truth = np.full((2, 2), 1, np.uint8)
    half = np.uint8([[1, 1], [2, 2]])
    one, other = Overlaps(CATEGORIES), Overlaps(CATEGORIES)
    for name, wrong in (("x", truth), ("y", half)):
        one.add(name, truth, truth, group=name)
        other.add(name, truth, wrong, group=name)
    found = gains(one, other, EvaluateSpec(samples=200))["mean_dice"]
    assert found["value"] == pytest.approx(1 / 3)
    assert (found["low"], found["high"]) == (0.0, pytest.approx(2 / 3))  # of resamples of x alone, and of y
    assert found["n"] == 2

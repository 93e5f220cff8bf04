"""The price of leaks: naive folds are shuffled ones, and the difference is that of the tables."""

from __future__ import annotations

import polars as pl
import pytest

from maskwright.errors import RecipeError
from maskwright.pipeline.price import compare, naive_folds
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category


def test_naive_folds_hold_as_many_images_and_leave_the_rest_alone():
    folds = pl.DataFrame({"image": [f"i{k}" for k in range(40)], "fold": [-1] * 8 + [0, 1, 2, 3] * 7 + [None] * 4})
    naive = naive_folds(folds, 0)
    assert naive["fold"].value_counts().sort("fold").equals(folds["fold"].value_counts().sort("fold"))
    fixed = [*range(8), *range(36, 40)]
    assert naive["fold"].gather(fixed).to_list() == folds["fold"].gather(fixed).to_list()
    assert naive["fold"].to_list() != folds["fold"].to_list()
    assert naive.equals(naive_folds(folds, 0))


def table_of(images, groups, tp, miss):
    """Background all right; of 10 pixels of the object, `miss` are missed."""
    rows = [
        (image, group, category, right, 0, wrong)
        for image, group, t, m in zip(images, groups, tp, miss, strict=True)
        for category, right, wrong in (("background", 90, 0), ("object", t, m))
    ]
    return pl.DataFrame(rows, schema=["image", "group", "category", "tp", "fp", "fn"], orient="row")


def test_the_price_is_the_difference_on_the_same_images():
    images, groups = ["b", "a", "c", "d"], ["g", "g", "h", "h"]
    items = tuple(Category(id=k, name=name, color=(k, k, k)) for k, name in enumerate(("background", "object")))
    categories = Categories(items, frozenset({"background"}))
    clean = table_of(images, groups, [5, 5, 5, 5], [5, 5, 5, 5])
    naive = table_of(images[::-1], images, [10, 10, 5, 5], [0, 0, 5, 5])  # d, c right; another order, other groups
    found = compare(clean, naive, categories, EvaluateSpec(samples=200), seed=0)
    # Dice of 5 of 10: 2·5 / (2·5 + 5) = 2/3; of all: 1. IoU pooled: 20 of 40; 30 of 40
    assert found["mean_dice"]["clean"]["value"] == pytest.approx(2 / 3)
    assert found["mean_dice"]["price"]["value"] == pytest.approx((1 - 2 / 3) / 2)
    assert found["pooled_miou"]["price"]["value"] == pytest.approx(0.75 - 0.5)
    # resamples draw groups: g, g (no gain), g, h (half), h, h (all)
    price = found["pooled_miou"]["price"]
    assert (price["low"], price["high"]) == (pytest.approx(0), pytest.approx(0.5))
    assert price["n"] == 4


def test_one_fold_has_nothing_to_compare():
    recipe = Recipe(data=DataSpec(root="."))
    with pytest.raises(RecipeError, match=r"recipe: Value error, report\.price_of_leaks compares"):
        apply_settings(recipe, ["report.price_of_leaks=true", "split.folds=1"])

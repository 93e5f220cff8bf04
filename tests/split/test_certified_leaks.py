"""What became of the audit's leaks is counted from the table of the folds, pair by pair."""

from __future__ import annotations

import polars as pl
import pytest

from make_contents import images_of, split
from maskwright.recipe.data import SplitSpec
from maskwright.split.leaks import follow_leaks, with_leaks

FOLDS = pl.DataFrame(
    {"image": ["a", "b", "c", "d", "e"], "group": ["g", "g", "h", "i", "j"], "fold": [0, 0, 1, -1, None]}
)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("a", "b", "together"),
        ("a", "c", "apart"),
        ("c", "d", "apart"),  # a fold and the held-out part
        ("a", "e", "outside"),  # in the pool
        ("x", "a", "outside"),  # in no row: unlabelled, or left out
        ("x", "y", "outside"),
    ],
)
def test_where_both_images_of_a_leak_are(first, second, what):
    none = {"found": 1, "together": 0, "apart": 0, "outside": 0}
    assert follow_leaks(FOLDS, [("leak_group", first, second)]) == {"leak_group": none | {what: 1}}


def test_the_certificate_counts_by_kind_and_says_how_many_lie_across():
    leaks = [("leak_neighbour", "a", "c"), ("leak_group", "a", "b"), ("leak_neighbour", "b", "e")]
    found = with_leaks({"text": "cut", "folds": 2}, FOLDS, leaks)
    assert found["folds"] == 2
    assert found["leaks"] == {
        "leak_group": {"found": 1, "together": 1, "apart": 0, "outside": 0},
        "leak_neighbour": {"found": 2, "together": 0, "apart": 1, "outside": 1},
    }
    assert found["text"] == (
        "cut; of 3 leak(s) that the audit found across given parts, 1 lie(s) across a border, 1 on one side, "
        "1 outside the folds"
    )


def test_leaks_that_are_counted_again_replace_those_before():
    first = with_leaks({"text": "cut"}, FOLDS, [("leak_group", "a", "c"), ("leak_group", "a", "b")])
    second = with_leaks(first, FOLDS, [("leak_neighbour", "a", "b")])
    assert second == with_leaks({"text": "cut"}, FOLDS, [("leak_neighbour", "a", "b")])
    assert with_leaks(second, FOLDS, []) == {"text": "cut", "leaks": {}}


def test_without_leaks_the_certificate_says_nothing_of_them():
    assert with_leaks({"text": "cut"}, FOLDS, []) == {"text": "cut", "leaks": {}}


def test_the_certificate_holds_the_shares_of_each_fold():
    """Shares are means over images, however large these are: (10 % + 30 %) / 2 and (20 % + 60 %) / 2 of rare."""
    images = images_of(4)
    shares = dict(zip(images, [(90, 10), (700, 300), (80, 20), (4, 6)], strict=True))
    found = split(images, SplitSpec(folds=2, holdout=0), shares).certificate
    by_image = dict(zip(images, [0.1, 0.3, 0.2, 0.6], strict=True))
    table = split(images, SplitSpec(folds=2, holdout=0), shares).table
    for row in found["per_fold"]:
        inside = [by_image[image] for image in table.filter(pl.col("fold") == row["fold"])["image"]]
        assert row["pixel_shares"]["rare"] == pytest.approx(sum(inside) / len(inside))
        assert row["pixel_shares"]["background"] == pytest.approx(1 - sum(inside) / len(inside))
    assert found["pixel_shares"] == pytest.approx({"background": 0.7, "rare": 0.3})  # 1.2 / 4


def test_a_category_with_the_same_share_everywhere_is_not_listed():
    assert split(images_of(4), SplitSpec(folds=2, holdout=0)).certificate["pixel_shares"] == {}

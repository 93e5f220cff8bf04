"""Scores of one domain, part or source alone: those of a data set that holds nothing else."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from maskwright.evaluate import Overlaps, summarise, summarise_by
from maskwright.pipeline.scoring import _divisions
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category

TWO = Categories((Category(0, "background"), Category(1, "rock")), frozenset({"background"}))
QUICK = EvaluateSpec(samples=100)


def overlaps(rows):
    """Return the overlaps of (image, truth, prediction, group)."""
    found = Overlaps(TWO)
    for image, truth, prediction, group in rows:
        found.add(image, np.array([truth], np.uint8), np.array([prediction], np.uint8), group=group)
    return found


ROWS = [
    ("a", [1, 1, 0, 0], [1, 0, 0, 0], "g"),  # Dice 2 / 3, IoU 1 / 2
    ("b", [1, 0, 0, 0], [1, 0, 0, 0], "h"),  # 1, 1
    ("c", [1, 1, 1, 0], [0, 0, 0, 1], "i"),  # 0, 0
    ("d", [0, 0, 1, 1], [0, 1, 1, 1], "j"),  # 4 / 5, 2 / 3
]
DOMAINS = {"a": "day", "b": "day", "c": "dusk/2"}


def test_each_division_has_its_own_number_and_images():
    found = summarise_by(overlaps(ROWS), "domain", DOMAINS, QUICK)
    day, dusk = found["mean_dice@domain=day"], found["mean_dice@domain=dusk/2"]
    assert day["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["pooled_miou@domain=day"]["value"] == pytest.approx(2 / 3)  # TP 2, FN 1
    assert (day["n"], dusk["n"], dusk["value"]) == (2, 1, 0)
    assert np.isnan(dusk["low"])  # one group says nothing of the spread
    assert day["definition"].endswith("Images whose domain is day alone.")
    assert not any(key.endswith("None") or "/rock" in key for key in found)  # d has none; categories are left out


def test_a_division_is_scored_as_if_there_was_nothing_else():
    found = summarise_by(overlaps(ROWS), "label_source", DOMAINS, QUICK, seed=3)
    alone = summarise(overlaps(ROWS[:2]), QUICK, seed=3, each=False)
    for metric, score in alone.items():
        of = found[f"{metric}@label_source=day"]
        assert [of[key] for key in ("value", "low", "high", "n")] == [
            score[key] for key in ("value", "low", "high", "n")
        ]


def index(**columns):
    empty = {"domain": None, "part": None, "label_source": None}
    schema = dict.fromkeys(("image", *empty), pl.String)
    return pl.DataFrame({"image": list("abcd")} | {k: columns.get(k, [None] * 4) for k in empty}, schema=schema)


def folds(*places):
    return pl.DataFrame(
        {"image": list("abcd"), "group": list("abcd"), "fold": places}, schema_overrides={"fold": pl.Int64}
    )


@pytest.mark.parametrize(
    ("columns", "places", "expected"),
    [
        ({}, (0, 0, 1, 1), []),
        ({"domain": ["x", "x", "x", "x"]}, (0, 0, 1, 1), []),
        ({"domain": ["x", "x", "y", None]}, (0, 0, 1, 1), ["domain"]),
        ({"domain": ["x", "x", "y", "y"]}, (0, 1, None, None), []),  # y is in the pool
        ({"part": ["train", "train", "val", "val"]}, (0, 1, -1, -1), []),  # what is held out says it already
        ({"part": ["train", "val", "val", "val"]}, (0, 1, 0, -1), ["part"]),
        ({"domain": list("xyxy"), "label_source": list("uuvv")}, (0, 1, 0, 1), ["domain", "label_source"]),
    ],
)
def test_what_divides_the_scored_images(columns, places, expected):
    assert list(_divisions(index(**columns), folds(*places))) == expected

"""When a round is adopted."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.evaluate import statistic_of
from maskwright.metrics import Counts, EmptyCases
from maskwright.recipe.predict import EvaluateSpec
from maskwright.selftrain import weigh
from maskwright.types import Categories, Category

CATEGORIES = Categories((Category(0, "background"), Category(1, "object")), frozenset({"background"}))
SPEC = EvaluateSpec(samples=200)


def counts(hits):
    """Foreground of 100 pixels, so many of them found; background likewise."""
    hit = np.stack([np.asarray(hits), np.asarray(hits)], axis=1)
    return Counts(hit, 100 - hit, 100 - hit)


def compare(before, after, groups=None, **options):
    groups = [str(k) for k in range(len(before))] if groups is None else groups
    cases = EmptyCases.of(SPEC)
    old, new = (statistic_of(counts(hits), "mean_dice", CATEGORIES.evaluated, cases) for hits in (before, after))
    return weigh(old, new, groups, "mean_dice", SPEC, **options)


def test_a_gain_on_every_image_is_adopted_and_stated():
    found = compare([50] * 20, [60] * 20)
    assert found.adopted
    assert found.gain.value == pytest.approx(0.1)  # Dice of hits of 100 and 100 pixels: .5 and .6
    assert found.gain.low == pytest.approx(0.1) and "above 0: adopted" in found.why


@pytest.mark.parametrize(
    ("after", "why"),
    [([51, 49] * 10, "holds 0"), ([50] * 20, "holds 0"), ([40] * 20, "below 0")],
    ids=["mixed", "the same", "worse"],
)
def test_what_may_be_chance_is_not_adopted(after, why):
    found = compare([50] * 20, after)
    assert not found.adopted and why in found.why


def test_groups_are_resampled_together():
    # one group of ten gains, nine single images lose a little: alone the images would be enough
    before, after = [50] * 19, [60] * 10 + [49] * 9
    assert compare(before, after).adopted
    assert not compare(before, after, ["a"] * 10 + [str(k) for k in range(9)]).adopted


def test_one_group_gives_no_interval_and_nothing_is_adopted():
    found = compare([50, 50], [90, 90], ["a", "a"])
    assert not found.adopted and np.isnan(found.gain.low) and "too few groups" in found.why


def test_the_recipe_may_adopt_whatever_comes():
    assert compare([50] * 5, [40] * 5, rule="always").adopted

"""Labelled subsets are nested, keep groups whole, leave the held-out part alone and hold what all images hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from make_contents import folds_of, images_of, split
from maskwright.errors import DataError
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec, SplitSpec
from maskwright.split import HELD_OUT

SHARES = (1 / 16, 1 / 8, 1 / 4, 0.3, 1 / 2, 0.9)


def data(count=160, size=2):
    images = images_of(count)
    rng = np.random.default_rng(0)
    shares = {i: (1000, int(rng.integers(20, 200)) if k % 8 < 2 else 0) for k, i in enumerate(images)}
    return images, shares, {i: f"g{k // size}" for k, i in enumerate(images)}


def cut(labelled, *, size=2, **fields):
    images, shares, groups = data(size=size)
    return split(images, SplitSpec(**{"folds": 3, "holdout": 0.2, "labelled": labelled, **fields}), shares, groups)


def chosen(found):
    return {image for image, fold in folds_of(found).items() if fold is not None and fold != HELD_OUT}


def held(found):
    return {image for image, fold in folds_of(found).items() if fold == HELD_OUT}


def test_each_fraction_lies_inside_the_larger_ones_and_the_held_out_part_stays():
    whole = cut(None)
    subsets = [cut(share) for share in SHARES]
    assert [len(chosen(found)) for found in subsets] == [round(128 * share / 2) * 2 for share in SHARES]
    for small, large in pairwise(subsets):
        assert chosen(small) < chosen(large)
    for found in subsets:
        assert held(found) == held(whole)
        assert found.certificate["crossing_groups"] == []
        assert found.certificate["pool"] == 128 - len(chosen(found))
        assert found.table.height == 160
        assert set(folds_of(found).values()) == {None, HELD_OUT, 0, 1, 2}


@pytest.mark.parametrize("seed", range(4))
def test_a_small_subset_is_not_one_large_group(seed):
    """40 of 160 images are of one group, the others of groups of 4; the subset is nested with these, too."""
    images, shares, _ = data()
    groups = {image: "large" if k < 40 else f"g{k // 4}" for k, image in enumerate(images)}
    fields = {"folds": 2, "holdout": 0, "labelled_seed": seed}
    subsets = [split(images, SplitSpec(**fields, labelled=share), shares, groups) for share in (1 / 8, 1 / 4)]
    for found, wanted in zip(subsets, (20, 40), strict=True):
        assert len(chosen(found)) == wanted
        assert {groups[image] for image in chosen(found)}.isdisjoint({"large"})
    assert chosen(subsets[0]) < chosen(subsets[1])


def test_another_seed_of_the_subset_leaves_the_held_out_part_alone():
    one, two = cut(1 / 4), cut(1 / 4, labelled_seed=5)
    assert held(one) == held(two)
    assert chosen(one) != chosen(two)


def test_a_subset_holds_the_rare_class_as_often_as_all_do():
    """A quarter of the images, two of every eight in pairs, hold it: 128 training images, so 4 of 16."""
    images, shares, _ = data()
    rare = {image for image in images if shares[image][1]}
    training = set(images) - held(cut(None))
    for share in (1 / 8, 1 / 4):
        subset = chosen(cut(share))
        assert len(subset & rare) / len(subset) == pytest.approx(len(training & rare) / len(training), abs=0.07)


@pytest.mark.parametrize("count", [3, 7, 40, 127, 128])
def test_a_number_of_images_is_met_exactly_where_groups_are_single(count):
    assert len(chosen(cut(count, size=1))) == count


def test_a_subset_of_fewer_groups_than_folds_is_refused():
    with pytest.raises(DataError, match=r"at least 3 groups for 3 fold\(s\), got 2 group\(s\) of 4 images"):
        cut(4)


def test_a_share_is_drawn_from_the_folder_s_own_training_part():
    images, shares, groups = data()
    parts = {image: "val" if k >= 120 else "train" for k, image in enumerate(images)}
    found = split(images, SplitSpec(folds=3, labelled=0.5), shares, groups, parts=parts)
    assert held(found) == {image for image, part in parts.items() if part == "val"}
    assert len(chosen(found)) == 60


@pytest.mark.parametrize(
    ("text", "value"), [("0.125", 0.125), ("1/8", 0.125), ("'1/8'", 0.125), ("40", 40), ("1", 1), ("null", None)]
)
def test_what_a_recipe_may_say(text, value):
    recipe = apply_settings(Recipe(data=DataSpec(root=".")), [f"split.labelled={text}"])
    assert recipe.split.labelled == value
    assert type(recipe.split.labelled) is type(value)


@pytest.mark.parametrize("value", [0, 0.0, 1.0, 1.5, -3, True, "few", "1/0", "3/2"])
def test_what_it_may_not_say(value):
    with pytest.raises(ValueError, match="labelled"):
        SplitSpec(labelled=value)


def test_more_labelled_images_than_there_are_is_an_error_with_the_numbers():
    """160 images, of which a fifth, 32, is held out: 128 to learn from."""
    with pytest.raises(DataError) as error:
        cut(129)
    assert "expected 129 labelled images to learn from" in str(error.value)
    assert "got 128 (160 with a usable label, 32 of them held out)" in str(error.value)
    assert "up to 128" in str(error.value)
    assert len(chosen(cut(128))) == 128

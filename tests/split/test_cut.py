"""Folds: groups stay whole, classes stay balanced, and the certificate is counted afresh."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from make_contents import NAMES, contents_of, folds_of, images_of, split
from maskwright.errors import DataError
from maskwright.recipe.data import SplitSpec
from maskwright.split import HELD_OUT, certify, join_groups, measure


@st.composite
def data_sets(draw):
    count = draw(st.integers(4, 30))
    images = images_of(count)
    groups = {i: draw(st.sampled_from([None, "g1", "g2", "g3", "g4", "g5"])) for i in images}
    duplicates = draw(st.lists(st.lists(st.sampled_from([*images, "unlabeled/x.png"]), min_size=2), max_size=3))
    shares = {i: (draw(st.integers(0, 100)), draw(st.integers(0, 5))) for i in images}
    return images, groups, duplicates, shares


@settings(max_examples=30)
@given(data_sets(), st.integers(1, 4), st.sampled_from([0.0, 0.2, None]), st.integers(0, 3))
def test_groups_and_duplicates_never_cross_and_no_fold_is_empty(data, folds, holdout, seed):
    images, groups, duplicates, shares = data
    spec = SplitSpec(folds=folds, holdout=holdout)
    bins = folds + bool(holdout)
    joined = join_groups(images, groups, duplicates)
    if len(set(joined.values())) < bins:
        with pytest.raises(DataError, match=f"at least {bins} groups"):
            split(images, spec, shares, groups, duplicates=duplicates, seed=seed)
        return
    found = split(images, spec, shares, groups, duplicates=duplicates, seed=seed)
    where = folds_of(found)
    assert list(where) == images
    assert set(where.values()) == set(range(folds)) | ({HELD_OUT} if holdout else set())
    for one in images:
        for other in images:
            same = groups[one] is not None and groups[one] == groups[other]
            copies = any(one in cluster and other in cluster for cluster in duplicates)
            if same or copies:
                assert where[one] == where[other]
    assert found.certificate["crossing_groups"] == []
    assert found.certificate["folds"] == folds


@settings(max_examples=10)
@given(data_sets())
def test_the_same_seed_gives_the_same_folds(data):
    images, groups, duplicates, shares = data
    joined = len(set(join_groups(images, groups, duplicates).values()))
    spec = SplitSpec(folds=min(3, joined), holdout=0)
    one, two = (split(images, spec, shares, groups, duplicates=duplicates, seed=7) for _ in range(2))
    assert one.table.equals(two.table)


def test_duplicates_join_groups_in_chains():
    images = images_of(6)
    groups = {images[0]: "a", images[1]: "a", images[2]: "b", images[3]: "b", images[4]: None, images[5]: None}
    joined = join_groups(images, groups, [[images[1], images[2]], [images[3], "unlabeled/t.png", images[4]]])
    assert [joined[i] for i in images] == ["a"] * 5 + [images[5]]


def test_twins_through_an_unlabelled_image_are_one_group():
    images = images_of(2)
    clusters = [[images[0], "unlabeled/t.png"], ["unlabeled/t.png", images[1]]]
    assert len(set(join_groups(images, {}, clusters).values())) == 1


def test_duplicates_can_be_left_apart_on_purpose():
    images = images_of(4)
    spec = SplitSpec(folds=4, group_duplicates=False)
    assert len(set(folds_of(split(images, spec, duplicates=[images])).values())) == 4
    with pytest.raises(DataError):
        split(images, SplitSpec(folds=4), duplicates=[images])


def deviation(shares, where, folds):
    overall = sum(s[1] for s in shares.values()) / folds
    return max(abs(sum(s[1] for i, s in shares.items() if where[i] == k) - overall) for k in range(folds))


def test_a_rare_class_is_spread_better_than_by_chance():
    """40 images, 5 folds, 10 images hold the rare class with 20..200 pixels."""
    rng = np.random.default_rng(0)
    ours, chance = [], []
    for seed in range(3):
        images = images_of(40)
        rare = set(rng.permutation(40)[:10].tolist())
        shares = {i: (1000, int(rng.integers(20, 200)) if n in rare else 0) for n, i in enumerate(images)}
        where = folds_of(split(images, SplitSpec(folds=5), shares, seed=seed))
        assert sorted(list(where.values()).count(k) for k in range(5)) == [8] * 5
        assert all(sum(shares[i][1] > 0 for i in images if where[i] == k) == 2 for k in range(5))
        ours.append(deviation(shares, where, 5))
        shuffled = dict(zip(images, rng.permutation(list(where.values())), strict=True))
        chance.append(deviation(shares, shuffled, 5))
    assert np.mean(ours) < 0.4 * np.mean(chance)


def test_sizes_come_close_to_what_is_wanted():
    images = images_of(200)
    found = split(images, SplitSpec(folds=5))  # null holdout: 0.15 from 100 images on
    counts = found.table.group_by("fold").len().sort("fold")["len"].to_list()
    assert counts[0] == pytest.approx(30, abs=2)
    assert counts[1:] == pytest.approx([34] * 5, abs=2)
    assert split(images_of(99), SplitSpec(folds=5)).certificate["held_out"] == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SplitSpec(folds=5), ("at least 5 groups for 5 fold(s)", "3 group(s) of 9 images", "--folds 3")),
        (SplitSpec(folds=3, holdout=0.2), ("at least 4 groups", "and a held-out part", "--folds 2")),
    ],
)
def test_an_impossible_demand_is_told_the_numbers(spec, words):
    images = images_of(9)
    groups = {image: f"p{n % 3}" for n, image in enumerate(images)}
    with pytest.raises(DataError) as caught:
        split(images, spec, None, groups)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("folds", "holdout", "few"), [(5, 0.0, "--folds 1"), (1, 0.15, "--folds 1 --holdout 0")])
def test_images_that_copies_join_to_one_group_are_told_what_joined_them(folds, holdout, few):
    """49 tiles of one scene overlap: one cluster. Another column would group them no otherwise."""
    images = images_of(49)
    spec = SplitSpec(folds=folds, holdout=holdout)
    with pytest.raises(DataError) as caught:
        split(images, spec, duplicates=[images])
    said = str(caught.value)
    assert "1 group(s) of 49 images" in said
    rounds = "(maskwright run: rounds of self-training need 2)"
    assert f"use {few} {rounds}; copies, crops or overlaps join 49 groups to 1" in said
    assert "another column" not in said
    cut = split(images, spec.model_copy(update={"group_duplicates": False}), duplicates=[images])
    assert cut.certificate["crossing_duplicates"] == 1  # as the message says


def parts_of(images):
    return {image: "train" if n < 6 else "val" for n, image in enumerate(images)}


def test_the_folder_s_own_parts_are_held_out_and_a_share_beside_them_is_two_readings():
    images = images_of(8)
    made = split(images, SplitSpec(folds=2), parts=parts_of(images))
    where = folds_of(made)
    assert [where[i] == HELD_OUT for i in images] == [False] * 6 + [True] * 2
    assert folds_of(split(images, made.spec, parts=parts_of(images))) == where  # the resolved section repeats it
    with pytest.raises(DataError, match="one way to hold images out"):
        split(images, SplitSpec(folds=2, holdout=0.5), parts=parts_of(images))
    free = folds_of(split(images, SplitSpec(folds=2, use_parts=False), parts=parts_of(images)))
    assert HELD_OUT not in free.values()


def test_parts_that_share_a_group_or_a_copy_are_refused():
    images = images_of(8)
    groups = {images[5]: "p", images[6]: "p"}
    with pytest.raises(DataError, match=r"1 group\(s\) in both: p"):
        split(images, SplitSpec(folds=2), None, groups, parts=parts_of(images))
    with pytest.raises(DataError, match="share no group and no duplicate"):
        split(images, SplitSpec(folds=2), parts=parts_of(images), duplicates=[[images[0], images[7]]])


@pytest.mark.parametrize("parts", [{}, {"images/000.png": "train"}])
def test_parts_that_are_asked_for_must_be_there(parts):
    images = images_of(4)
    with pytest.raises(DataError, match="val or test beside other images"):
        split(images, SplitSpec(folds=2, use_parts=True), parts=parts)
    assert HELD_OUT not in folds_of(split(images, SplitSpec(folds=2), parts=parts)).values()


def test_the_certificate_counts_afresh():
    """A table that someone edited shows its crossing group."""
    images = images_of(4)
    table = pl.DataFrame({"image": images, "group": ["a", "a", "b", "c"], "fold": [0, 1, 1, HELD_OUT]})
    shares = dict(zip(images, [(10, 0), (10, 0), (0, 10), (10, 0)], strict=True))
    found = certify(table, measure(contents_of(images, shares), NAMES, ()))
    assert found["crossing_groups"] == ["a"]
    assert found["text"] == "4 images in 3 groups, 2 fold(s), 1 held out: 1 group(s) cross a border"
    # all: 30 of 40 background; fold 1: 10 of 20
    fold = found["per_fold"][2]
    assert (fold["fold"], fold["images"], fold["groups"]) == (1, 2, 2)
    assert fold["largest_deviation"] == pytest.approx(0.25)
    assert fold["share_of_all"] in (pytest.approx(0.75), pytest.approx(0.25))


def test_images_without_labelled_pixels_can_be_split():
    images = images_of(6)
    found = split(images, SplitSpec(folds=3), dict.fromkeys(images, (0, 0)))
    assert sorted(folds_of(found).values()) == [0, 0, 1, 1, 2, 2]


def test_a_part_called_test_is_held_out_whatever_the_others_are_called():
    images = images_of(8)
    found = split(images, SplitSpec(folds=2), parts=dict.fromkeys(images[6:], "test"))
    assert [image for image, fold in folds_of(found).items() if fold == HELD_OUT] == images[6:]
